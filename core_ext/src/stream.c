/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream: takes blocks of frames from a source, parses them, finds their flows and counts them in; hands out rows.
 *
 * A block is gone through three times, so that memory arrives before it is needed: parse and hash (and ask for the
 * index line), look up (and ask for the record), count. Only the last pass changes anything, packet by packet, and it
 * stops wherever the batch is full, so that neither blocks nor batches leave a trace in the results.
 */
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "flow_update.h"
#include "fx/error.h"
#include "fx/parse.h"
#include "packet_rows.h"

enum { FX_SEGMENTS_MAX = 1024, FX_IDLE_MAX_S = 8 * 3600 /* a deadline has 16 bits */ };
#define FX_TIME_MAX ((fx_i64)1 << 62)
#define FX_TIME_END (FX_TIME_MAX + ((fx_i64)1 << 61)) /* when every timeout is over */
#define FX_REORDERING_NS \
	((fx_i64)FX_SECOND_NS) /* stamps that go back further mean that the clock was set */

/* Why a flow ends when its timeout is over. */
static const enum fx_end_reason timeout_reasons[FX_CLOSINGS] = { FX_END_IDLE, FX_END_FIN,
								 FX_END_RST };

/* How the packet loop ended. */
enum fx_step { FX_STEP_GO_ON, FX_STEP_BATCH_FULL };

void fx_stream_options_default(fx_stream_options *options)
{
	*options = (fx_stream_options){
		.flow_budget_bytes = 128u << 20,
		.hash_key = { 0x0123456789abcdefu, 0xfedcba9876543210u },
		.idle_timeout_ns = 120ull * FX_SECOND_NS,
		.active_timeout_ns = 1800ull * FX_SECOND_NS,
		.tick_ns = FX_SECOND_NS,
		.packet_rows = FX_PACKET_ROWS_NONE,
		.keep_sequences = 0,
		.keep_intervals = 1,
	};
}

static int within(const char *name, uint64_t value, uint64_t least, uint64_t most)
{
	if (value >= least && value <= most)
		return 0;
	return fx_fail(-EINVAL, "%s: %" PRIu64 " is not between %" PRIu64 " and %" PRIu64, name,
		       value, least, most);
}

static int check_options(const fx_stream_options *o)
{
	const uint64_t second = FX_SECOND_NS, day = 86400 * second;

	if (within("tick_ns", o->tick_ns, 1000000, 3600 * second) ||
	    within("idle_timeout_ns", o->idle_timeout_ns, second, FX_IDLE_MAX_S * second) ||
	    within("active_timeout_ns", o->active_timeout_ns, second, day) ||
	    within("packet_rows", o->packet_rows, FX_PACKET_ROWS_NONE, FX_PACKET_ROWS_ALL))
		return -EINVAL;
	return 0;
}

int fx_stream_new(fx_source *source, const fx_stream_options *options, fx_stream **out)
{
	fx_stream *s;
	int error = check_options(options);

	*out = NULL;
	if (error)
		return error;
	s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	if (!s)
		return fx_fail(-ENOMEM, "stream: no memory");
	memset(s, 0, sizeof(*s));
	s->source = source;
	s->options = *options;
	s->limit_ns = INT64_MIN;
	error = fx_flow_table_open(&s->table, options);
	if (error) {
		free(s);
		return error;
	}
	*out = s;
	return 0;
}

void fx_stream_free(fx_stream *s)
{
	if (!s)
		return;
	fx_flow_table_close(&s->table);
	free(s);
}

/* ---- a block of frames -------------------------------------------------------------------------- */

static void look_up(struct fx_stream *s)
{
	struct fx_flow_table *t = &s->table;

	for (fx_u32 i = 0; i < s->block_count; i++) {
		struct fx_probe *probe = &s->probes[i];
		const struct fx_flow *f;
		fx_u32 at;

		if (!s->packets[i].ip_version)
			continue;
		probe->slot = FX_NO_SLOT;
		at = fx_index_home(t, probe->hash);
		while (t->index[at].slot_plus_1 && t->index[at].hash != probe->hash)
			at = at + 1 == t->index_size ? 0 : at + 1;
		if (!t->index[at].slot_plus_1)
			continue;
		probe->slot = t->index[at].slot_plus_1 - 1;
		f = &t->flows[probe->slot];
		__builtin_prefetch(f);
		__builtin_prefetch(&f->gaps, 1);
		__builtin_prefetch(&f->side[0], 1);
		__builtin_prefetch(&f->side[0].window_sum, 1);
		__builtin_prefetch(&f->side[1], 1);
		__builtin_prefetch(&f->side[1].window_sum, 1);
	}
}

/* The next block, parsed and looked up: frames in it, 0 = end of input, -errno. */
static int refill(struct fx_stream *s)
{
	int count = s->source->ops->next(s->source, s->frames, FX_BLOCK_FRAMES);

	s->block_at = 0;
	s->block_count = count > 0 ? (fx_u32)count : 0;
	for (int i = 0; i < count; i++) {
		const struct fx_frame *frame = &s->frames[i];
		struct fx_packet *p = &s->packets[i];
		struct fx_probe *probe = &s->probes[i];

		p->time_ns = frame->time_ns;
		if (fx_unlikely((fx_u64)frame->time_ns > FX_TIME_MAX))
			p->time_ns = frame->time_ns < 0 ? 0 : FX_TIME_MAX;
		p->iface = frame->iface;
		fx_parse_frame(frame->bytes, frame->bytes + frame->captured_bytes,
			       frame->wire_bytes, frame->linktype, p);
		if (fx_unlikely(!p->ip_version))
			continue;
		probe->tail = fx_flow_tail_make(p);
		probe->hash = (fx_u32)(fx_flow_hash(&p->src_addr, &p->dst_addr, probe->tail.forward,
						    &s->table.key) >>
				       32);
		__builtin_prefetch(&s->table.index[fx_index_home(&s->table, probe->hash)]);
	}
	look_up(s);
	return count;
}

/* ---- rows out ----------------------------------------------------------------------------------- */

static void put_packet_rows(struct fx_stream *s, fx_batch *b)
{
	if (s->row_count)
		fx_packet_rows_put(b, s->packets, s->rows, s->row_count);
	s->row_count = 0;
}

static void put_ended(struct fx_stream *s, fx_batch *b)
{
	if (s->ended_count)
		fx_flow_rows_put(b, &s->table, s->ended, s->ended_count);
	s->ended_count = s->unread = 0;
}

/* Whether one more flow may end: its row has a place. */
static int has_flow_room(const struct fx_stream *s, const fx_batch *b)
{
	return fx_batch_room(b, FX_FLOWS) > s->ended_count;
}

static void end_flow(struct fx_stream *s, fx_batch *b, fx_u32 slot, enum fx_end_reason reason)
{
	s->unread += !(s->table.flows[slot].bits & FX_FLOW_DIRTY);
	fx_flow_end(&s->table, slot, reason);
	s->ended[s->ended_count++] = slot;
	if (s->ended_count == FX_CHUNK_ROWS)
		put_ended(s, b);
}

/* Interval rows of the tick's list as far as there is room. */
static enum fx_step put_intervals(struct fx_stream *s, fx_batch *b)
{
	struct fx_flow_table *t = &s->table;

	put_ended(s, b);
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

/* Ends the flows whose timeout is over at `now_ns`, because of `reason` or of their timeout. */
static enum fx_step end_overdue(struct fx_stream *s, fx_batch *b, fx_i64 now_ns,
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

			end_flow(s, b, slots[i], reason ? reason : timeout_reasons[closing]);
		}
	}
}

/* ---- packets in --------------------------------------------------------------------------------- */

/* Why the packet cannot belong to this flow any more, or FX_END_NONE. */
static enum fx_end_reason over_before(const struct fx_flow_table *t, const struct fx_flow *f,
				      const struct fx_packet *p)
{
	int closing = fx_flow_closing(f);

	if (fx_unlikely(p->time_ns - fx_flow_last_ns(f) > t->timeouts_ns[closing]))
		return timeout_reasons[closing];
	if (fx_unlikely(closing != FX_OPEN && (p->tcp_flags & (FX_SYN | FX_ACK)) == FX_SYN &&
			p->proto == FX_PROTO_TCP))
		return FX_END_PORT_REUSE;
	if (fx_unlikely(p->time_ns - f->first_ns >= t->active_timeout_ns ||
			(f->side[0].pkts | f->side[1].pkts) & FX_SIDE_PKTS_MAX))
		return FX_END_ACTIVE;
	return FX_END_NONE;
}

/* Makes place for a flow and begins it. */
static enum fx_step begin_flow(struct fx_stream *s, fx_batch *b, const struct fx_packet *p,
			       const struct fx_probe *probe, fx_u32 *slot)
{
	struct fx_flow_table *t = &s->table;

	if (t->active >= t->flows_max) {
		fx_u32 oldest = fx_flow_oldest(t);

		if (t->flows[oldest].bits & FX_FLOW_DIRTY) {
			s->phase = FX_FORCED_ROWS;
			return FX_STEP_GO_ON;
		}
		if (!has_flow_room(s, b))
			return FX_STEP_BATCH_FULL;
		end_flow(s, b, oldest, FX_END_EVICTED);
		s->stats.evictions++;
	}
	*slot = fx_flow_slot_take(t, s->unread);
	if (*slot == FX_NO_SLOT && s->unread) {
		put_ended(s, b);
		*slot = fx_flow_slot_take(t, 0);
	}
	if (*slot == FX_NO_SLOT) /* ended flows of this tick hold the rest */
		s->phase = FX_FORCED_ROWS;
	else
		fx_flow_begin(t, *slot, p, probe);
	return FX_STEP_GO_ON;
}

/* A super-frame as the segments it was on the wire, without gaps between them. */
static void count_segments(struct fx_flow_table *t, fx_u32 slot, int side,
			   const struct fx_packet *p, const fx_u8 *frame)
{
	struct fx_packet segment = *p;
	fx_u32 count = p->wire_segments > FX_SEGMENTS_MAX ? FX_SEGMENTS_MAX : p->wire_segments;
	fx_u32 each = (p->payload_bytes + count - 1) / count, left = p->payload_bytes;
	fx_u32 header = p->ip_bytes - p->payload_bytes;

	for (fx_u32 i = 0; i < count; i++) {
		segment.payload_bytes = left < each ? left : each;
		segment.ip_bytes = header + segment.payload_bytes;
		fx_flow_count(t, slot, side, &segment, frame);
		left -= segment.payload_bytes;
		segment.tcp_seq += segment.payload_bytes;
	}
}

/* The packet into its flow. Stops before it has changed anything if there is no room for a flow that must end. */
static enum fx_step take_flow(struct fx_stream *s, fx_batch *b, fx_u32 i)
{
	struct fx_flow_table *t = &s->table;
	const struct fx_packet *p = &s->packets[i];
	const struct fx_probe *probe = &s->probes[i];
	fx_u32 slot = probe->slot;
	enum fx_end_reason reason;
	enum fx_step step;
	int side = -1;

	if (fx_likely(slot != FX_NO_SLOT))
		side = fx_flow_side(&t->flows[slot], p, &probe->tail);
	if (fx_unlikely(side < 0)) {
		slot = fx_flow_find(t, p, probe);
		if (slot != FX_NO_SLOT)
			side = fx_flow_side(&t->flows[slot], p, &probe->tail);
	}
	if (fx_likely(slot != FX_NO_SLOT)) {
		reason = over_before(t, &t->flows[slot], p);
		if (fx_unlikely(reason != FX_END_NONE)) {
			if (!has_flow_room(s, b))
				return FX_STEP_BATCH_FULL;
			end_flow(s, b, slot, reason);
			slot = FX_NO_SLOT;
		}
	}
	if (fx_unlikely(slot == FX_NO_SLOT)) {
		step = begin_flow(s, b, p, probe, &slot);
		if (step != FX_STEP_GO_ON || s->phase != FX_TAKE_PACKETS)
			return step;
		side = fx_flow_side(&t->flows[slot], p, &probe->tail);
	}
	if (fx_likely(p->wire_segments <= 1))
		fx_flow_count(t, slot, side, p, s->frames[i].bytes);
	else
		count_segments(t, slot, side, p, s->frames[i].bytes);
	return FX_STEP_GO_ON;
}

/* ARP, neighbour discovery, what is not IP or not understood, ICMP other than echo, DHCP. */
static int is_control(const struct fx_packet *p)
{
	if (!p->ip_version || p->arp_op)
		return 1;
	switch (p->proto) {
	case FX_PROTO_ICMP:
		return p->src_port != 8 && p->src_port != 0;
	case FX_PROTO_ICMP6:
		return p->src_port != 128 && p->src_port != 129;
	case FX_PROTO_UDP:
		return p->dst_port == 67 || p->dst_port == 68 || p->dst_port == 546 ||
		       p->dst_port == 547;
	default:
		return 0;
	}
}

static int wants_row(const struct fx_stream *s, const struct fx_packet *p)
{
	return s->options.packet_rows == FX_PACKET_ROWS_ALL ||
	       (s->options.packet_rows == FX_PACKET_ROWS_CONTROL && is_control(p));
}

static void count_packet(struct fx_stream *s, const struct fx_packet *p)
{
	fx_stream_stats *stats = &s->stats;

	stats->packets++;
	stats->bytes += p->wire_bytes;
	stats->captured_bytes += p->captured_bytes;
	stats->truncated += p->captured_bytes < p->wire_bytes;
	if (fx_unlikely(p->decode != FX_DECODE_OK)) {
		stats->undecodable += !p->ip_version;
		stats->malformed += (fx_u64)fx_decode_is_malformed(p->decode);
	} else if (fx_unlikely(!p->ip_version)) {
		stats->non_ip++;
	}
	if (fx_unlikely(p->time_ns < s->now_ns)) {
		stats->out_of_order++;
		stats->first_ns = p->time_ns < stats->first_ns ? p->time_ns : stats->first_ns;
	} else {
		s->now_ns = p->time_ns;
	}
}

/* The tick that holds the packet begins. */
static void open_tick(struct fx_stream *s, const struct fx_packet *p)
{
	fx_i64 tick = (fx_i64)s->options.tick_ns;

	s->tick_ns = p->time_ns / tick * tick;
	s->is_tick_open = 1;
	if (!s->has_begun) {
		if (s->stats.packets == 0 || p->time_ns < s->stats.first_ns)
			s->stats.first_ns = p->time_ns;
		if (s->now_ns > s->stats.last_ns)
			s->stats.last_ns = s->now_ns;
		s->has_begun = 1;
		s->now_ns = p->time_ns;
		fx_deadlines_start(&s->table, s->tick_ns);
	} else {
		fx_deadlines_advance(&s->table, s->tick_ns);
		if (s->tick_ns > s->tick_end_ns)
			s->phase = FX_OPEN_TICK;
	}
	s->tick_end_ns = s->limit_ns = s->tick_ns + tick;
}

/* Packets of the block until it is through, the batch is full, or something else is to be done first. */
static enum fx_step take_packets(struct fx_stream *s, fx_batch *b)
{
	const int some_rows = s->options.packet_rows != FX_PACKET_ROWS_NONE;

	for (; s->block_at < s->block_count; s->block_at++) {
		const struct fx_packet *p = &s->packets[s->block_at];
		int row = some_rows && wants_row(s, p);

		if (fx_unlikely(p->time_ns >= s->limit_ns)) {
			if (s->is_tick_open) {
				s->phase = FX_CLOSE_TICK;
				return FX_STEP_GO_ON;
			}
			open_tick(s, p);
			b->state.tick_ns = s->tick_ns;
			if (s->phase != FX_TAKE_PACKETS)
				return FX_STEP_GO_ON;
		}
		if (fx_unlikely(p->time_ns < s->now_ns - FX_REORDERING_NS)) {
			s->stats.clock_steps++;
			s->sweep = FX_END_CLOCK_STEP;
			s->phase = FX_SWEEP;
			return FX_STEP_GO_ON;
		}
		if (fx_unlikely(row && fx_batch_room(b, FX_PACKETS) == s->row_count))
			return FX_STEP_BATCH_FULL;
		if (fx_likely(p->ip_version)) {
			enum fx_step step = take_flow(s, b, s->block_at);

			if (fx_unlikely(step != FX_STEP_GO_ON || s->phase != FX_TAKE_PACKETS))
				return step;
		}
		count_packet(s, p);
		if (row)
			s->rows[s->row_count++] = (fx_u8)s->block_at;
	}
	return FX_STEP_GO_ON;
}

/* ---- the verbs ---------------------------------------------------------------------------------- */

/* The block is through: the next one, or the end of input. */
static int next_block(struct fx_stream *s, fx_batch *b)
{
	int count;

	put_packet_rows(s, b);
	count = refill(s);
	if (count < 0)
		return count;
	if (count == 0) {
		s->sweep = FX_END_INPUT;
		s->phase = s->is_tick_open ? FX_CLOSE_TICK : FX_SWEEP;
	}
	return 0;
}

/* All rows of the tick have been handed out. */
static void close_tick(struct fx_stream *s)
{
	s->is_tick_open = 0;
	s->limit_ns = INT64_MIN;
	s->phase = s->sweep == FX_END_INPUT ? FX_DONE : FX_TAKE_PACKETS;
	if (s->sweep == FX_END_CLOCK_STEP)
		s->has_begun = 0;
	s->sweep = FX_END_NONE;
}

static int finish(struct fx_stream *s, fx_batch *b, int flags)
{
	put_packet_rows(s, b);
	put_ended(s, b);
	for (int i = 0; i < FX_TABLES; i++) {
		b->state.rows[i] = b->tables[i].rows;
		flags |= b->tables[i].rows ? FX_NEXT_ROWS : 0;
	}
	return flags | (s->phase == FX_DONE ? FX_NEXT_END : 0);
}

static int wants_entropy(const fx_batch *b)
{
	void *const *columns = b->tables[FX_FLOWS].columns;

	return columns[FX_FLOW_COLUMN_orig_entropy] || columns[FX_FLOW_COLUMN_resp_entropy] ||
	       columns[FX_FLOW_COLUMN_orig_entropy_bytes] ||
	       columns[FX_FLOW_COLUMN_resp_entropy_bytes];
}

int fx_stream_next(fx_stream *s, fx_batch *b)
{
	s->table.wants_entropy = wants_entropy(b);
	for (int i = 0; i < FX_TABLES; i++)
		b->tables[i].rows = b->state.rows[i] = 0;
	b->state.tick_ns = s->tick_ns;
	for (;;) {
		enum fx_step step = FX_STEP_GO_ON;
		int error;

		switch (s->phase) {
		case FX_TAKE_PACKETS:
			step = take_packets(s, b);
			if (step == FX_STEP_GO_ON && s->phase == FX_TAKE_PACKETS) {
				error = next_block(s, b);
				if (error)
					return error;
			}
			break;
		case FX_OPEN_TICK:
			step = end_overdue(s, b, s->tick_ns, FX_END_NONE);
			if (step == FX_STEP_GO_ON)
				s->phase = FX_TAKE_PACKETS;
			break;
		case FX_FORCED_ROWS:
			step = put_intervals(s, b);
			if (step == FX_STEP_GO_ON)
				s->phase = FX_TAKE_PACKETS;
			break;
		case FX_CLOSE_TICK:
			step = end_overdue(s, b, s->sweep ? s->now_ns : s->tick_end_ns,
					   FX_END_NONE);
			if (step == FX_STEP_GO_ON)
				s->phase = s->sweep ? FX_SWEEP : FX_TICK_ROWS;
			break;
		case FX_SWEEP:
			step = end_overdue(s, b, FX_TIME_END, s->sweep);
			if (step == FX_STEP_GO_ON)
				s->phase = FX_TICK_ROWS;
			break;
		case FX_TICK_ROWS:
			step = put_intervals(s, b);
			if (step == FX_STEP_GO_ON) {
				int flags = s->is_tick_open ? FX_NEXT_TICK_CLOSED : 0;

				put_packet_rows(s, b);
				close_tick(s);
				return finish(s, b, flags);
			}
			break;
		case FX_DONE:
			return finish(s, b, 0);
		}
		if (step == FX_STEP_BATCH_FULL)
			return finish(s, b, 0);
	}
}

void fx_stream_stats_read(const fx_stream *s, fx_stream_stats *out)
{
	struct fx_source_stats source = { 0 };

	*out = s->stats;
	s->source->ops->stats(s->source, &source);
	out->kernel_drops = source.kernel_drops;
	out->absurd_lengths = source.absurd_lengths;
	out->flows = s->table.flows_begun;
	out->flows_active = s->table.active;
	out->flows_peak = s->table.peak;
	out->memory_bytes = s->table.memory_bytes;
	out->last_ns = s->now_ns > s->stats.last_ns ? s->now_ns : s->stats.last_ns;
}

int fx_stream_damages(const fx_stream *s, const fx_damage **out)
{
	return s->source->ops->damages(s->source, out);
}
