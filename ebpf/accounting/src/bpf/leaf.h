/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Which group is the task's: the one of its ancestors that the agent registered. */
#ifndef TEPUI_LEAF_H
#define TEPUI_LEAF_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

static __always_inline struct settings *host_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

#endif
