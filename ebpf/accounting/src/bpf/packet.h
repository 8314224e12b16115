/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Addresses and ports of a packet, v4 as v4-mapped v6. */
#ifndef TEPUI_PACKET_H
#define TEPUI_PACKET_H

#define MAX_EXTENSIONS 8

static __always_inline void map_v4(__u32 address[4], __u32 v4)
{
	address[0] = 0;
	address[1] = 0;
	address[2] = bpf_htonl(0xffff);
	address[3] = v4;
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

#endif
