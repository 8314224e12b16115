/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Every record that crosses between the kernel and the agent. This file is the only definition:
 * Rust gets the offsets from the object's type information when the crate is built.
 *
 * Changing a record of a pinned map changes its size, and a new agent then starts a fresh map
 * (see pins.rs); it never reads an old record with new eyes.
 */
#ifndef TEPUI_RECORD_H
#define TEPUI_RECORD_H

/* Port ranges that one task may have. */
#define MAX_RANGES 128
/* Tasks that one host may have registered. */
#define MAX_TASKS 16384
/* Groups between the root group and a task's group, at most. */
#define MAX_LEVELS 6
#define COMM_BYTES 16

enum mode {
	MODE_INHERIT = 0, /* of a task: as the host */
	MODE_OBSERVE = 1, /* count and report, let pass */
	MODE_DENY = 2,    /* count, report, refuse */
	MODE_KILL = 3,    /* as deny; the agent ends the task */
};

enum flag {
	FLAG_STRICT = 1,   /* refuse bind to port 0 */
	FLAG_OWN_LOOP = 2, /* a task may reach its own unlisted ports over loopback */
};

enum op {
	OP_BIND = 1,    /* bind to a port of no offer */
	OP_ANY = 2,     /* bind to port 0 in strict mode */
	OP_SOCKET = 3,  /* a protocol whose binds the kernel does not show us */
	OP_CONNECT = 4, /* someone connected to a port of no offer */
	OP_RECEIVE = 5, /* a datagram came to a port of no offer, unasked */
	OPS = 6,
};

/* Levels are depths in the hierarchy: the root group's first child level and the deepest one. */
struct settings {
	__u32 first_level;
	__u32 last_level;
	__u32 mode;
	__u32 flags;
};

struct port_range {
	__u16 first;
	__u16 last;
};

struct task_ports {
	__u32 mode;
	__u32 count;
	struct port_range ranges[MAX_RANGES];
};

struct denial_event {
	__u64 leaf;
	__u64 time_ns;
	__u32 pid;
	__u16 port;
	__u8 protocol;
	__u8 op;
	__u8 mode;
	__u8 family;
	__u8 registered;
	__u8 located; /* the address is known */
	__u8 pad[4];
	char comm[COMM_BYTES];
	__u32 address[4]; /* the task's own; of IPv4 as a v4-mapped one */
};

/* What a task was refused. Processors may race for `last`: it is a hint, the counts are exact. */
struct denials {
	__u64 by_op[OPS];
	__u64 ephemeral; /* binds to port 0 that were let pass */
	__u64 window;    /* second of the last report */
	__u32 reported;  /* reports within it */
	__u32 quiet;     /* denials that were counted, not reported */
	struct denial_event last;
};

/* A peer to which an unconnected UDP socket has sent. */
struct peer {
	__u64 socket;
	__u32 address[4];
	__u16 port;
	__u16 pad[3];
};

/* Buckets of a histogram: [0] below 1 us, [n] below 2^n us, the last one everything above. */
#define BUCKETS 26

/* Who ran after a task that still wanted to run. */
enum { BY_OTHER = 0, BY_SYSTEM = 1, BY_SELF = 2, BY_KINDS = 3 };

/* Per processor; only the processor itself writes, with interrupts off. */
struct cpu_use {
	__u64 run_ns;
	__u64 faults;
	__u64 voluntary;
	__u64 preempted[BY_KINDS];
	__u64 wait_ns;
	__u64 waits[BUCKETS];
};

/* Runs after which a processor puts away what it has at hand. */
#define RUNS_AT_HAND 256

/*
 * A processor's own: who runs on it, and counts of one task that are not in the task's record yet.
 * To find a record takes longer than to count. Readers add both.
 */
struct running {
	__u64 changes; /* odd while counts are put away: what is read then is half of it */
	__u64 own;     /* the group of the threads that count here; 0 is none */
	__u64 leaf;    /* the task's */
	__u64 waited_ns; /* what the running thread had waited when it came */
	__u32 thread;    /* which one that is */
	__u32 runs;
	struct cpu_use counts;
};

/* How the processes of a task ended. */
struct endings {
	__u64 exits;     /* all processes */
	__u64 failures;  /* with a status other than zero */
	__u64 signalled; /* by a signal */
	__u64 oom_kills;
	__u64 window;
	__u32 reported;
	__u32 quiet;
};

enum ending_flag {
	ENDED_OOM = 1,    /* the kernel's out-of-memory killer chose it */
	ENDED_SENDER = 2, /* the sender's members hold */
	ENDED_KERNEL = 4, /* the kernel itself sent the signal */
};

struct exit_event {
	__u64 leaf;
	__u64 time_ns;
	__u64 peak_pages;
	__u64 sender_leaf;
	__u32 pid;
	__u32 status; /* as wait(2) has it */
	__u32 sender_pid;
	__u32 flags;
	char comm[COMM_BYTES];
	char sender_comm[COMM_BYTES];
};

/* The last fatal signal that a process was sent. */
struct signal_note {
	__u64 sender_leaf;
	__u32 sender_pid;
	__u32 signal;
	__u32 from_kernel;
	__u32 pad;
	char comm[COMM_BYTES];
};

enum { NET_IN = 0, NET_OUT = 1, NET_DIRECTIONS = 2 };
enum { NET_TCP = 0, NET_UDP = 1, NET_OTHER = 2, NET_PROTOCOLS = 3 };

/* Per processor. Bytes begin with the IP header. */
struct net_use {
	__u64 bytes[NET_DIRECTIONS][NET_PROTOCOLS];
	__u64 packets[NET_DIRECTIONS][NET_PROTOCOLS];
	__u64 drops[NET_DIRECTIONS];
};

struct tcp_use {
	__u64 connected; /* connections that the task opened */
	__u64 accepted;  /* and that it was asked for */
	__u64 ended;
	__u64 retransmits;
	__u64 round_trip_us;
	__u64 round_trips[BUCKETS];
};

enum { BLOCK_READ = 0, BLOCK_WRITE = 1, BLOCK_OTHER = 2, BLOCK_OPS = 3 };

struct block_use {
	__u64 bytes[BLOCK_OPS];
	__u64 requests[BLOCK_OPS];
	__u64 latency_ns;
	__u64 latencies[BUCKETS];
};

#endif
