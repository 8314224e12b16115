/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Who a bind or packet is judged as: the task, its ports and the mode that holds for it. */
#ifndef TEPUI_SUBJECT_H
#define TEPUI_SUBJECT_H

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct task_ports);
} task_ports SEC(".maps");

struct subject {
	__u64 leaf;
	struct task_ports *ports;
	__u32 mode;
	__u32 flags;
};

struct attempt {
	__u32 pid;
	__u16 port;
	__u8 protocol;
	__u8 op;
	__u8 family;
	__u8 located;
	__u32 address[4];
};

static __always_inline void judge_by(struct subject *who, struct settings *host)
{
	who->mode = host->mode;
	who->flags = host->flags;
	if (who->ports && who->ports->mode != MODE_INHERIT)
		who->mode = who->ports->mode;
}

/*
 * The task that the caller belongs to, or the receiver of a packet; the shallowest registered group
 * wins. `receives` is a constant, so each program has the call that it may make and no other.
 */
static __always_inline int subject_of(struct __sk_buff *skb, const bool receives,
				      struct subject *who)
{
	struct settings *host = host_settings();
	__u32 level;
	__u64 id;

	who->leaf = 0;
	who->ports = 0;
	if (!host)
		return 0;
	for (int i = 0; i < MAX_LEVELS; i++) {
		level = host->first_level + i;
		if (level > host->last_level)
			break;
		id = receives ? bpf_skb_ancestor_cgroup_id(skb, level)
			      : bpf_get_current_ancestor_cgroup_id(level);
		if (!id)
			break;
		who->leaf = id;
		who->ports = bpf_map_lookup_elem(&task_ports, &id);
		if (who->ports)
			break;
	}
	judge_by(who, host);
	return 1;
}

static __always_inline int current_subject(struct subject *who)
{
	return subject_of(0, 0, who);
}

static __always_inline int receiving_subject(struct __sk_buff *skb, struct subject *who)
{
	return subject_of(skb, 1, who);
}

static __always_inline int owns(struct task_ports *ports, __u16 port)
{
	if (!ports)
		return 0;
	for (int i = 0; i < MAX_RANGES; i++) {
		if (i >= ports->count)
			return 0;
		if (port >= ports->ranges[i].first && port <= ports->ranges[i].last)
			return 1;
	}
	return 0;
}

#endif
