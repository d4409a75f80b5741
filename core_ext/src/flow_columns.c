/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the columns of flow_columns.def are computed from: one expression a column, and a loop a column over a chunk of
 * records. A row in the table without an expression here does not compile.
 */
#include "flow_columns.h"

#include <math.h>
#include <string.h>

#include "flow_state.h"

struct fx_row {
	const struct fx_flow *f;
	const struct fx_flow_cold *c;
	const struct fx_sequence *q;
	fx_i64 last_ns; /* of all packets, and of the first ones: many columns ask for them */
	fx_i64 full_last_ns;
	const fx_s32 *community_id; /* if it was chosen */
};

typedef unsigned __int128 fx_u128;

static inline fx_u128 squares_of(const struct fx_squares *s)
{
	return (fx_u128)s->high << 64 | s->low;
}

/* Of the first packets, as all that is not said to be in total. */
static inline fx_u64 pkts_of(const struct fx_flow *f)
{
	return (fx_u64)f->side[0].pkts + f->side[1].pkts;
}

/* Plain counters are of all packets. */
static inline fx_u64 all_pkts(const struct fx_flow *f)
{
	return (fx_u64)fx_side_pkts(&f->side[0]) + fx_side_pkts(&f->side[1]);
}

static inline fx_u64 all_bytes(const struct fx_flow *f)
{
	return fx_side_bytes(&f->side[0]) + fx_side_bytes(&f->side[1]);
}

/* Counts are below 2^63, and of signed numbers a double is made in one instruction. */
static inline fx_f32 ratio(fx_u64 a, fx_u64 b)
{
	return (fx_i64)b > 0 ? (fx_f32)((double)(fx_i64)a / (double)(fx_i64)b) : NAN;
}

/* Population standard deviation, from exact integers: sqrt(n * sum(x^2) - sum(x)^2) / n. */
static inline fx_f32 deviation(fx_u64 n, fx_u64 sum, fx_u128 squares)
{
	fx_u128 spread;

	if (n < 2)
		return n ? 0 : NAN;
	spread = n * squares - (fx_u128)sum * sum;
	return (fx_f32)(sqrt(spread >> 63 ? (double)spread : (double)(fx_i64)spread) /
			(double)(fx_i64)n);
}

static inline fx_u64 side_span(const struct fx_row *r, int side)
{
	return (fx_u64)(fx_side_full_last_ns(r->f, side) - fx_flow_side_first_ns(r->f, r->c, side));
}

static inline fx_u64 side_gaps(const struct fx_flow *f, int side)
{
	return f->side[side].pkts ? f->side[side].pkts - 1 : 0;
}

static inline fx_i64 duration_of(const struct fx_row *r)
{
	return r->last_ns - r->f->first_ns;
}

/* From the first packet to the last one of the first packets of a side. */
static inline fx_i64 full_span(const struct fx_row *r)
{
	return r->full_last_ns - r->f->first_ns;
}

static inline fx_f32 per_second(fx_u64 count, const struct fx_row *r)
{
	fx_i64 duration = duration_of(r);

	return duration > 0 ? (fx_f32)((double)(fx_i64)count * FX_SECOND_NS / (double)duration) :
			      NAN;
}

static inline fx_i64 active_now(const struct fx_row *r)
{
	return r->full_last_ns - r->c->active_since_ns;
}

static inline fx_u64 active_sum(const struct fx_row *r)
{
	return (fx_u64)(full_span(r) - r->c->idle_sum_ns);
}

static inline fx_u64 mac_of(const fx_u16 *words)
{
	return words[0] | (fx_u64)words[1] << 16 | (fx_u64)words[2] << 32;
}

static inline int has_ports(const struct fx_flow *f)
{
	return fx_flow_proto(f) != FX_PROTO_ICMP && fx_flow_proto(f) != FX_PROTO_ICMP6;
}

static inline fx_s16 history_of(const struct fx_flow *f)
{
	fx_s16 text;

	fx_flow_history(f, &text);
	return text;
}

static inline fx_u8 sequence_length(const struct fx_row *r)
{
	fx_u64 pkts = pkts_of(r->f);

	return r->q ? (fx_u8)(pkts < FX_SEQUENCE_PACKETS ? pkts : FX_SEQUENCE_PACKETS) : 0;
}

/* One column: its type, name and value, from the row (r), its record (f) and the cold part of it (c). */
#define VALUE(type, name, expression)                                        \
	static inline fx_##type get_##name(const struct fx_row *r)           \
	{                                                                    \
		const struct fx_flow *f __attribute__((unused)) = r->f;      \
		const struct fx_flow_cold *c __attribute__((unused)) = r->c; \
		return (expression);                                         \
	}
/* The same for the originator and the responder: s is the side, number it has. */
#define SIDES(type, name, expression)                         \
	VALUE_OF_SIDE(type, orig_##name, expression, FX_ORIG) \
	VALUE_OF_SIDE(type, resp_##name, expression, FX_RESP)
#define VALUE_OF_SIDE(type, name, expression, which)                                   \
	static inline fx_##type get_##name(const struct fx_row *r)                     \
	{                                                                              \
		enum { number = which };                                               \
		const struct fx_side *s __attribute__((unused)) = &r->f->side[number]; \
		const struct fx_flow_cold *c __attribute__((unused)) = r->c;           \
		return (expression);                                                   \
	}

VALUE(u64, flow_id, c->flow_id)
VALUE(i64, first_ns, f->first_ns)
VALUE(i64, last_ns, r->last_ns)
VALUE(i64, duration_ns, duration_of(r))
VALUE(addr, orig_addr, f->addr[FX_ORIG])
VALUE(addr, resp_addr, f->addr[FX_RESP])
SIDES(u64, mac, mac_of(c->mac[number]))
VALUE(u16, orig_port, (fx_u16)f->tail)
VALUE(u16, resp_port, has_ports(f) ? (fx_u16)(f->tail >> 16) : f->side[FX_ORIG].icmp_code)
VALUE(u16, vlan_id, c->vlan_id)
VALUE(u16, iface, c->iface)
VALUE(u8, proto, fx_flow_proto(f))
VALUE(u8, ip_version, fx_flow_ip_version(f))
VALUE(u8, tunnel, c->tunnel)
VALUE(u8, end_reason, c->end_reason)
VALUE(u8, conn_state, fx_flow_conn_state(f))
VALUE(u8, midstream, !!(f->bits & FX_FLOW_MIDSTREAM))
VALUE(s16, history, history_of(f))
VALUE(s32, community_id, *r->community_id)

SIDES(u64, pkts, fx_side_pkts(s))
SIDES(u64, bytes, fx_side_bytes(s))
SIDES(u64, payload_bytes, fx_side_payload_bytes(s))
SIDES(u64, header_bytes, fx_side_bytes(s) - fx_side_payload_bytes(s))
SIDES(u32, data_pkts, s->data_pkts + s->more_data_pkts)
SIDES(u32, fragments, s->fragments)

SIDES(u32, size_min, s->pkts ? s->size_min : 0)
SIDES(u32, size_max, s->size_max)
SIDES(f32, size_mean, ratio(s->bytes, s->pkts))
SIDES(f32, size_std, deviation(s->pkts, s->bytes, s->size_squares))
VALUE(u32, size_min,
      f->side[0].size_min < f->side[1].size_min ? f->side[0].size_min : f->side[1].size_min)
VALUE(u32, size_max,
      f->side[0].size_max > f->side[1].size_max ? f->side[0].size_max : f->side[1].size_max)
VALUE(f32, size_mean, ratio(f->side[0].bytes + f->side[1].bytes, pkts_of(f)))
VALUE(f32, size_std,
      deviation(pkts_of(f), f->side[0].bytes + f->side[1].bytes,
		(fx_u128)f->side[0].size_squares + f->side[1].size_squares))
SIDES(u32, payload_max, s->payload_max)
SIDES(f32, payload_mean, ratio(s->payload_bytes, s->data_pkts))
SIDES(f32, payload_std, deviation(s->data_pkts, s->payload_bytes, s->payload_squares))

VALUE(f32, iat_min_ns, pkts_of(f) > 1 ? f->gaps.smallest_ns : NAN)
VALUE(f32, iat_max_ns, pkts_of(f) > 1 ? f->gaps.largest_ns : NAN)
VALUE(f32, iat_mean_ns, ratio((fx_u64)full_span(r), pkts_of(f) - 1))
VALUE(f32, iat_std_ns,
      deviation(pkts_of(f) - 1, (fx_u64)full_span(r), squares_of(&f->gaps.squares)))
SIDES(f32, iat_min_ns, s->pkts > 1 ? s->gaps.smallest_ns : NAN)
SIDES(f32, iat_max_ns, s->pkts > 1 ? s->gaps.largest_ns : NAN)
SIDES(f32, iat_mean_ns, ratio(side_span(r, number), side_gaps(r->f, number)))
SIDES(f32, iat_std_ns,
      deviation(side_gaps(r->f, number), side_span(r, number), squares_of(&s->gaps.squares)))

SIDES(u32, syn, s->syn)
SIDES(u32, fin, s->fin)
SIDES(u32, rst, s->rst)
SIDES(u32, psh, s->psh)
SIDES(u32, ack, s->ack)
SIDES(u32, urg, s->urg)
SIDES(u32, ece, s->ece)
SIDES(u32, cwr, s->cwr)
SIDES(u8, tcp_flags, s->tcp_flags)

SIDES(u16, window_first, s->window_first)
SIDES(u16, window_min, s->window_min > s->window_max ? 0 : s->window_min)
SIDES(u16, window_max, s->window_max)
SIDES(f32, window_mean, s->window_min > s->window_max ? NAN : ratio(s->window_sum, s->pkts))
SIDES(u32, zero_windows, s->zero_windows)
SIDES(u16, mss, s->mss)
SIDES(u8, wscale, has_ports(r->f) ? s->wscale : 255)
SIDES(u8, tcp_options, s->tcp_options)
SIDES(u32, retransmits, s->retransmits)
VALUE(f32, handshake_ns, c->handshake_ns)
VALUE(f32, response_ns, f->bits &FX_FLOW_ANSWERED ? (fx_f32)c->response_ns : NAN)

SIDES(u8, ttl_min, s->ttl_min > s->ttl_max ? 0 : s->ttl_min)
SIDES(u8, ttl_max, s->ttl_max)
SIDES(u8, tos, s->tos)

VALUE(f32, pkts_per_s, per_second(all_pkts(f), r))
VALUE(f32, bytes_per_s, per_second(all_bytes(f), r))
SIDES(f32, pkts_per_s, per_second(fx_side_pkts(s), r))
SIDES(f32, bytes_per_s, per_second(fx_side_bytes(s), r))
VALUE(f32, resp_orig_pkts_ratio,
      ratio(fx_side_pkts(&f->side[FX_RESP]), fx_side_pkts(&f->side[FX_ORIG])))
VALUE(f32, resp_orig_bytes_ratio,
      ratio(fx_side_bytes(&f->side[FX_RESP]), fx_side_bytes(&f->side[FX_ORIG])))

VALUE(u32, active_count, c->idle_count + 1)
VALUE(f32, active_mean_ns, ratio(active_sum(r), (fx_u64)c->idle_count + 1))
VALUE(f32, active_std_ns,
      deviation((fx_u64)c->idle_count + 1, active_sum(r),
		squares_of(&c->active_squares) + (fx_u128)active_now(r) * (fx_u128)active_now(r)))
VALUE(f32, active_min_ns, fminf(c->active_min_ns, (fx_f32)active_now(r)))
VALUE(f32, active_max_ns, fmaxf(c->active_max_ns, (fx_f32)active_now(r)))
VALUE(u32, idle_count, c->idle_count)
VALUE(f32, idle_mean_ns, ratio((fx_u64)c->idle_sum_ns, c->idle_count))
VALUE(f32, idle_std_ns,
      deviation(c->idle_count, (fx_u64)c->idle_sum_ns, squares_of(&c->idle_squares)))
VALUE(f32, idle_min_ns, c->idle_count ? c->idle_min_ns : NAN)
VALUE(f32, idle_max_ns, c->idle_count ? f->gaps.largest_ns : NAN)

SIDES(f32, entropy, s->entropy)
SIDES(u8, entropy_bytes, c->entropy_bytes[number])
VALUE(u8, sequence_length, sequence_length(r))

/* Of a sequence only the packets there were: the rest of a reused slot is another flow's. */
static inline fx_i16x32 get_sequence_size(const struct fx_row *r)
{
	fx_i16x32 out = { { 0 } };

	if (r->q)
		memcpy(out.values, r->q->sizes.values, sequence_length(r) * sizeof(*out.values));
	return out;
}

static inline fx_u32x32 get_sequence_gap_us(const struct fx_row *r)
{
	fx_u32x32 out = { { 0 } };

	if (r->q)
		memcpy(out.values, r->q->gaps_us.values, sequence_length(r) * sizeof(*out.values));
	return out;
}

#define FX_COLUMN(type, name, unit, meaning)                                              \
	static void put_##name(const struct fx_row *rows, fx_u32 count, void *column)     \
	{                                                                                 \
		fx_##type *out = column;                                                  \
		_Pragma("GCC unroll 2") /* more, and their code falls out of the cache */ \
			for (fx_u32 i = 0; i < count; i++) out[i] = get_##name(&rows[i]); \
	}
#include "fx/flow_columns.def"
#undef FX_COLUMN

struct fx_flow_column {
	void (*put)(const struct fx_row *rows, fx_u32 count, void *column);
	fx_u32 size;
};

#define FX_COLUMN(type, name, unit, meaning) { put_##name, sizeof(fx_##type) },
static const struct fx_flow_column flow_columns[] = {
#include "fx/flow_columns.def"
};
#undef FX_COLUMN

void fx_flow_rows_put(fx_batch *batch, const struct fx_flow_table *t, const fx_u32 *slots,
		      fx_u32 count)
{
	struct fx_batch_table *table = &batch->tables[FX_FLOWS];
	struct fx_row rows[FX_CHUNK_ROWS];
	fx_s32 community_ids[FX_CHUNK_ROWS];

	if (table->columns[FX_FLOW_COLUMN_community_id])
		fx_community_ids(t, slots, count, community_ids);
	for (fx_u32 i = 0; i < count; i++) {
		const struct fx_flow *f = &t->flows[slots[i]];

		rows[i] = (struct fx_row){ f,
					   &t->cold[slots[i]],
					   t->sequences ? &t->sequences[slots[i]] : NULL,
					   fx_flow_last_ns(f),
					   fx_flow_full_last_ns(f),
					   &community_ids[i] };
	}
	for (int i = 0; i < table->column_count; i++) {
		if (table->columns[i])
			flow_columns[i].put(rows, count,
					    (fx_u8 *)table->columns[i] +
						    (size_t)table->rows * flow_columns[i].size);
	}
	table->rows += count;
}
