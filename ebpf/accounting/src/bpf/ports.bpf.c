/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A task binds exactly the ports of its offer, and no packet reaches it on another.
 *
 * Explicit binds are refused where they happen. What has no hook (listen or send without bind) or
 * is needed by every client (bind to port 0) gets an ephemeral port; that port is made unreachable
 * instead: the ingress program looks at the socket's state, so it needs no header of TCP and knows
 * no difference between families, v4-mapped addresses, SYN cookies or fast open.
 *
 * A group below the root group that nobody registered has no ports: forgetting fails closed.
 */
#include "types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "record.h"
#include "leaf.h"
#include "subject.h"
#include "denials.h"
#include "packet.h"

/* A datagram is an answer within this time of the last question. */
#define ANSWER_NS (180 * SECOND_NS)

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct peer);
	__type(value, __u64);
} udp_peers SEC(".maps");

static __always_inline int has_ports(__u32 type, __u32 protocol)
{
	return type != SOCK_RAW && protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6;
}

/* The address of a bind; each hook may look at its own family's alone. */
static __always_inline void locate_bind(struct bpf_sock_addr *ctx, struct attempt *what, int six)
{
	what->located = 1;
	if (!six) {
		map_v4(what->address, ctx->user_ip4);
		return;
	}
	what->address[0] = ctx->user_ip6[0];
	what->address[1] = ctx->user_ip6[1];
	what->address[2] = ctx->user_ip6[2];
	what->address[3] = ctx->user_ip6[3];
}

static __always_inline int check_bind(struct bpf_sock_addr *ctx, int six)
{
	struct subject who;
	struct attempt what = {};

	if (!has_ports(ctx->type, ctx->protocol) || !current_subject(&who))
		return 1;
	what.port = bpf_ntohs((__u16)ctx->user_port);
	what.protocol = (__u8)ctx->protocol;
	what.family = (__u8)ctx->family;
	what.pid = bpf_get_current_pid_tgid() >> 32;
	locate_bind(ctx, &what, six);
	if (what.port == 0) {
		if (!(who.flags & FLAG_STRICT))
			return count_ephemeral(&who);
		what.op = OP_ANY;
		return refuse(&who, &what);
	}
	if (owns(who.ports, what.port))
		return 1;
	what.op = OP_BIND;
	return refuse(&who, &what);
}

SEC("cgroup/bind4")
int tepui_bind4(struct bpf_sock_addr *ctx)
{
	return check_bind(ctx, 0) ? 1 : 0;
}

SEC("cgroup/bind6")
int tepui_bind6(struct bpf_sock_addr *ctx)
{
	return check_bind(ctx, 1) ? 1 : 0;
}

/*
 * The port that a bind really got. In strict mode it must be one of the task's, whatever another
 * program on the way made of the address.
 */
static __always_inline int check_bound(struct bpf_sock *ctx, int six)
{
	struct subject who;
	struct attempt what = {};

	if (!has_ports(ctx->type, ctx->protocol) || !current_subject(&who))
		return 1;
	if (!(who.flags & FLAG_STRICT))
		return 1;
	what.port = (__u16)ctx->src_port;
	if (owns(who.ports, what.port))
		return 1;
	what.protocol = (__u8)ctx->protocol;
	what.family = (__u8)ctx->family;
	what.pid = bpf_get_current_pid_tgid() >> 32;
	what.op = OP_BIND;
	what.located = 1;
	if (six) {
		what.address[0] = ctx->src_ip6[0];
		what.address[1] = ctx->src_ip6[1];
		what.address[2] = ctx->src_ip6[2];
		what.address[3] = ctx->src_ip6[3];
	} else {
		map_v4(what.address, ctx->src_ip4);
	}
	return refuse(&who, &what);
}

SEC("cgroup/post_bind4")
int tepui_post_bind4(struct bpf_sock *ctx)
{
	return check_bound(ctx, 0) ? 1 : 0;
}

SEC("cgroup/post_bind6")
int tepui_post_bind6(struct bpf_sock *ctx)
{
	return check_bound(ctx, 1) ? 1 : 0;
}

/* SCTP and DCCP bind past every hook: a task does not get such a socket. */
SEC("cgroup/sock_create")
int tepui_sock_create(struct bpf_sock *ctx)
{
	struct subject who;
	struct attempt what = {};

	if (ctx->protocol != IPPROTO_SCTP && ctx->protocol != IPPROTO_DCCP)
		return 1;
	if (!current_subject(&who))
		return 1;
	what.protocol = (__u8)ctx->protocol;
	what.family = (__u8)ctx->family;
	what.pid = bpf_get_current_pid_tgid() >> 32;
	what.op = OP_SOCKET;
	return refuse(&who, &what) ? 1 : 0;
}

static __always_inline int remember_peer(struct bpf_sock_addr *ctx, struct peer *peer)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct bpf_sock *socket = ctx->sk;
	struct subject who;
	__u64 *known;

	/* A server's own port hears everyone: its clients need no place in the map. */
	if (socket && socket->src_port && current_subject(&who) &&
	    owns(who.ports, (__u16)socket->src_port))
		return 1;
	peer->socket = bpf_get_socket_cookie(ctx);
	peer->port = (__u16)ctx->user_port;
	/* A known peer costs a third of a new one. */
	known = bpf_map_lookup_elem(&udp_peers, peer);
	if (known)
		*known = now;
	else
		bpf_map_update_elem(&udp_peers, peer, &now, BPF_ANY);
	return 1;
}

SEC("cgroup/sendmsg4")
int tepui_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct peer peer = {};

	map_v4(peer.address, ctx->user_ip4);
	return remember_peer(ctx, &peer);
}

SEC("cgroup/sendmsg6")
int tepui_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct peer peer = {};

	peer.address[0] = ctx->user_ip6[0];
	peer.address[1] = ctx->user_ip6[1];
	peer.address[2] = ctx->user_ip6[2];
	peer.address[3] = ctx->user_ip6[3];
	return remember_peer(ctx, &peer);
}

static __always_inline int is_answer(struct __sk_buff *skb, struct packet *packet)
{
	struct peer peer = {};
	__u64 *asked;

	peer.socket = bpf_get_socket_cookie(skb);
	peer.port = packet->source_port;
	__builtin_memcpy(peer.address, packet->source, sizeof(peer.address));
	asked = bpf_map_lookup_elem(&udp_peers, &peer);
	return asked && bpf_ktime_get_boot_ns() - *asked < ANSWER_NS;
}

/* The sender's socket is on this host and belongs to the same task. */
static __always_inline int is_own(struct __sk_buff *skb, struct packet *packet, __u8 protocol,
				  __u64 leaf, struct settings *host)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sender;
	__u32 size;
	int own = 0;

	if (skb->ifindex != LOOPBACK_IFINDEX)
		return 0;
	if (packet->version == 4) {
		tuple.ipv4.saddr = packet->target[3];
		tuple.ipv4.daddr = packet->source[3];
		tuple.ipv4.sport = packet->target_port;
		tuple.ipv4.dport = packet->source_port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, packet->target, 16);
		__builtin_memcpy(tuple.ipv6.daddr, packet->source, 16);
		tuple.ipv6.sport = packet->target_port;
		tuple.ipv6.dport = packet->source_port;
		size = sizeof(tuple.ipv6);
	}
	if (protocol == IPPROTO_TCP)
		sender = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sender = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sender)
		return 0;
	/* A listener with that port is not who sent this. */
	if (sender->state != TCP_LISTEN) {
		for (int i = 0; i < MAX_LEVELS; i++) {
			__u32 level = host->first_level + i;

			if (level > host->last_level)
				break;
			if (bpf_sk_ancestor_cgroup_id(sender, level) == leaf)
				own = 1;
		}
	}
	bpf_sk_release(sender);
	return own;
}

SEC("cgroup_skb/ingress")
int tepui_ingress(struct __sk_buff *skb)
{
	struct settings *host = host_settings();
	struct bpf_sock *socket = skb->sk;
	struct packet packet = {};
	struct attempt what = {};
	struct subject who;
	__u8 protocol;

	if (!host || !socket)
		return 1;
	socket = bpf_sk_fullsock(socket);
	if (!socket || socket->type == SOCK_RAW)
		return 1;
	protocol = (__u8)socket->protocol;
	if (socket->type == SOCK_STREAM) {
		if (socket->state != TCP_LISTEN)
			return 1;
		protocol = IPPROTO_TCP;
		what.op = OP_CONNECT;
	} else if (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE) {
		/* A connected socket hears its peer only: the kernel sees to that. */
		if (socket->state == TCP_ESTABLISHED)
			return 1;
		what.op = OP_RECEIVE;
	} else {
		return 1;
	}
	what.port = (__u16)socket->src_port;
	what.family = (__u8)socket->family;
	what.protocol = protocol;
	if (!receiving_subject(skb, &who) || owns(who.ports, what.port))
		return 1;
	if (parse(skb, &packet, protocol)) {
		what.located = 1;
		__builtin_memcpy(what.address, packet.target, sizeof(what.address));
		if (what.op == OP_RECEIVE && is_answer(skb, &packet))
			return 1;
		if (who.flags & FLAG_OWN_LOOP && who.leaf &&
		    is_own(skb, &packet, protocol, who.leaf, host))
			return 1;
	}
	return refuse(&who, &what) ? 1 : 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
