/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream hands out: rows of packets, of ended flows and of ticks, as far as the batch has room. */
#include "packet_rows.h"
#include "stream.h"

void fx_stream_put_packets(struct fx_stream *s, fx_batch *b)
{
	if (s->row_count)
		fx_packet_rows_put(b, s->packets, s->rows, s->row_count);
	s->row_count = 0;
}

void fx_stream_put_ended(struct fx_stream *s, fx_batch *b)
{
	if (s->ended_count)
		fx_flow_rows_put(b, &s->table, s->ended, s->ended_count);
	s->ended_count = s->unread = 0;
}

void fx_stream_end_flow(struct fx_stream *s, fx_batch *b, fx_u32 slot, enum fx_end_reason reason)
{
	if (fx_unlikely(s->table.shunt && fx_flow_has_late(&s->table.flows[slot])))
		fx_stream_unshunt(s, slot);
	s->unread += !(s->table.flows[slot].bits & FX_FLOW_DIRTY);
	fx_flow_end(&s->table, slot, reason);
	s->ended[s->ended_count++] = slot;
	if (s->ended_count == FX_CHUNK_ROWS)
		fx_stream_put_ended(s, b);
}

enum fx_step fx_stream_put_intervals(struct fx_stream *s, fx_batch *b)
{
	struct fx_flow_table *t = &s->table;

	fx_stream_put_ended(s, b);
	while (s->dirty_at < t->dirty_count) {
		const fx_u32 *slots = t->dirty + s->dirty_at;
		fx_u32 count = t->dirty_count - s->dirty_at, room = fx_batch_room(b, FX_INTERVALS);

		count = count > FX_CHUNK_ROWS ? FX_CHUNK_ROWS : count;
		count = count > room ? room : count;
		if (count == 0)
			return FX_STEP_BATCH_FULL;
		fx_interval_rows_put(b, t, slots, count);
		for (fx_u32 i = 0; i < count; i++) {
			struct fx_flow *f = &t->flows[slots[i]];

			f->bits &= (fx_u8) ~(FX_FLOW_DIRTY | FX_FLOW_BEGUN_IN_TICK);
			if (fx_flow_has_ended(f))
				fx_flow_slot_free(t, slots[i]);
		}
		s->dirty_at += count;
	}
	t->dirty_count = t->dirty_ended = s->dirty_at = 0;
	return FX_STEP_GO_ON;
}

enum fx_step fx_stream_end_overdue(struct fx_stream *s, fx_batch *b, fx_i64 now_ns,
				   enum fx_end_reason reason)
{
	struct fx_flow_table *t = &s->table;
	fx_u32 slots[FX_CHUNK_ROWS];

	for (;;) {
		fx_u32 room = fx_batch_room(b, FX_FLOWS) - s->ended_count;
		int limit = room < FX_CHUNK_ROWS ? (int)room : FX_CHUNK_ROWS, count;

		count = fx_flows_overdue(t, now_ns, slots, limit ? limit : 1);
		if (count == 0)
			return FX_STEP_GO_ON;
		if (limit == 0) {
			t->look_at = slots[0];
			return FX_STEP_BATCH_FULL;
		}
		for (int i = 0; i < count; i++)
			fx_flow_prefetch_end(t, slots[i]);
		for (int i = 0; i < count; i++) {
			int closing = fx_flow_closing(&t->flows[slots[i]]);

			fx_stream_end_flow(s, b, slots[i],
					   reason ? reason : fx_timeout_reasons[closing]);
		}
	}
}
