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

/* Reports per task and second; the rest is only counted. */
#define REPORTS_PER_SECOND 32
#define SECOND_NS 1000000000ULL
/* A datagram is an answer within this time of the last question. */
#define ANSWER_NS (180 * SECOND_NS)
#define MAX_EXTENSIONS 8

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct task_ports);
} task_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_TASKS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct denials);
} task_denials SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct peer);
	__type(value, __u64);
} udp_peers SEC(".maps");

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
};

static __always_inline void judge_by(struct subject *who, struct settings *host)
{
	who->mode = host->mode;
	who->flags = host->flags;
	if (who->ports && who->ports->mode != MODE_INHERIT)
		who->mode = who->ports->mode;
}

static __always_inline int current_subject(struct subject *who)
{
	struct settings *host = host_settings();
	__u32 level;

	who->leaf = 0;
	who->ports = 0;
	if (!host)
		return 0;
	for (int i = 0; i < MAX_LEVELS; i++) {
		level = host->first_level + i;
		if (level > host->last_level)
			break;
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
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

static __always_inline int receiving_subject(struct __sk_buff *skb, struct subject *who)
{
	struct settings *host = host_settings();
	__u32 level;

	who->leaf = 0;
	who->ports = 0;
	if (!host)
		return 0;
	for (int i = 0; i < MAX_LEVELS; i++) {
		level = host->first_level + i;
		if (level > host->last_level)
			break;
		__u64 id = bpf_skb_ancestor_cgroup_id(skb, level);
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

static __always_inline void report(struct subject *who, struct attempt *what)
{
	struct denials *book = bpf_map_lookup_elem(&task_denials, &who->leaf);
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
	struct denials *book = bpf_map_lookup_elem(&task_denials, &who->leaf);

	if (book)
		__sync_fetch_and_add(&book->ephemeral, 1);
	return 1;
}

static __always_inline int has_ports(__u32 type, __u32 protocol)
{
	return type != SOCK_RAW && protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6;
}

static __always_inline int check_bind(struct bpf_sock_addr *ctx)
{
	struct subject who;
	struct attempt what = {};

	if (!has_ports(ctx->type, ctx->protocol) || !current_subject(&who))
		return 1;
	what.port = bpf_ntohs((__u16)ctx->user_port);
	what.protocol = (__u8)ctx->protocol;
	what.family = (__u8)ctx->family;
	what.pid = bpf_get_current_pid_tgid() >> 32;
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
	return check_bind(ctx) ? 1 : 0;
}

SEC("cgroup/bind6")
int tepui_bind6(struct bpf_sock_addr *ctx)
{
	return check_bind(ctx) ? 1 : 0;
}

/*
 * The port that a bind really got. In strict mode it must be one of the task's, whatever another
 * program on the way made of the address.
 */
static __always_inline int check_bound(struct bpf_sock *ctx)
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
	return refuse(&who, &what);
}

SEC("cgroup/post_bind4")
int tepui_post_bind4(struct bpf_sock *ctx)
{
	return check_bound(ctx) ? 1 : 0;
}

SEC("cgroup/post_bind6")
int tepui_post_bind6(struct bpf_sock *ctx)
{
	return check_bound(ctx) ? 1 : 0;
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

static __always_inline void map_v4(__u32 address[4], __u32 v4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = v4;
}

static __always_inline int remember_peer(struct bpf_sock_addr *ctx, struct peer *peer)
{
	__u64 now = bpf_ktime_get_boot_ns();

	peer->socket = bpf_get_socket_cookie(ctx);
	peer->port = (__u16)ctx->user_port;
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

struct packet {
	__u32 source[4];
	__u32 target[4];
	__be16 source_port;
	__be16 target_port;
	__u8 version;
};

static __always_inline int parse_v4(struct __sk_buff *skb, struct packet *packet)
{
	__u32 addresses[2];
	__u8 first;

	if (bpf_skb_load_bytes(skb, 0, &first, 1) || bpf_skb_load_bytes(skb, 12, addresses, 8))
		return 0;
	map_v4(packet->source, addresses[0]);
	map_v4(packet->target, addresses[1]);
	packet->version = 4;
	return bpf_skb_load_bytes(skb, (first & 15) * 4, &packet->source_port, 4) == 0;
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct packet *packet, __u8 protocol)
{
	__u32 at = 40;
	__u8 next;

	if (bpf_skb_load_bytes(skb, 6, &next, 1) || bpf_skb_load_bytes(skb, 8, packet->source, 16) ||
	    bpf_skb_load_bytes(skb, 24, packet->target, 16))
		return 0;
	packet->version = 6;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		__u8 head[2];

		if (next == protocol)
			return bpf_skb_load_bytes(skb, at, &packet->source_port, 4) == 0;
		/* hop by hop, routing, fragment, destination options */
		if (next != 0 && next != 43 && next != 44 && next != 60)
			return 0;
		if (bpf_skb_load_bytes(skb, at, head, 2))
			return 0;
		at += next == 44 ? 8 : (head[1] + 1) * 8;
		next = head[0];
	}
	return 0;
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *packet, __u8 protocol)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_v4(skb, packet);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_v6(skb, packet, protocol);
	return 0;
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
		if (what.op == OP_RECEIVE && is_answer(skb, &packet))
			return 1;
		if (who.flags & FLAG_OWN_LOOP && who.leaf &&
		    is_own(skb, &packet, protocol, who.leaf, host))
			return 1;
	}
	return refuse(&who, &what) ? 1 : 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
