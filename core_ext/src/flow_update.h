/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a packet changes in its flow. Inlined into the stream's loop.
 *
 * Columns other than plain counters tell of the first FX_FULL_PACKETS packets
 * of each direction. Later ones take the way of flow_late.c: they add to plain
 * counters, and of TCP's flags only SYN, FIN and RST are looked at.
 */
#ifndef FX_FLOW_UPDATE_H
#define FX_FLOW_UPDATE_H
#include "flow_state.h"
#include "flow_table.h"
#include "fx/decode.h"
#include "shunt.h"

enum {
	FX_LONG_GAP_NS = 1000000000, /* a longer gap ends an active period */
	FX_SIDE_PKTS_MAX = 1 << 30 /* late ones: a flow is cut before its counters can overflow */
};

/* First packet of a side, before it is counted. */
void fx_flow_first_of_side(struct fx_flow_table *t, fx_u32 slot, const struct fx_packet *p,
			   int side);
void fx_flow_long_gap(struct fx_flow_cold *c, fx_i64 last_ns, fx_i64 gap_ns);
/* First payload of a side: its entropy, now that it is in the cache; `frame` as captured. */
void fx_flow_first_payload(struct fx_side *s, struct fx_flow_cold *c, int side,
			   const struct fx_packet *p, const fx_u8 *frame);
/* SYN, FIN, RST, URG, ECE, CWR. */
void fx_flow_rare_flags(struct fx_flow *f, struct fx_flow_cold *c, int side,
			const struct fx_packet *p);
/* Of them, those that are counted in later packets too: SYN, FIN, RST. */
void fx_flow_count_flags(struct fx_side *s, fx_u32 flags);
void fx_flow_answer(struct fx_flow *f, struct fx_flow_cold *c, int side, fx_i64 time_ns);
void fx_sequence_add(struct fx_sequence *q, fx_u32 at, fx_u32 bytes, fx_i64 gap_ns, int side);

/* The packets of flows with a late side (flow_late.c). */
void fx_flow_count_late(struct fx_flow_table *t, fx_u32 slot, int side, const struct fx_packet *p,
			const fx_u8 *frame);
/* The side has sent FX_FULL_PACKETS packets. */
void fx_flow_become_late(struct fx_flow_table *t, fx_u32 slot, int side);
/* Marks the flow as one that saw a packet in this tick. */
void fx_flow_mark(struct fx_flow_table *t, fx_u32 slot);
/* Adds what the tap counted; `last_ns` as stamps are. */
void fx_flow_fold(struct fx_flow_table *t, fx_u32 slot, int side, const struct fx_shunt_counts *c,
		  fx_i64 last_ns);
/* Lets the packets of the flow into the ring again. */
void fx_flow_pass(struct fx_flow_table *t, fx_u32 slot);

FX_INLINE void fx_gaps_add(struct fx_gaps *g, fx_i64 gap_ns)
{
	fx_f32 gap = (fx_f32)gap_ns;

	fx_squares_add(&g->squares, (fx_u64)gap_ns);
	g->smallest_ns = gap < g->smallest_ns ? gap : g->smallest_ns;
	g->largest_ns = gap > g->largest_ns ? gap : g->largest_ns;
}

FX_INLINE void fx_flow_close(struct fx_flow *f, enum fx_flow_bits closing)
{
	fx_u32 others = f->bits & ~(fx_u32)(FX_FLOW_CLOSING_FIN | FX_FLOW_CLOSING_RST);

	f->bits = (fx_u8)(others | (fx_u32)closing);
}

/* Whether a payload of this side is the originator's first one or the first one after it. */
FX_INLINE int fx_flow_is_answer(const struct fx_flow *f, int side)
{
	fx_u32 bits = f->bits & (fx_u32)(FX_FLOW_WAITS | FX_FLOW_ANSWERED);

	return bits == (side == FX_ORIG ? 0 : FX_FLOW_WAITS);
}

/* Moves the endpoints on, and with them the flow to its end. */
FX_INLINE void fx_flow_step(struct fx_flow_table *t, fx_u32 slot, int side, fx_u32 flags,
			    fx_u32 payload)
{
	struct fx_flow *f = &t->flows[slot];
	int closing = f->bits & (FX_FLOW_CLOSING_FIN | FX_FLOW_CLOSING_RST);
	fx_u32 orig, resp;

	fx_tcp_state_step(f, side, flags, payload);
	orig = fx_tcp_state(f, FX_ORIG);
	resp = fx_tcp_state(f, FX_RESP);
	if (orig == FX_CLOSED && resp == FX_CLOSED) {
		if (closing != FX_FLOW_CLOSING_FIN)
			fx_flow_close(f, FX_FLOW_CLOSING_FIN);
	} else if (orig == FX_RESET || resp == FX_RESET) {
		if (closing != FX_FLOW_CLOSING_RST)
			fx_flow_close(f, FX_FLOW_CLOSING_RST);
	}
	if (fx_unlikely(fx_flow_has_late(f) && fx_flow_closing(f) != FX_OPEN))
		fx_flow_pass(t, slot);
}

FX_INLINE int fx_tcp_is_known(const struct fx_packet *p)
{
	return fx_likely(p->decode == FX_DECODE_OK) || p->decode == FX_DECODE_CUT_OPTIONS ||
	       p->decode == FX_DECODE_IP_LENGTH;
}

FX_INLINE void fx_flow_count_tcp(struct fx_flow_table *t, fx_u32 slot, struct fx_flow *f,
				 struct fx_side *s, int side, const struct fx_packet *p)
{
	fx_u32 flags = p->tcp_flags, window = p->tcp_window, payload = p->payload_bytes;
	fx_u32 bits = fx_history_bits(flags, payload), sequence_end;

	s->tcp_flags |= (fx_u8)flags;
	s->ack = (fx_u8)(s->ack + (flags >> 4 & 1));
	s->psh = (fx_u8)(s->psh + (flags >> 3 & 1));
	if (fx_unlikely(bits & ~((fx_u32)f->seen >> 8 * side)))
		fx_history_add(f, side, bits & ~((fx_u32)f->seen >> 8 * side));
	s->window_sum += window;
	s->window_min = window < s->window_min ? (fx_u16)window : s->window_min;
	s->window_max = window > s->window_max ? (fx_u16)window : s->window_max;
	if (fx_unlikely(window == 0))
		s->zero_windows = (fx_u8)(s->zero_windows + !(flags & FX_RST));

	sequence_end = p->tcp_seq + payload + (flags & FX_FIN) + (flags >> 1 & 1);
	s->retransmits =
		(fx_u8)(s->retransmits + (payload && (fx_i32)(p->tcp_seq - s->seq_end) < 0));
	s->seq_end = (fx_i32)(sequence_end - s->seq_end) > 0 ? sequence_end : s->seq_end;

	if (fx_unlikely(flags & ~(fx_u32)(FX_PSH | FX_ACK)))
		fx_flow_rare_flags(f, &t->cold[slot], side, p);
	if (fx_unlikely(flags & (FX_SYN | FX_FIN | FX_RST) || fx_tcp_state(f, side) == FX_INACTIVE))
		fx_flow_step(t, slot, side, flags, payload);
}

/* Counts one of the first packets of a side; the first ones of both sides go up
 * to `last_ns`. */
FX_INLINE void fx_flow_count_full(struct fx_flow_table *t, fx_u32 slot, int side,
				  const struct fx_packet *p, const fx_u8 *frame, fx_i64 last_ns)
{
	struct fx_flow *f = &t->flows[slot];
	struct fx_side *s = &f->side[side];
	fx_u32 size = p->ip_bytes, payload = p->payload_bytes;
	fx_i64 gap_ns = p->time_ns - last_ns, side_gap_ns;

	gap_ns = gap_ns < 0 ? 0 : gap_ns;
	if (fx_unlikely(t->sequences && f->side[0].pkts + f->side[1].pkts < FX_SEQUENCE_PACKETS))
		fx_sequence_add(&t->sequences[slot], f->side[0].pkts + f->side[1].pkts, size,
				gap_ns, side);
	if (fx_unlikely(s->pkts == 0)) {
		fx_flow_first_of_side(t, slot, p, side);
		if (f->side[!side].pkts)
			fx_gaps_add(&f->gaps, gap_ns);
		f->last_ns[side] = p->time_ns;
	} else {
		side_gap_ns = p->time_ns - f->last_ns[side];
		side_gap_ns = side_gap_ns < 0 ? 0 : side_gap_ns;
		f->last_ns[side] += side_gap_ns;
		fx_gaps_add(&s->gaps, side_gap_ns);
		fx_gaps_add(&f->gaps, gap_ns);
	}
	if (fx_unlikely(gap_ns > FX_LONG_GAP_NS))
		fx_flow_long_gap(&t->cold[slot], last_ns, gap_ns);

	s->pkts++;
	s->bytes += size;
	s->size_squares += (fx_u64)size * size;
	size = size > 0xffff ? 0xffff : size;
	s->size_min = size < s->size_min ? (fx_u16)size : s->size_min;
	s->size_max = size > s->size_max ? (fx_u16)size : s->size_max;
	s->ttl_min = p->ttl < s->ttl_min ? p->ttl : s->ttl_min;
	s->ttl_max = p->ttl > s->ttl_max ? p->ttl : s->ttl_max;
	s->fragments = (fx_u8)(s->fragments + (p->fragment != 0));
	if (payload) {
		if (fx_unlikely(s->data_pkts == 0 && t->wants_entropy))
			fx_flow_first_payload(s, &t->cold[slot], side, p, frame);
		if (fx_unlikely(fx_flow_is_answer(f, side)))
			fx_flow_answer(f, &t->cold[slot], side, p->time_ns);
		s->data_pkts++;
		s->payload_bytes += payload;
		s->payload_squares += (fx_u64)payload * payload;
		payload = payload > 0xffff ? 0xffff : payload;
		s->payload_max = payload > s->payload_max ? (fx_u16)payload : s->payload_max;
	}
	if (fx_likely(p->proto == FX_PROTO_TCP)) {
		if (fx_likely(p->fragment != 2 && fx_tcp_is_known(p)))
			fx_flow_count_tcp(t, slot, f, s, side, p);
	} else if (fx_unlikely(payload && !(f->seen >> 8 * side & FX_SAW_DATA))) {
		fx_history_add(f, side, FX_SAW_DATA);
	}
	if (fx_unlikely(s->pkts == FX_FULL_PACKETS))
		fx_flow_become_late(t, slot, side);
}

/* Counts a packet, whose frame lies at `frame`, into its flow. */
FX_INLINE void fx_flow_count(struct fx_flow_table *t, fx_u32 slot, int side,
			     const struct fx_packet *p, const fx_u8 *frame)
{
	struct fx_flow *f = &t->flows[slot];
	fx_i64 last_ns = fx_flow_last_ns(f);

	if (fx_unlikely(fx_flow_has_late(f))) {
		fx_flow_count_late(t, slot, side, p, frame);
		return;
	}
	if (t->dirty && !(f->bits & FX_FLOW_DIRTY)) {
		f->bits |= FX_FLOW_DIRTY;
		t->dirty[t->dirty_count++] = slot;
		for (int i = 0; i < 2; i++) {
			f->base_pkts[i] = f->side[i].pkts;
			f->base_bytes[i] = f->side[i].bytes;
		}
	}
	fx_flow_count_full(t, slot, side, p, frame, last_ns);
	fx_deadline_put(t, slot, f, p->time_ns > last_ns ? p->time_ns : last_ns);
}

#endif
