/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Bytes and packets per task as the network layer sees them, and what became of connections. */
#include "types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "record.h"
#define TEPUI_SHADOWS
#include "leaf.h"
#include "buckets.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct net_use);
} net_use SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct tcp_use);
} tcp_use SEC(".maps");

static __always_inline struct net_use *record_of_packet(struct settings *host, struct __sk_buff *skb)
{
	for (int i = 0; i < MAX_LEVELS; i++) {
		__u32 level = host->first_level + i;
		struct net_use *use;
		__u64 leaf;

		if (level > host->last_level)
			break;
		leaf = bpf_skb_ancestor_cgroup_id(skb, level);
		if (!leaf)
			break;
		use = bpf_map_lookup_elem(&net_use, &leaf);
		if (use)
			return use;
	}
	return 0;
}

static __always_inline __u32 protocol_of(struct __sk_buff *skb)
{
	struct bpf_sock *socket = skb->sk;

	if (!socket)
		return NET_OTHER;
	socket = bpf_sk_fullsock(socket);
	if (!socket)
		return NET_OTHER;
	if (socket->protocol == IPPROTO_TCP)
		return NET_TCP;
	return socket->protocol == IPPROTO_UDP ? NET_UDP : NET_OTHER;
}

/* Packets may nest on one processor: softirq over a system call. Hence the atomic additions. */
static __always_inline int count(struct __sk_buff *skb, __u32 direction)
{
	struct settings *host = host_settings();
	__u32 protocol = protocol_of(skb);
	struct net_use *use;

	if (!host)
		return 1;
	use = record_of_packet(host, skb);
	if (!use)
		return 1;
	if (direction < NET_DIRECTIONS && protocol < NET_PROTOCOLS) {
		__sync_fetch_and_add(&use->bytes[direction][protocol], skb->len);
		__sync_fetch_and_add(&use->packets[direction][protocol], 1);
	}
	return 1;
}

SEC("cgroup_skb/ingress")
int tepui_received(struct __sk_buff *skb)
{
	count(skb, NET_IN);
	return 1;
}

SEC("cgroup_skb/egress")
int tepui_sent(struct __sk_buff *skb)
{
	count(skb, NET_OUT);
	return 1;
}

static __always_inline void *record_of_socket(void *map, struct sock___t *socket)
{
	struct settings *host = host_settings();
	struct cgroup___t *group;
	__u64 leaf;

	if (!host || !bpf_core_field_exists(socket->sk_cgrp_data.cgroup))
		return 0;
	LAUNDER(socket);
	group = BPF_CORE_READ(socket, sk_cgrp_data.cgroup);
	return group ? record_of_group(map, host, group, &leaf) : 0;
}

static __always_inline void count_drop(struct sock___t *socket, __u32 direction)
{
	struct net_use *use = record_of_socket(&net_use, socket);

	if (use && direction < NET_DIRECTIONS)
		__sync_fetch_and_add(&use->drops[direction], 1);
}

/* A datagram for which the socket had no room. */
SEC("raw_tp/udp_fail_queue_rcv_skb")
int tepui_full(__u64 *ctx)
{
	count_drop((void *)ctx[1], NET_IN);
	return 0;
}

/*
 * A packet that was thrown away. On its way out it has its sender's socket; on its way in the
 * kernel knows the socket early for established TCP connections only.
 */
SEC("raw_tp/kfree_skb")
int tepui_dropped(__u64 *ctx)
{
	struct sk_buff___t *packet = (void *)ctx[0];
	struct sock___t *socket = BPF_CORE_READ(packet, sk);
	__u8 state;
	__u16 family;

	if (!socket)
		return 0;
	family = BPF_CORE_READ(socket, __sk_common.skc_family);
	state = BPF_CORE_READ(socket, __sk_common.skc_state);
	if ((family != AF_INET && family != AF_INET6) || state == TCP_TIME_WAIT ||
	    state == TCP_NEW_SYN_RECV)
		return 0;
	if (BPF_CORE_READ(packet, skb_iif) == 0)
		count_drop(socket, NET_OUT);
	else if (BPF_CORE_READ(socket, sk_protocol) == IPPROTO_TCP)
		count_drop(socket, NET_IN);
	return 0;
}

SEC("raw_tp/tcp_retransmit_skb")
int tepui_retransmit(__u64 *ctx)
{
	struct tcp_use *use = record_of_socket(&tcp_use, (void *)ctx[0]);

	if (use)
		__sync_fetch_and_add(&use->retransmits, 1);
	return 0;
}

static __always_inline void count_round_trip(struct tcp_use *use, struct sock___t *socket)
{
	/* The kernel keeps eight times the smoothed value. */
	__u64 micros = BPF_CORE_READ((struct tcp_sock___t *)socket, srtt_us) >> 3;
	__u32 bucket = bucket_of(micros);

	if (!micros)
		return;
	__sync_fetch_and_add(&use->round_trip_us, micros);
	if (bucket < BUCKETS)
		__sync_fetch_and_add(&use->round_trips[bucket], 1);
}

/* Round trips are counted once per connection, when it begins to end. */
SEC("raw_tp/inet_sock_set_state")
int tepui_state(__u64 *ctx)
{
	struct sock___t *socket = (void *)ctx[0];
	int before = ctx[1], after = ctx[2];
	struct tcp_use *use;

	if (before != TCP_ESTABLISHED && after != TCP_ESTABLISHED)
		return 0;
	if (BPF_CORE_READ(socket, sk_protocol) != IPPROTO_TCP)
		return 0;
	use = record_of_socket(&tcp_use, socket);
	if (!use)
		return 0;
	if (after == TCP_ESTABLISHED) {
		__sync_fetch_and_add(before == TCP_SYN_SENT ? &use->connected : &use->accepted, 1);
		return 0;
	}
	__sync_fetch_and_add(&use->ended, 1);
	count_round_trip(use, socket);
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
