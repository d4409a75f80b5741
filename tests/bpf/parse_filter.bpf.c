/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The parser where packet memory may not be touched, as in socket filters: headers are copied into a
 * map's scratch, large enough for every offset that fx_settle() admits. Built for SECTION "socket",
 * and "tc", whose test runs begin at the link header.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fx/parse.h"

enum { HEADERS = 4096 };

struct scratch {
	__u8 octets[2 * (FX_OFFSET_MASK + 1) + 1024];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} headers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fx_packet);
} parsed SEC(".maps");

SEC(SECTION)
int parse_filter(struct __sk_buff *skb)
{
	__u32 key = 0, captured = skb->len, last;
	struct fx_packet *packet = bpf_map_lookup_elem(&parsed, &key);
	struct scratch *copy = bpf_map_lookup_elem(&headers, &key);

	if (!packet || !copy)
		return 0;
	if (captured > HEADERS)
		captured = HEADERS;
	/* Linux 6.1 must be shown that the size is not 0: the last octet's place is kept apart from it. */
	last = captured - 1;
	asm volatile("" : "+r"(last));
	if (last >= HEADERS)
		return 0;
	captured = last + 1;
	if (bpf_skb_load_bytes(skb, 0, copy->octets, captured) < 0)
		return 0;
	fx_parse_frame(copy->octets, copy->octets + captured, skb->len, FX_LINKTYPE_ETHERNET,
		       packet);
	return (int)captured;
}

char _license[] SEC("license") = "Dual BSD/GPL";
