/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Block i/o per task: bytes and the time from the driver's start to its end. A request belongs to
 * the group the kernel charges it to, where the io controller knows tasks' groups; elsewhere to
 * whoever queued or started it, so pages written back later are nobody's.
 */
#include "types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "record.h"
#define TEPUI_SHADOWS
#include "leaf.h"
#include "buckets.h"

#define REQ_OP_MASK 0xff

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct block_use);
} block_use SEC(".maps");

struct started {
	__u64 time_ns;
	__u64 leaf;
	__u64 sector; /* a request's place in memory is used again, for other sectors */
	__u32 operation;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct started);
} started SEC(".maps");

static __always_inline struct block_use *owner_of(struct request___t *request, __u64 *leaf)
{
	struct settings *host = host_settings();
	struct cgroup___t *group = 0;
	struct block_use *use;

	if (!host)
		return 0;
	if (bpf_core_field_exists(((struct bio___t *)0)->bi_blkg)) {
		LAUNDER(request);
		group = BPF_CORE_READ(request, bio, bi_blkg, blkcg, css.cgroup);
	}
	/* Ids are unique within a hierarchy only; the version 2 hierarchy has number 0. */
	if (group && BPF_CORE_READ(group, root, hierarchy_id) == 0) {
		use = record_of_group(&block_use, host, group, leaf);
		if (use)
			return use;
	}
	return record_of_current(&block_use, host, leaf);
}

/* Notes whose a request is; 0 when it is nobody's that is known here. */
static __always_inline int note_owner(struct request___t *request)
{
	struct started entry = {};
	__u64 key = (__u64)request;
	__u32 operation;

	if (!owner_of(request, &entry.leaf))
		return 0;
	operation = BPF_CORE_READ(request, cmd_flags) & REQ_OP_MASK;
	entry.operation = operation < BLOCK_OTHER ? operation : BLOCK_OTHER;
	entry.sector = BPF_CORE_READ(request, __sector);
	entry.time_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&started, &key, &entry, BPF_ANY);
	return 1;
}

/* While it waits, a request grows at both ends: what goes on where it begins is put before it. */
static __always_inline int is_part_of(struct started *entry, struct request___t *request)
{
	__u64 begin = BPF_CORE_READ(request, __sector);

	return entry->sector - begin < (BPF_CORE_READ(request, __data_len) + 511) / 512;
}

/* A request that nobody known here queues or starts: its own entry stays, and one that was left by the
 * former request in this place of memory goes. 0 when there is none of its own. */
static __always_inline struct started *noted_before(struct request___t *request)
{
	__u64 key = (__u64)request;
	struct started *entry = bpf_map_lookup_elem(&started, &key);

	if (!entry || is_part_of(entry, request))
		return entry;
	bpf_map_delete_elem(&started, &key);
	return 0;
}

/* Where it waits for the device, a thread of the kernel may start it in place of its owner. */
SEC("raw_tp/block_rq_insert")
int tepui_block_wait(__u64 *ctx)
{
	struct request___t *request = (void *)ctx[0];

	if (!note_owner(request))
		noted_before(request);
	return 0;
}

SEC("raw_tp/block_rq_issue")
int tepui_block_start(__u64 *ctx)
{
	struct request___t *request = (void *)ctx[0];
	struct started *entry;

	if (note_owner(request))
		return 0;
	entry = noted_before(request);
	if (entry)
		entry->time_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/block_rq_complete")
int tepui_block_end(__u64 *ctx)
{
	__u64 key = ctx[0];
	struct started *entry = bpf_map_lookup_elem(&started, &key);
	struct block_use *use;
	__u32 operation, bucket;
	__u64 took;

	if (!entry)
		return 0;
	use = bpf_map_lookup_elem(&block_use, &entry->leaf);
	operation = entry->operation;
	if (use && operation < BLOCK_OPS) {
		took = bpf_ktime_get_ns() - entry->time_ns;
		bucket = bucket_of(took / 1000);
		__sync_fetch_and_add(&use->bytes[operation], (__u32)ctx[2]);
		__sync_fetch_and_add(&use->requests[operation], 1);
		__sync_fetch_and_add(&use->latency_ns, took);
		if (bucket < BUCKETS)
			__sync_fetch_and_add(&use->latencies[bucket], 1);
	}
	bpf_map_delete_elem(&started, &key);
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
