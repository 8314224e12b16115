/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What our programs need of the kernel, and nothing more. Contexts and constants are the kernel's
 * stable interface to BPF programs. Structures with the suffix ___t are shadows: the loader moves
 * their offsets to those of the running kernel, so only the names of their members matter.
 */
#ifndef TEPUI_TYPES_H
#define TEPUI_TYPES_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_F_CURRENT_NETNS = -1 };

enum { BPF_DEVCG_ACC_MKNOD = 1, BPF_DEVCG_ACC_READ = 2, BPF_DEVCG_ACC_WRITE = 4 };
struct bpf_cgroup_dev_ctx {
	__u32 access_type;
	__u32 major;
	__u32 minor;
};

enum { AF_INET = 2, AF_INET6 = 10 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3 };
enum {
	IPPROTO_ICMP = 1,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_DCCP = 33,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_SCTP = 132,
	IPPROTO_UDPLITE = 136,
};
enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_LISTEN = 10,
	TCP_NEW_SYN_RECV = 12,
};
enum { LOOPBACK_IFINDEX = 1 };

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port; /* host order */
	__be16 dst_port;
	__u16 : 16;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port; /* network order, in the low half */
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};

struct bpf_sock_tuple {
	union {
		struct {
			__be32 saddr;
			__be32 daddr;
			__be16 sport;
			__be16 dport;
		} ipv4;
		struct {
			__be32 saddr[4];
			__be32 daddr[4];
			__be16 sport;
			__be16 dport;
		} ipv6;
	};
};

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol; /* network order */
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	union {
		void *flow_keys;
		__u64 : 64;
	} __attribute__((aligned(8)));
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
	__u32 gso_size;
};

#define SHADOW __attribute__((preserve_access_index))

struct kernfs_node___t {
	__u64 id;
} SHADOW;

struct cgroup_root___t {
	int hierarchy_id;
} SHADOW;

struct cgroup___t {
	struct cgroup_root___t *root;
	struct kernfs_node___t *kn;
	int level;
	struct cgroup___t *ancestors[]; /* since 6.1 */
} SHADOW;

/* Before 6.1 the ids of the ancestors themselves. */
struct cgroup___old {
	__u64 ancestor_ids[1];
} SHADOW;

struct css_set___t {
	struct cgroup___t *dfl_cgrp;
} SHADOW;

struct sched_info___t {
	unsigned long long run_delay;
} SHADOW;

struct atomic___t {
	int counter;
} SHADOW;

struct signal_struct___t {
	struct atomic___t live;
	int group_exit_code;
	unsigned int flags;
	unsigned long maxrss;
} SHADOW;

struct kernel_siginfo___t {
	int si_code;
} SHADOW;

struct task_struct___t {
	int pid;
	int tgid;
	int exit_code;
	__u64 start_boottime; /* since 5.5 */
	struct task_struct___t *group_leader;
	struct signal_struct___t *signal;
	struct css_set___t *cgroups;
	struct sched_info___t sched_info;
	unsigned int __state; /* since 5.14 */
	char comm[16];
} SHADOW;

struct task_struct___old {
	long state;
	__u64 real_start_time;
} SHADOW;

struct sock_cgroup_data___t {
	struct cgroup___t *cgroup;
} SHADOW;

struct sock_common___t {
	unsigned short skc_family;
	volatile unsigned char skc_state;
} SHADOW;

struct sock___t {
	struct sock_common___t __sk_common;
	__u16 sk_protocol;
	struct sock_cgroup_data___t sk_cgrp_data;
} SHADOW;

struct sk_buff___t {
	struct sock___t *sk;
	int skb_iif;
} SHADOW;

struct tcp_sock___t {
	__u32 srtt_us;
} SHADOW;

struct cgroup_subsys_state___t {
	struct cgroup___t *cgroup;
} SHADOW;

struct blkcg___t {
	struct cgroup_subsys_state___t css;
} SHADOW;

struct blkcg_gq___t {
	struct blkcg___t *blkcg;
} SHADOW;

struct bio___t {
	struct blkcg_gq___t *bi_blkg;
} SHADOW;

struct request___t {
	unsigned int cmd_flags;
	__u64 __sector;
	unsigned int __data_len;
	struct bio___t *bio;
} SHADOW;

#endif
