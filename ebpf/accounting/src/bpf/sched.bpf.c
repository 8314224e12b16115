/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Processor time, waiting, faults and endings per task. The first two run at every switch of a
 * processor, so they look at the caller's own group first, which costs no reads of kernel memory.
 */
#include "types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "record.h"
#define TEPUI_SHADOWS
#include "leaf.h"
#include "buckets.h"

#define SECOND_NS 1000000000ULL
#define REPORTS_PER_SECOND 32
#define SIGNAL_GROUP_EXIT 4
#define LAST_SIGNAL 64
#define EEXIST 17

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct cpu_use);
} cpu_use SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct endings);
} endings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct running);
} running SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct signal_note);
} signal_notes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} oom_victims SEC(".maps");

/* A process for ever: its id is used again. */
struct process {
	__u64 started; /* nanoseconds since boot */
	__u32 id;
	__u32 pad;
};

/* Processes whose ends were counted. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct process);
	__type(value, __u8);
} ended SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} exit_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} exit_lost SEC(".maps");

/* Never written: it puts the event's layout into the object's type information. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exit_event);
} exit_scratch SEC(".maps");

/* Faults are counted in the record itself, by whoever faults. */
static __always_inline void add_counts(struct cpu_use *to, const struct cpu_use *from)
{
	to->run_ns += from->run_ns;
	to->voluntary += from->voluntary;
	for (int i = 0; i < BY_KINDS; i++)
		to->preempted[i] += from->preempted[i];
	to->wait_ns += from->wait_ns;
	for (int i = 0; i < BUCKETS; i++)
		to->waits[i] += from->waits[i];
}

/* Counts of a task that nobody knows any more are gone with its record. */
static __always_inline void put_away(struct running *slot)
{
	struct cpu_use *record = bpf_map_lookup_elem(&cpu_use, &slot->leaf);

	*(volatile __u64 *)&slot->changes += 1;
	barrier();
	if (record)
		add_counts(record, &slot->counts);
	__builtin_memset(&slot->counts, 0, sizeof(slot->counts));
	barrier();
	*(volatile __u64 *)&slot->changes += 1;
}

/*
 * Where the caller's counts go: mostly the processor has them at hand. Interrupts are off at the
 * tracepoints that count here, so nothing comes in between.
 */
static __always_inline struct cpu_use *at_hand(struct running *slot, struct settings *host,
					       struct task_struct___t *caller)
{
	__u64 own = caller->cgroups->dfl_cgrp->kn->id, leaf;

	if (slot->own == own && slot->runs < RUNS_AT_HAND) {
		slot->runs += 1;
		return &slot->counts;
	}
	/* Who is no task leaves what is at hand there. */
	if (!record_of_caller(&cpu_use, host, caller, &leaf))
		return 0;
	put_away(slot);
	slot->own = own;
	slot->leaf = leaf;
	slot->runs = 0;
	return &slot->counts;
}

SEC("raw_tp/sched_stat_runtime")
int tepui_runtime(__u64 *ctx)
{
	struct task_struct___t *task = (void *)ctx[0];
	struct task_struct___t *caller = (void *)bpf_get_current_task_btf();
	struct settings *host = host_settings();
	struct running *slot;
	struct cpu_use *use;
	__u32 zero = 0;
	__u64 leaf;

	slot = bpf_map_lookup_elem(&running, &zero);
	if (!host || !slot)
		return 0;
	if (ctx[0] == (__u64)caller)
		use = at_hand(slot, host, caller);
	else
		use = record_of_task(&cpu_use, host, task, &leaf);
	if (use)
		use->run_ns += ctx[1];
	return 0;
}

/*
 * The kernel adds a wait to its thread's sum when the thread gets a processor, just after this
 * tracepoint. So the sum is noted when a thread comes and compared when it goes.
 */
static __always_inline void note_next(struct running *slot, struct task_struct___t *to)
{
	if (bpf_ksym_exists(bpf_rdonly_cast)) {
		to = bpf_core_cast(to, struct task_struct___t);
		slot->thread = to->pid;
		slot->waited_ns = to->sched_info.run_delay;
	} else {
		slot->thread = BPF_CORE_READ(to, pid);
		slot->waited_ns = BPF_CORE_READ(to, sched_info.run_delay);
	}
}

static __always_inline void count_wait(struct cpu_use *use, __u64 waited)
{
	__u32 bucket = bucket_of(waited / 1000);

	use->wait_ns += waited;
	if (bucket < BUCKETS)
		use->waits[bucket] += 1;
}

static __always_inline bool still_wants_to_run(struct task_struct___t *task)
{
	struct task_struct___old *old = (void *)task;

	if (bpf_core_field_exists(task->__state))
		return task->__state == 0;
	LAUNDER(old);
	return BPF_CORE_READ(old, state) == 0;
}

/* At this point the caller is still the one who leaves the processor. */
SEC("raw_tp/sched_switch")
int tepui_switch(__u64 *ctx)
{
	bool preempted = ctx[0];
	struct task_struct___t *from = (void *)bpf_get_current_task_btf();
	struct task_struct___t *to = (void *)ctx[2];
	struct settings *host = host_settings();
	struct running *slot;
	struct cpu_use *use;
	__u64 waited_ns, next;
	__u32 thread, zero = 0;

	slot = bpf_map_lookup_elem(&running, &zero);
	if (!host || !slot)
		return 0;
	thread = slot->thread;
	waited_ns = slot->waited_ns;
	note_next(slot, to);
	use = at_hand(slot, host, from);
	if (!use)
		return 0;
	if (thread == from->pid)
		count_wait(use, from->sched_info.run_delay - waited_ns);
	if (!preempted && !still_wants_to_run(from)) {
		use->voluntary += 1;
		return 0;
	}
	/* Mostly the next thread is of the same task: then nobody needs to be looked up. */
	if (bpf_ksym_exists(bpf_rdonly_cast) &&
	    bpf_core_cast(to, struct task_struct___t)->cgroups->dfl_cgrp == from->cgroups->dfl_cgrp)
		use->preempted[BY_SELF] += 1;
	else if (!record_of_task(&cpu_use, host, to, &next))
		use->preempted[BY_SYSTEM] += 1;
	else if (next == slot->leaf)
		use->preempted[BY_SELF] += 1;
	else
		use->preempted[BY_OTHER] += 1;
	return 0;
}

SEC("raw_tp/page_fault_user")
int tepui_fault(__u64 *ctx)
{
	struct settings *host = host_settings();
	struct cpu_use *use;
	__u64 leaf;

	if (!host)
		return 0;
	use = record_of_caller(&cpu_use, host, (void *)bpf_get_current_task_btf(), &leaf);
	if (use)
		__sync_fetch_and_add(&use->faults, 1);
	return 0;
}

/*
 * Signals that do not end a process by themselves: CHLD CONT STOP TSTP TTIN TTOU URG WINCH. Those of
 * real time, from 32 on, do.
 */
static __always_inline bool may_be_fatal(__u32 signal)
{
	if (signal < 1 || signal > LAST_SIGNAL)
		return 0;
	return signal > 31 || !((0x10fe0000u >> signal) & 1);
}

/* Small numbers stand in place of a pointer: 0 for a process, 1 for the kernel. */
static __always_inline bool is_kernels(struct kernel_siginfo___t *about)
{
	if ((__u64)about < 2)
		return (__u64)about == 1;
	return BPF_CORE_READ(about, si_code) > 0;
}

SEC("raw_tp/signal_generate")
int tepui_signal(__u64 *ctx)
{
	__u32 signal = ctx[0];
	struct task_struct___t *task = (void *)ctx[2];
	struct settings *host = host_settings();
	struct signal_note note = {};
	__u64 leaf;
	__u32 process;

	/* The last argument: it was delivered, not ignored or pending already. */
	if (!host || !may_be_fatal(signal) || ctx[4] != 0)
		return 0;
	if (!record_of_task(&endings, host, task, &leaf))
		return 0;
	note.signal = signal;
	note.from_kernel = is_kernels((void *)ctx[1]);
	note.sender_pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(note.comm, sizeof(note.comm));
	if (record_of_current(&endings, host, &leaf))
		note.sender_leaf = leaf;
	process = BPF_CORE_READ(task, tgid);
	bpf_map_update_elem(&signal_notes, &process, &note, BPF_ANY);
	return 0;
}

/* Since 6.9 the task, before that its process id. */
SEC("raw_tp/mark_victim")
int tepui_victim(__u64 *ctx)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u32 process = ctx[0];

	if (ctx[0] >> 32)
		process = BPF_CORE_READ((struct task_struct___t *)ctx[0], tgid);
	bpf_map_update_elem(&oom_victims, &process, &now, BPF_ANY);
	return 0;
}

static __always_inline __u32 wait_status(struct task_struct___t *task)
{
	struct signal_struct___t *signal = BPF_CORE_READ(task, signal);

	if (BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

static __always_inline __u64 start_of(struct task_struct___t *task)
{
	struct task_struct___t *leader = BPF_CORE_READ(task, group_leader);
	struct task_struct___old *old = (void *)leader;

	if (bpf_core_field_exists(leader->start_boottime))
		return BPF_CORE_READ(leader, start_boottime);
	LAUNDER(old);
	return BPF_CORE_READ(old, real_start_time);
}

/*
 * Threads that exit together may all find that none is left: each counts itself out, gives its
 * memory back, and comes by here only then.
 */
static __always_inline bool is_first(struct process *who)
{
	__u8 yes = 1;

	return bpf_map_update_elem(&ended, who, &yes, BPF_NOEXIST) != -EEXIST;
}

/* A mark that is older than the process was left by another one with its id, which was no task's. */
static __always_inline bool is_victim(struct process *who)
{
	__u64 *marked = bpf_map_lookup_elem(&oom_victims, &who->id);

	return marked && *marked >= who->started;
}

static __always_inline bool may_report(struct endings *book, __u64 now)
{
	if (book->window != now / SECOND_NS) {
		book->window = now / SECOND_NS;
		book->reported = 0;
	}
	if (book->reported >= REPORTS_PER_SECOND) {
		__sync_fetch_and_add(&book->quiet, 1);
		return 0;
	}
	__sync_fetch_and_add(&book->reported, 1);
	return 1;
}

static __always_inline void report_exit(struct task_struct___t *task, __u64 leaf, __u32 status,
					bool victim, __u64 now)
{
	__u32 process = BPF_CORE_READ(task, tgid);
	struct signal_note *note = bpf_map_lookup_elem(&signal_notes, &process);
	struct exit_event *event = bpf_ringbuf_reserve(&exit_ring, sizeof(*event), 0);

	if (!event) {
		__u32 zero = 0;
		__u64 *lost = bpf_map_lookup_elem(&exit_lost, &zero);

		if (lost)
			__sync_fetch_and_add(lost, 1);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->leaf = leaf;
	event->time_ns = now;
	event->pid = process;
	event->status = status;
	event->peak_pages = BPF_CORE_READ(task, signal, maxrss);
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	if (victim)
		event->flags |= ENDED_OOM;
	if (note && note->signal == (status & 0x7f)) {
		event->flags |= ENDED_SENDER;
		if (note->from_kernel)
			event->flags |= ENDED_KERNEL;
		event->sender_pid = note->sender_pid;
		event->sender_leaf = note->sender_leaf;
		__builtin_memcpy(event->sender_comm, note->comm, COMM_BYTES);
	}
	bpf_ringbuf_submit(event, 0);
}

SEC("raw_tp/sched_process_exit")
int tepui_exit(__u64 *ctx)
{
	struct task_struct___t *task = (void *)ctx[0];
	struct settings *host = host_settings();
	__u64 leaf, now = bpf_ktime_get_boot_ns();
	struct process who = {};
	struct endings *book;
	__u32 status;
	bool victim;

	if (!host)
		return 0;
	book = record_of_current(&endings, host, &leaf);
	if (!book)
		return 0;
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	who.id = BPF_CORE_READ(task, tgid);
	who.started = start_of(task);
	if (!is_first(&who))
		return 0;
	status = wait_status(task);
	victim = is_victim(&who);
	__sync_fetch_and_add(&book->exits, 1);
	if (status & 0x7f)
		__sync_fetch_and_add(&book->signalled, 1);
	else if (status)
		__sync_fetch_and_add(&book->failures, 1);
	if (victim)
		__sync_fetch_and_add(&book->oom_kills, 1);
	if ((status || victim) && may_report(book, now))
		report_exit(task, leaf, status, victim, now);
	bpf_map_delete_elem(&signal_notes, &who.id);
	bpf_map_delete_elem(&oom_victims, &who.id);
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
