/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Where the agent is in the hierarchy, as the kernel counts it: run once, never attached. */
#include "types.h"
#include <bpf/bpf_helpers.h>

/* Depth of the caller's ancestor group with the id in the first argument, or -1. */
SEC("raw_tp")
int tepui_level(__u64 *ctx)
{
	__u64 wanted = ctx[0];

	for (int level = 0; level < 64; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			return -1;
		if (id == wanted)
			return level;
	}
	return -1;
}

char _license[] SEC("license") = "Dual MIT/GPL";
