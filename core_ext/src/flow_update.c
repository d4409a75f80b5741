/* SPDX-License-Identifier: Apache-2.0 */
/* What few packets change in their flow: first of a side, first payload, rare flags, long gaps. */
#include "flow_update.h"

#include <math.h>
#include <string.h>

enum { FX_ENTROPY_BYTES = 64, FX_SEQUENCE_SIZE_MAX = 32767 };

void fx_flow_first_of_side(struct fx_flow_table *t, fx_u32 slot, const struct fx_packet *p,
			   int side)
{
	struct fx_flow *f = &t->flows[slot];
	struct fx_flow_cold *c = &t->cold[slot];
	struct fx_side *s = &f->side[side];

	if (f->side[!side].pkts)
		c->second_first_ns = p->time_ns;
	else
		f->bits |= FX_FLOW_BEGUN_IN_TICK;
	for (int i = 0; i < 3; i++)
		c->mac[side][i] = (fx_u16)(p->src_mac >> 16 * i);
	s->tos = p->tos;
	s->window_first = p->tcp_window;
	s->seq_end = p->tcp_seq;
}

void fx_flow_long_gap(struct fx_flow_cold *c, fx_i64 last_ns, fx_i64 gap_ns)
{
	fx_i64 active_ns = last_ns - c->active_since_ns;
	fx_f32 gap = (fx_f32)gap_ns, active = (fx_f32)active_ns;

	c->idle_count++;
	c->idle_sum_ns += gap_ns;
	fx_squares_add(&c->idle_squares, (fx_u64)gap_ns);
	c->idle_min_ns = gap < c->idle_min_ns ? gap : c->idle_min_ns;
	fx_squares_add(&c->active_squares, (fx_u64)active_ns);
	c->active_min_ns = active < c->active_min_ns ? active : c->active_min_ns;
	c->active_max_ns = active > c->active_max_ns ? active : c->active_max_ns;
	c->active_since_ns = last_ns + gap_ns;
}

/* In units of 2^-40 bits: log2 c, and how much c log2 c grows with the c-th of equal octets. */
static const double entropy_unit = 0x1p40;
static fx_u64 entropy_logs[FX_ENTROPY_BYTES + 1], entropy_steps[FX_ENTROPY_BYTES + 1];

__attribute__((constructor)) static void make_entropy_tables(void)
{
	for (int c = 2; c <= FX_ENTROPY_BYTES; c++) {
		double step = c * log2(c) - (c - 1) * log2(c - 1);

		entropy_logs[c] = (fx_u64)(log2(c) * entropy_unit + 0.5);
		entropy_steps[c] = (fx_u64)(step * entropy_unit + 0.5);
	}
}

/* Shannon entropy of up to 64 octets in bits per octet: log2(n) - sum(c * log2(c)) / n over the counts c. */
static fx_f32 entropy(const fx_u8 *octets, fx_u32 count)
{
	fx_u8 seen[256];
	fx_u64 sum = 0;
	double bits;

	fx_clear_lines(seen, (int)(sizeof(seen) / 64));
#pragma GCC unroll 8
	for (fx_u32 i = 0; i < count; i++)
		sum += entropy_steps[++seen[octets[i]]];
	bits = (double)entropy_logs[count] - (double)sum / count;
	return bits > 0 ? (fx_f32)(bits / entropy_unit) : 0;
}

void fx_flow_first_payload(struct fx_side *s, struct fx_flow_cold *c, int side,
			   const struct fx_packet *p, const fx_u8 *frame)
{
	fx_u32 count;

	if (p->payload_offset == 0)
		return;
	count = p->captured_bytes - p->payload_offset;
	count = count > p->payload_bytes ? p->payload_bytes : count;
	count = count > FX_ENTROPY_BYTES ? FX_ENTROPY_BYTES : count;
	s->entropy = entropy(frame + p->payload_offset, count);
	c->entropy_bytes[side] = (fx_u8)count;
}

static void count_capped(fx_u16 *counter, int is_set)
{
	*counter = (fx_u16)(*counter + (is_set && *counter != 0xffff));
}

static void count_first(fx_u8 *counter, int is_set)
{
	*counter = (fx_u8)(*counter + !!is_set);
}

void fx_flow_count_flags(struct fx_side *s, fx_u32 flags)
{
	count_capped(&s->fin, flags & FX_FIN);
	count_capped(&s->syn, flags & FX_SYN);
	count_capped(&s->rst, flags & FX_RST);
}

void fx_flow_rare_flags(struct fx_flow *f, struct fx_flow_cold *c, int side,
			const struct fx_packet *p)
{
	struct fx_side *s = &f->side[side], *peer = &f->side[!side];
	fx_u32 flags = p->tcp_flags;

	fx_flow_count_flags(s, flags);
	count_first(&s->urg, flags & FX_URG);
	count_first(&s->ece, flags & FX_ECE);
	count_first(&s->cwr, flags & FX_CWR);
	if (!(flags & FX_SYN))
		return;
	s->mss = p->tcp_mss ? p->tcp_mss : s->mss;
	s->wscale = p->tcp_wscale != 255 ? p->tcp_wscale : s->wscale;
	s->tcp_options |= p->tcp_options;
	/* Until it is answered the originator sends nothing but SYN, so its last packet is its last SYN. */
	if (side == FX_RESP && flags & FX_ACK && isnan(c->handshake_ns) && peer->pkts &&
	    peer->syn == peer->pkts && !fx_flow_is_late(f, FX_ORIG) &&
	    f->last_ns[FX_ORIG] <= f->last_ns[FX_RESP])
		c->handshake_ns = (fx_f32)(f->last_ns[FX_RESP] - f->last_ns[FX_ORIG]);
}

void fx_flow_answer(struct fx_flow *f, struct fx_flow_cold *c, int side, fx_i64 time_ns)
{
	if (side == FX_ORIG) {
		f->bits |= FX_FLOW_WAITS;
		c->response_ns = time_ns;
	} else {
		f->bits |= FX_FLOW_ANSWERED;
		c->response_ns = time_ns > c->response_ns ? time_ns - c->response_ns : 0;
	}
}

void fx_sequence_add(struct fx_sequence *q, fx_u32 at, fx_u32 bytes, fx_i64 gap_ns, int side)
{
	fx_i64 gap_us = gap_ns / 1000;
	int size = bytes > FX_SEQUENCE_SIZE_MAX ? FX_SEQUENCE_SIZE_MAX : (int)bytes;

	q->sizes.values[at] = (int16_t)(side == FX_RESP ? -size : size);
	q->gaps_us.values[at] = gap_us > 0xffffffffll ? 0xffffffffu : (fx_u32)gap_us;
}
