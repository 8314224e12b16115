/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which devices the processes of a group may open. Whoever has CAP_MKNOD may make any node: a node
 * is a number, and what counts is who opens it.
 */
#include "types.h"
#include <bpf/bpf_helpers.h>

/* Keep in step with MOST_DEVICES in devices.rs. */
#define MAX_DEVICES 64

struct device {
	__u32 kind;
	__u32 access;
	__u32 major;
	__u32 minor;
	__u32 every_minor;
};

struct device_rules {
	__u32 count;
	struct device devices[MAX_DEVICES];
};

/* Written before the program is loaded, and never again. */
const volatile struct device_rules rules = {};

SEC("cgroup/dev")
int tepui_device(struct bpf_cgroup_dev_ctx *ctx)
{
	__u32 kind = ctx->access_type & 0xffff;
	__u32 wanted = ctx->access_type >> 16;
	__u32 major = ctx->major;
	__u32 minor = ctx->minor;

	if (wanted == BPF_DEVCG_ACC_MKNOD)
		return 1;
	for (int i = 0; i < MAX_DEVICES; i++) {
		const volatile struct device *one = &rules.devices[i];

		if (i >= rules.count)
			break;
		if (one->kind == kind && one->major == major &&
		    (one->every_minor || one->minor == minor) && !(wanted & ~one->access))
			return 1;
	}
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
