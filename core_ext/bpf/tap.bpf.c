/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The tap: socket filter of a packet ring, which says how much of a frame is worth copying to it. What is returned is
 * how many octets; the ring keeps the wire's length beside them.
 *
 * A direction of a flow that user space has not shunted is copied whole, and so is whatever is not understood from its
 * first 128 octets. The rest is in include/fx/shunt.h. Packet memory is out of reach here (the verifier refuses it), so
 * the headers are copied once.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define FX_WITHOUT_OPTIONS
#include "fx/hash.h"
#include "fx/parse.h"
#include "fx/shunt.h"

enum {
	HEADERS = 128, /* copied: Ethernet, two tags, IPv6, TCP with all options */
	WHOLE = 2048, /* as FX_RING_SNAP_BYTES: what a ring keeps without us */
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4
};

struct scratch {
	struct fx_packet packet;
	__u8 octets[2 * (FX_OFFSET_MASK + 1) + 1024]; /* whatever offset the verifier believes in */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct fx_shunt_key);
	__type(value, __u32);
} shunted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536); /* as many as `shunted` */
	__type(key, __u32);
	__type(value, struct fx_shunt_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FX_WHOLE_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} whole SEC(".maps");

FX_INLINE int is_whole_port(__u32 first_word, __u16 port)
{
	__u32 key = first_word + port / 64;
	const __u64 *ports = bpf_map_lookup_elem(&whole, &key);

	return ports && *ports >> (port & 63) & 1;
}

/* Whether user space asked for the payloads of either port. */
FX_INLINE int is_asked_for(const struct fx_packet *p)
{
	__u32 first_word = p->proto == FX_PROTO_TCP ? FX_WHOLE_TCP : FX_WHOLE_UDP;

	if (p->proto != FX_PROTO_TCP && p->proto != FX_PROTO_UDP)
		return 0;
	return is_whole_port(first_word, p->src_port) || is_whole_port(first_word, p->dst_port);
}

/* Adds the frame to its slot, as the packets it was on the wire. */
FX_INLINE void count(struct fx_shunt_slot *slot, const struct __sk_buff *skb,
		     const struct fx_packet *p)
{
	__u32 is_cut = p->proto == FX_PROTO_TCP || p->proto == FX_PROTO_UDP;
	__u32 segments = fx_wire_segments(p->payload_bytes, is_cut ? skb->gso_size : 0);
	__u64 packets = segments;

	if (p->payload_bytes) {
		packets |= (__u64)segments << 32;
		__sync_fetch_and_add(&slot->payload_bytes, p->payload_bytes);
	}
	__sync_fetch_and_add(&slot->bytes, p->ip_bytes + (__u64)(segments - 1) *
								 (p->ip_bytes - p->payload_bytes));
	slot->last_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&slot->packets, packets); /* last: who sees it sees the rest */
}

FX_INLINE struct fx_shunt_slot *find_slot(const struct fx_packet *p)
{
	struct fx_shunt_key key = { .src = p->src_addr,
				    .dst = p->dst_addr,
				    .tail = fx_flow_tail_make(p).forward };
	const __u32 *number = bpf_map_lookup_elem(&shunted, &key);
	__u32 slot;

	if (!number)
		return 0;
	slot = *number;
	return bpf_map_lookup_elem(&slots, &slot);
}

FX_INLINE int tap(const struct __sk_buff *skb, __u16 linktype)
{
	__u32 key = 0, captured = skb->len < HEADERS ? skb->len : HEADERS, kept, last;
	struct scratch *copy = bpf_map_lookup_elem(&scratch, &key);
	struct fx_shunt_slot *slot;
	struct fx_packet *p;
	__u64 mode;

	/* Linux 6.1 must be shown that the size is not 0: the last octet's place is kept apart from it. */
	last = captured - 1;
	asm volatile("" : "+r"(last));
	if (!copy || last >= HEADERS)
		return WHOLE;
	captured = last + 1;
	if (bpf_skb_load_bytes(skb, 0, copy->octets, captured) < 0)
		return WHOLE;
	p = &copy->packet;
	if (linktype != FX_LINKTYPE_ETHERNET ||
	    !fx_parse_common(copy->octets, copy->octets + captured, skb->len, p))
		fx_parse_any(copy->octets, copy->octets + captured, skb->len, linktype, p);
	if (!p->ip_version || (p->decode != FX_DECODE_OK && p->decode != FX_DECODE_CUT_OPTIONS))
		return WHOLE;
	slot = find_slot(p);
	if (!slot)
		return WHOLE;
	mode = slot->mode;
	if (mode == FX_SHUNT_PASS || is_asked_for(p))
		return WHOLE;
	if (mode == FX_SHUNT_COUNT && !(p->tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST))) {
		count(slot, skb, p);
		return 0;
	}
	kept = p->payload_offset ? p->payload_offset : captured;
	return (int)kept;
}

SEC("socket")
int tap_ethernet(struct __sk_buff *skb)
{
	return tap(skb, FX_LINKTYPE_ETHERNET);
}

SEC("socket")
int tap_raw(struct __sk_buff *skb)
{
	return tap(skb, FX_LINKTYPE_RAW);
}

char _license[] SEC("license") = "Dual BSD/GPL";
