/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets beyond the first FX_FULL_PACKETS of their direction: into plain counters, by packets that were seen or by what
 * the tap counted. Most flows never come here; those that do bring most packets.
 */
#include <string.h>

#include "flow_update.h"

enum {
	FX_SHUNT_AGAIN = 64 /* late packets after which a side asks the tap again */
};

void fx_flow_mark(struct fx_flow_table *t, fx_u32 slot)
{
	struct fx_flow *f = &t->flows[slot];

	if (!t->dirty || f->bits & FX_FLOW_DIRTY)
		return;
	f->bits |= FX_FLOW_DIRTY;
	t->dirty[t->dirty_count++] = slot;
	for (int i = 0; i < 2; i++) {
		f->base_pkts[i] = fx_side_pkts(&f->side[i]);
		f->base_bytes[i] = fx_side_bytes(&f->side[i]);
	}
}

/* Asks the tap to count the side's packets. ICMP stays: its messages become rows. */
static void shunt(struct fx_flow_table *t, fx_u32 slot, int side)
{
	struct fx_flow *f = &t->flows[slot];
	struct fx_side *s = &f->side[side];
	struct fx_shunt_key key = { .src = f->addr[side], .dst = f->addr[!side], .tail = f->tail };
	fx_u8 proto = fx_flow_proto(f);

	if (!t->shunt || s->shunt_plus_1 || f->is_outside || fx_flow_closing(f) != FX_OPEN ||
	    proto == FX_PROTO_ICMP || proto == FX_PROTO_ICMP6)
		return;
	if (side == FX_RESP)
		key.tail = (f->tail & ~0xffffffffull) | (f->tail & 0xffff) << 16 |
			   (f->tail >> 16 & 0xffff);
	s->shunt_plus_1 = fx_shunt_add(t->shunt, &key, slot << 1 | (fx_u32)side) + 1;
}

void fx_flow_become_late(struct fx_flow_table *t, fx_u32 slot, int side)
{
	struct fx_flow *f = &t->flows[slot];

	f->side[side].full_last_ns = f->last_ns[side];
	f->side[side].shunt_plus_1 = 0;
	f->seen |= (fx_u16)(FX_SIDE_LATE << 8 * side);
	shunt(t, slot, side);
}

/* Of TCP's flags those that the tap lets pass. */
static void take_flags(struct fx_flow_table *t, fx_u32 slot, int side, fx_u32 flags)
{
	struct fx_flow *f = &t->flows[slot];
	fx_u32 bits = fx_history_bits(flags, 0) & ~(fx_u32)(FX_SAW_ACK | FX_SAW_DATA);

	f->side[side].tcp_flags |= (fx_u8)(flags & (FX_SYN | FX_FIN | FX_RST));
	fx_flow_count_flags(&f->side[side], flags);
	fx_history_add(f, side, bits & ~((fx_u32)f->seen >> 8 * side));
	fx_flow_step(t, slot, side, flags, 0);
}

static void count_more(struct fx_flow_table *t, fx_u32 slot, int side, const struct fx_packet *p)
{
	struct fx_side *s = &t->flows[slot].side[side];
	fx_u32 before = s->more_pkts, segments = p->wire_segments,
	       header = p->ip_bytes - p->payload_bytes;

	s->more_pkts += segments;
	s->more_bytes += p->ip_bytes + (fx_u64)(segments - 1) * header;
	if (p->payload_bytes) {
		s->more_data_pkts += segments;
		s->more_payload_bytes += p->payload_bytes;
	}
	if (p->proto == FX_PROTO_TCP && p->tcp_flags & (FX_SYN | FX_FIN | FX_RST) &&
	    p->fragment != 2 && fx_tcp_is_known(p))
		take_flags(t, slot, side, p->tcp_flags);
	if (fx_unlikely(t->shunt && before / FX_SHUNT_AGAIN != s->more_pkts / FX_SHUNT_AGAIN))
		shunt(t, slot, side);
}

void fx_flow_count_late(struct fx_flow_table *t, fx_u32 slot, int side, const struct fx_packet *p,
			const fx_u8 *frame)
{
	struct fx_flow *f = &t->flows[slot];
	fx_i64 last_ns = fx_flow_last_ns(f);

	fx_flow_mark(t, slot);
	if (fx_flow_is_late(f, side)) {
		count_more(t, slot, side, p);
		f->last_ns[side] = p->time_ns > f->last_ns[side] ? p->time_ns : f->last_ns[side];
	} else {
		fx_flow_count_full(t, slot, side, p, frame, fx_flow_full_last_ns(f));
	}
	fx_deadline_put(t, slot, f, p->time_ns > last_ns ? p->time_ns : last_ns);
}

void fx_flow_fold(struct fx_flow_table *t, fx_u32 slot, int side, const struct fx_shunt_counts *c,
		  fx_i64 last_ns)
{
	struct fx_flow *f = &t->flows[slot];
	struct fx_side *s = &f->side[side];

	fx_flow_mark(t, slot);
	s->more_pkts += c->pkts;
	s->more_bytes += c->bytes;
	s->more_data_pkts += c->data_pkts;
	s->more_payload_bytes += c->payload_bytes;
	if (last_ns > f->last_ns[side])
		f->last_ns[side] = last_ns;
	fx_deadline_put(t, slot, f, fx_flow_last_ns(f));
}

void fx_flow_pass(struct fx_flow_table *t, fx_u32 slot)
{
	for (int side = 0; t->shunt && side < 2; side++) {
		const struct fx_side *s = &t->flows[slot].side[side];

		if (fx_flow_is_late(&t->flows[slot], side) && s->shunt_plus_1)
			fx_shunt_pass(t->shunt, s->shunt_plus_1 - 1);
	}
}
