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

/*
 * A task's record in `map` by the group of the caller, and the group's id. The shallowest
 * registered ancestor wins; at most MAX_LEVELS are tried.
 */
static __always_inline void *record_of_current(void *map, struct settings *host, __u64 *leaf)
{
	for (int i = 0; i < MAX_LEVELS; i++) {
		__u32 level = host->first_level + i;
		void *record;

		if (level > host->last_level)
			break;
		*leaf = bpf_get_current_ancestor_cgroup_id(level);
		if (!*leaf)
			break;
		record = bpf_map_lookup_elem(map, leaf);
		if (record)
			return record;
	}
	return 0;
}

#ifdef TEPUI_SHADOWS
/*
 * Keeps the compiler from computing an address before the check that its member exists: the loader
 * replaces the computation by an instruction that may not be reached.
 */
#define LAUNDER(pointer) asm volatile("" : "+r"(pointer))

/* Id of a group's ancestor at a level; 0 where the group is not that deep. */
static __always_inline __u64 ancestor_id(struct cgroup___t *group, __u32 level)
{
	struct cgroup___t *ancestor = 0;
	__u32 own = BPF_CORE_READ(group, level);

	if (level > own || level > 63)
		return 0;
	if (level == own)
		return BPF_CORE_READ(group, kn, id);
	if (bpf_core_field_exists(group->ancestors)) {
		LAUNDER(group);
		bpf_core_read(&ancestor, sizeof(ancestor), &group->ancestors[level]);
		return ancestor ? BPF_CORE_READ(ancestor, kn, id) : 0;
	}
	struct cgroup___old *old = (void *)group;
	__u64 id = 0;

	if (bpf_core_field_exists(old->ancestor_ids)) {
		LAUNDER(old);
		bpf_core_read(&id, sizeof(id), &old->ancestor_ids[level]);
	}
	return id;
}

static __always_inline void *record_of_group(void *map, struct settings *host,
					     struct cgroup___t *group, __u64 *leaf)
{
	for (int i = 0; i < MAX_LEVELS; i++) {
		__u32 level = host->first_level + i;
		void *record;

		if (level > host->last_level)
			break;
		*leaf = ancestor_id(group, level);
		if (!*leaf)
			break;
		record = bpf_map_lookup_elem(map, leaf);
		if (record)
			return record;
	}
	return 0;
}

/*
 * A task's record by a group whose pointer is typed, which costs a tenth of a call. Mostly the group
 * is the task's own. Sets `sure` when no ancestor needs to be asked.
 */
static __always_inline void *record_of_own(void *map, struct settings *host,
					   struct cgroup___t *group, __u64 *leaf, bool *sure)
{
	__u32 level = group->level;
	void *record = 0;

	*sure = level < host->first_level;
	if (level >= host->first_level && level <= host->last_level) {
		*leaf = group->kn->id;
		record = bpf_map_lookup_elem(map, leaf);
		*sure = record || level == host->first_level;
	}
	return record;
}

/* As record_of_current, for programs at tracepoints of the scheduler. */
static __always_inline void *record_of_caller(void *map, struct settings *host,
					      struct task_struct___t *caller, __u64 *leaf)
{
	bool sure;
	void *record = record_of_own(map, host, caller->cgroups->dfl_cgrp, leaf, &sure);

	return sure ? record : record_of_current(map, host, leaf);
}

static __always_inline void *record_of_task(void *map, struct settings *host,
					    struct task_struct___t *task, __u64 *leaf)
{
	struct cgroup___t *group;
	void *record;
	bool sure;

	if (!bpf_ksym_exists(bpf_rdonly_cast)) {
		group = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	} else {
		group = bpf_core_cast(task, struct task_struct___t)->cgroups->dfl_cgrp;
		record = record_of_own(map, host, group, leaf, &sure);
		if (sure)
			return record;
	}
	return record_of_group(map, host, group, leaf);
}
#endif

#endif
