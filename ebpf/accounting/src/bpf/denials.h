/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Counts and reports what is refused. Needs subject.h. */
#ifndef TEPUI_DENIALS_H
#define TEPUI_DENIALS_H

/* Reports per task and second; the rest is only counted. */
#define REPORTS_PER_SECOND 32
#define SECOND_NS 1000000000ULL
/* The key of the book of groups that nobody registered. */
#define STRANGERS 0

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct denials);
} task_denials SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} denial_ring SEC(".maps");

/* Reports that found the ring full. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} denial_lost SEC(".maps");

static __always_inline void fill(struct denial_event *event, struct subject *who,
				 struct attempt *what, __u64 now)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->leaf = who->leaf;
	event->time_ns = now;
	event->pid = what->pid;
	event->port = what->port;
	event->protocol = what->protocol;
	event->op = what->op;
	event->mode = who->mode;
	event->family = what->family;
	event->registered = who->ports ? 1 : 0;
	event->located = what->located;
	__builtin_memcpy(event->address, what->address, sizeof(event->address));
	if (what->pid)
		bpf_get_current_comm(event->comm, sizeof(event->comm));
}

/* Counts in the task's book; 0 when the book says that enough was reported this second. */
static __always_inline int count(struct denials *book, struct subject *who, struct attempt *what,
				 __u64 now)
{
	__u32 op = what->op;

	if (op < OPS)
		__sync_fetch_and_add(&book->by_op[op], 1);
	/* Racing processors may let a few more pass: a limit, not a count. */
	if (book->window != now / SECOND_NS) {
		book->window = now / SECOND_NS;
		book->reported = 0;
	}
	if (book->reported >= REPORTS_PER_SECOND) {
		__sync_fetch_and_add(&book->quiet, 1);
		return 0;
	}
	__sync_fetch_and_add(&book->reported, 1);
	fill(&book->last, who, what, now);
	return 1;
}

/* Groups that nobody registered share one book, so that their flood drowns nobody's reports. */
static __always_inline struct denials *book_of(struct subject *who)
{
	struct denials *book = bpf_map_lookup_elem(&task_denials, &who->leaf);
	__u64 strangers = STRANGERS;

	return book ? book : bpf_map_lookup_elem(&task_denials, &strangers);
}

static __always_inline void report(struct subject *who, struct attempt *what)
{
	struct denials *book = book_of(who);
	__u64 now = bpf_ktime_get_boot_ns();
	struct denial_event *event;

	if (book && !count(book, who, what, now))
		return;
	event = bpf_ringbuf_reserve(&denial_ring, sizeof(*event), 0);
	if (!event) {
		__u32 zero = 0;
		__u64 *lost = bpf_map_lookup_elem(&denial_lost, &zero);

		if (lost)
			__sync_fetch_and_add(lost, 1);
		return;
	}
	fill(event, who, what, now);
	bpf_ringbuf_submit(event, 0);
}

/* 1 lets pass, 0 refuses: what the kernel's cgroup hooks return. */
static __always_inline int refuse(struct subject *who, struct attempt *what)
{
	report(who, what);
	return who->mode == MODE_OBSERVE ? 1 : 0;
}

static __always_inline int count_ephemeral(struct subject *who)
{
	struct denials *book = book_of(who);

	if (book)
		__sync_fetch_and_add(&book->ephemeral, 1);
	return 1;
}

#endif
