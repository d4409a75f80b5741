/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A source held to its rates: what kind of frame it is, and the token bucket of that kind. A bucket
 * holds some seconds' worth and is kept as one time, when it is full again (the generic cell rate
 * algorithm, ITU-T I.371), so that processors share it without a lock. An entry for a prefix has one
 * bucket for all of it: who attacks from IPv6 owns a /64.
 */
#ifndef LIMIT_BPF_H
#define LIMIT_BPF_H
#include <bpf/bpf_helpers.h>

#include "fx/gate.h"
#include "fx/parse_link.h"
#include "fx/parse_network.h"

enum {
	LIMIT_TRIES = 4, /* against other processors; who loses them all is in a flood: refused */
	LIMIT_WIRE = 0x20000, /* longer than frames are: what was captured is all there is */
	LIMIT_FLAGS = 13, /* where in a TCP header */
	LIMIT_FLAG_SYN = 0x02,
	LIMIT_FLAG_ACK = 0x10
};

/* How much of its rate a source may send at once: a second's worth or more. */
const volatile __u64 limit_burst_ns = FX_GATE_SECOND_NS;

static __always_inline int limit_kind_of(struct fx_cursor *c, const struct fx_packet *packet)
{
	switch (packet->proto) {
	case FX_PROTO_UDP:
		return FX_GATE_UDP;
	case FX_PROTO_ICMP:
	case FX_PROTO_ICMP6:
		return FX_GATE_ICMP;
	case FX_PROTO_TCP:
		if (packet->fragment == 2)
			return FX_GATE_OTHER;
		if (!fx_has(c->at, LIMIT_FLAGS + 1, c->end))
			return FX_GATE_SYN;
		return (c->at[LIMIT_FLAGS] & (LIMIT_FLAG_SYN | LIMIT_FLAG_ACK)) == LIMIT_FLAG_SYN ?
			       FX_GATE_SYN :
			       FX_GATE_OTHER;
	default:
		return FX_GATE_OTHER;
	}
}

/* The kind of a frame; headers that hide what they carry count as TCP that opens. */
__noinline int limit_kind(struct xdp_md *context)
{
	const fx_u8 *bytes = (void *)(long)context->data;
	struct fx_cursor c = { bytes, (void *)(long)context->data_end, LIMIT_WIRE };
	struct fx_packet packet = { 0 };

	if (fx_parse_ethernet(&c, &packet))
		return FX_GATE_OTHER;
	c.wire = LIMIT_WIRE;
	fx_settle(&c, bytes);
	if (packet.ethertype == FX_ETHERTYPE_IP4) {
		if (fx_parse_ip4(&c, &packet))
			return FX_GATE_SYN;
	} else if (packet.ethertype == FX_ETHERTYPE_IP6) {
		if (fx_parse_ip6(&c, &packet) || fx_skip_extensions(&c, bytes, &packet))
			return FX_GATE_SYN;
	}
	fx_settle(&c, bytes);
	return limit_kind_of(&c, &packet);
}

/* Takes one token of a kind out of an entry's bucket: whether there was one. */
static __always_inline int limit_spend(struct fx_gate_value *value, __u32 kind, __u64 now_ns)
{
	__u64 interval_ns, due_ns, from_ns;

	asm volatile("" : "+r"(kind)); /* the compiler knows its range, the verifier does not */
	kind &= FX_GATE_KINDS - 1;
	interval_ns = value->interval_ns[kind];
	if (!interval_ns)
		return 1;
	if (interval_ns > FX_GATE_SECOND_NS)
		return 0;
	for (int attempt = 0; attempt < LIMIT_TRIES; attempt++) {
		due_ns = *(volatile __u64 *)&value->due_ns[kind];
		from_ns = due_ns > now_ns ? due_ns : now_ns;
		if (from_ns - now_ns > limit_burst_ns - interval_ns)
			return 0;
		if (__sync_val_compare_and_swap(&value->due_ns[kind], due_ns,
						from_ns + interval_ns) == due_ns)
			return 1;
	}
	return 0;
}

#endif
