/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stream takes in: a block of frames is gone through three times, so that memory arrives before it is needed:
 * parse and hash (and ask for the index line), look up (and ask for the record), count. Only the last pass changes
 * anything, packet by packet, and it stops wherever the batch is full, so that neither blocks nor batches leave a trace
 * in the results.
 */
#include "flow_update.h"
#include "fx/parse.h"
#include "stream.h"

#define FX_REORDERING_NS \
	((fx_i64)FX_SECOND_NS) /* stamps that go back further mean that the clock was set */

static void look_up(struct fx_stream *s)
{
	struct fx_flow_table *t = &s->table;
	const fx_u16 deadline = fx_deadline(t, s->packets[0].time_ns, FX_OPEN);

	for (fx_u32 i = 0; i < s->block_count; i++) {
		struct fx_probe *probe = &s->probes[i];
		const struct fx_flow *f;
		const struct fx_flow_cold *cold;
		const struct fx_side *side;
		struct fx_index_entry entry;
		fx_u32 at;

		probe->slot = FX_NO_SLOT;
		if (!s->packets[i].ip_version)
			continue;
		at = fx_index_home(t, probe->hash);
		entry = t->index[at];
		while (entry.slot_plus_1 && !fx_hash_is_same(entry.hash, probe->hash)) {
			at = at + 1 == t->index_size ? 0 : at + 1;
			entry = t->index[at];
		}
		if (!entry.slot_plus_1)
			continue;
		probe->slot = entry.slot_plus_1 - 1;
		f = &t->flows[probe->slot];
		probe->side = (entry.hash ^ probe->hash) & 1;
		side = &f->side[probe->side];
		__builtin_prefetch(f, 1);
		__builtin_prefetch(&f->gaps, 1);
		__builtin_prefetch(side, 1);
		__builtin_prefetch(&side->window_sum, 1);
		/* A flow that was not seen in this second: there may be a long gap. */
		if (fx_unlikely(t->deadlines[probe->slot] < deadline)) {
			cold = &t->cold[probe->slot];
			__builtin_prefetch(&cold->idle_sum_ns, 1);
			__builtin_prefetch(&cold->idle_count, 1);
		}
	}
}

/* A super-frame: as many packets as it was on the wire, each with all the headers. */
static void put_segments(struct fx_packet *p, fx_u32 segment_bytes)
{
	fx_u32 count = fx_wire_segments(p->payload_bytes, segment_bytes);

	if (count == 1 || p->payload_bytes >= p->wire_bytes)
		return;
	p->wire_segments = count;
	p->wire_bytes += (p->wire_segments - 1) * (p->wire_bytes - p->payload_bytes);
}

int fx_stream_refill(struct fx_stream *s)
{
	int count = s->source->ops->next(s->source, s->frames, FX_BLOCK_FRAMES);

	s->block_at = 0;
	s->has_segments = 0;
	s->block_count = count > 0 ? (fx_u32)count : 0;
	for (int i = 0; i < count; i++) {
		const struct fx_frame *frame = &s->frames[i];
		struct fx_packet *p = &s->packets[i];
		struct fx_probe *probe = &s->probes[i];
		fx_u32 order;

		p->time_ns = frame->time_ns;
		if (fx_unlikely((fx_u64)frame->time_ns > FX_TIME_MAX))
			p->time_ns = frame->time_ns < 0 ? 0 : FX_TIME_MAX;
		p->iface = frame->iface;
		fx_parse_frame(frame->bytes, frame->bytes + frame->captured_bytes,
			       frame->wire_bytes, frame->linktype, p);
		if (fx_unlikely(!p->ip_version))
			continue;
		if (fx_unlikely(frame->segment_bytes)) {
			put_segments(p, frame->segment_bytes);
			s->has_segments = 1;
		}
		probe->tail = fx_flow_tail_make(p);
		probe->hash =
			(fx_u32)(fx_flow_hash_order(&p->src_addr, &p->dst_addr, probe->tail.forward,
						    &s->table.key, &order) >>
				 32);
		probe->hash = (probe->hash & ~1u) | order;
		__builtin_prefetch(&s->table.index[fx_index_home(&s->table, probe->hash)]);
	}
	if (fx_unlikely(s->sides != NULL))
		fx_stream_translate(s);
	look_up(s);
	if (fx_unlikely(count > 0 &&
			(s->stats.packets == 0 || s->packets[0].time_ns < s->stats.first_ns)))
		s->stats.first_ns = s->packets[0].time_ns;
	return count;
}

/* Why the packet cannot belong to this flow any more, or FX_END_NONE. */
static enum fx_end_reason over_before(const struct fx_flow_table *t, const struct fx_flow *f,
				      int side, const struct fx_packet *p)
{
	int closing = fx_flow_closing(f);

	if (fx_unlikely(p->time_ns - fx_flow_last_ns(f) > t->timeouts_ns[closing]))
		return fx_timeout_reasons[closing];
	if (fx_unlikely(closing != FX_OPEN && (p->tcp_flags & (FX_SYN | FX_ACK)) == FX_SYN &&
			p->proto == FX_PROTO_TCP))
		return FX_END_PORT_REUSE;
	if (fx_unlikely(p->time_ns - f->first_ns >= t->active_timeout_ns ||
			f->side[side].more_pkts & FX_SIDE_PKTS_MAX))
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
		if (!fx_stream_has_flow_room(s, b))
			return FX_STEP_BATCH_FULL;
		fx_stream_end_flow(s, b, oldest, FX_END_EVICTED);
		s->stats.evictions++;
	}
	*slot = fx_flow_slot_take(t, s->unread);
	if (*slot == FX_NO_SLOT && s->unread) {
		fx_stream_put_ended(s, b);
		*slot = fx_flow_slot_take(t, 0);
	}
	if (*slot == FX_NO_SLOT) /* ended flows of this tick hold the rest */
		s->phase = FX_FORCED_ROWS;
	else
		fx_flow_begin(t, *slot, p, probe);
	return FX_STEP_GO_ON;
}

/*
 * A super-frame as the packets it was on the wire, without gaps between them: GRO joins packets, and TSO cuts them, so
 * that they differ in nothing but FIN and PSH, which are the last one's, and CWR, which is the first one's.
 */
FX_OUTLINE void count_segments(struct fx_stream *s, fx_u32 slot, int side,
			       const struct fx_packet *p, const struct fx_frame *frame)
{
	struct fx_packet segment = *p;
	fx_u32 left = p->payload_bytes, header = p->ip_bytes - p->payload_bytes;

	segment.wire_segments = 1;
	for (fx_u32 i = 0; i < p->wire_segments; i++) {
		fx_u32 last = i + 1 == p->wire_segments;

		if (fx_flow_is_late(&s->table.flows[slot], side)) { /* the rest is only counted */
			last = 1;
			segment.wire_segments = p->wire_segments - i;
			i = p->wire_segments;
		}
		segment.payload_bytes = last ? left : frame->segment_bytes;
		segment.ip_bytes = header + segment.payload_bytes;
		segment.tcp_flags =
			(fx_u8)(p->tcp_flags & ~(last ? 0 : FX_FIN | FX_PSH) & ~(i ? FX_CWR : 0));
		fx_flow_count(&s->table, slot, side, &segment, frame->bytes);
		left -= segment.payload_bytes;
		segment.tcp_seq += segment.payload_bytes;
	}
	s->stats.packets += p->wire_segments - 1;
}

/* What a block may hold that asks for more than the packets of a file do. */
enum taking { PLAIN, SAMPLED_OR_JOINED, TWO_SIDES };

/*
 * The packet into its flow. Stops before it has changed anything if there is no room for a flow that must end.
 * `taking` is a constant: who captures one side alone does not even ask.
 */
FX_INLINE enum fx_step take_flow(struct fx_stream *s, fx_batch *b, fx_u32 i,
				 const enum taking taking)
{
	const int two_sides = taking == TWO_SIDES;
	struct fx_flow_table *t = &s->table;
	const struct fx_packet *p = &s->packets[i];
	const struct fx_probe *probe = &s->probes[i];
	fx_u32 slot = probe->slot;
	enum fx_end_reason reason;
	enum fx_step step;
	int side = (int)probe->side;

	if (fx_unlikely(slot == FX_NO_SLOT ||
			!fx_flow_is_side(&t->flows[slot], p, &probe->tail, probe->side))) {
		slot = fx_flow_find(t, p, probe);
		if (slot != FX_NO_SLOT)
			side = fx_flow_side(&t->flows[slot], p, &probe->tail);
	}
	if (fx_likely(slot != FX_NO_SLOT)) {
		reason = over_before(t, &t->flows[slot], side, p);
		if (fx_unlikely(reason != FX_END_NONE)) {
			if (!fx_stream_has_flow_room(s, b))
				return FX_STEP_BATCH_FULL;
			fx_stream_end_flow(s, b, slot, reason);
			slot = FX_NO_SLOT;
		}
	}
	if (fx_unlikely(slot == FX_NO_SLOT)) {
		step = begin_flow(s, b, p, probe, &slot);
		if (step != FX_STEP_GO_ON || s->phase != FX_TAKE_PACKETS)
			return step;
		side = fx_flow_side(&t->flows[slot], p, &probe->tail);
		if (two_sides)
			fx_stream_choose_side(s, slot, i);
	} else if (two_sides && fx_stream_is_seen_twice(s, slot, side, i)) {
		return FX_STEP_SEEN_TWICE;
	}
	if (taking == PLAIN || fx_likely(p->wire_segments == 1))
		fx_flow_count(t, slot, side, p, s->frames[i].bytes);
	else
		count_segments(s, slot, side, p, &s->frames[i]);
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

/* What every packet counts into, kept in registers. */
struct sums {
	fx_u64 bytes, captured_bytes, truncated;
};

FX_INLINE void count_packet(struct fx_stream *s, const struct fx_packet *p, struct sums *sums)
{
	fx_stream_stats *stats = &s->stats;

	sums->bytes += p->wire_bytes;
	sums->captured_bytes += p->captured_bytes;
	sums->truncated += p->captured_bytes < p->wire_bytes;
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

/* The tick that holds the time of a packet begins. */
static void open_tick(struct fx_stream *s, fx_i64 time_ns)
{
	fx_i64 tick = (fx_i64)s->options.tick_ns;

	s->tick_ns = time_ns / tick * tick;
	s->is_tick_open = 1;
	if (!s->has_begun) {
		if (s->stats.packets == 0 || time_ns < s->stats.first_ns)
			s->stats.first_ns = time_ns;
		if (s->now_ns > s->stats.last_ns)
			s->stats.last_ns = s->now_ns;
		s->has_begun = 1;
		s->now_ns = time_ns;
		fx_deadlines_start(&s->table, s->tick_ns);
	} else {
		fx_deadlines_advance(&s->table, s->tick_ns);
		if (s->tick_ns > s->tick_end_ns)
			s->phase = FX_OPEN_TICK;
	}
	s->tick_end_ns = s->limit_ns = s->tick_ns + tick;
}

void fx_stream_pass_time(struct fx_stream *s, fx_batch *b, fx_i64 time_ns)
{
	fx_i64 first_ns = s->stats.first_ns;

	if (s->is_tick_open) {
		if (time_ns >= s->tick_end_ns)
			s->phase = FX_CLOSE_TICK;
		return;
	}
	if (s->has_begun && time_ns < s->tick_end_ns)
		return;
	open_tick(s, time_ns / (fx_i64)s->options.tick_ns * (fx_i64)s->options.tick_ns);
	s->stats.first_ns = first_ns; /* it is of packets */
	b->state.tick_ns = s->tick_ns;
}

/* Whether the packet's flow is left out. Spread anew: the index is by the hash's upper bits. */
FX_INLINE int is_shed(const struct fx_stream *s, fx_u32 i)
{
	return (s->probes[i].hash | 1) * 0x9e3779b1u > s->sample_max;
}

/* Packets of the block; the caller adds their sums up. */
FX_INLINE enum fx_step take_block(struct fx_stream *s, fx_batch *b, struct sums *sums,
				  const enum taking taking)
{
	const int two_sides = taking == TWO_SIDES;
	const int some_rows = s->options.packet_rows != FX_PACKET_ROWS_NONE;

	for (; s->block_at < s->block_count; s->block_at++) {
		const struct fx_packet *p = &s->packets[s->block_at];
		const int forged = two_sides && s->sides->block.forged >> s->block_at & 1;
		int row = some_rows && !forged && wants_row(s, p);

		if (fx_unlikely(p->time_ns >= s->limit_ns)) {
			if (s->is_tick_open) {
				s->phase = FX_CLOSE_TICK;
				return FX_STEP_GO_ON;
			}
			open_tick(s, p->time_ns);
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
		if (two_sides && fx_unlikely(forged)) {
			s->stats.packets += p->wire_segments - 1;
		} else if (taking != PLAIN &&
			   fx_unlikely(p->ip_version && s->sample_max != UINT32_MAX &&
				       is_shed(s, s->block_at))) {
			s->stats.packets_shed += p->wire_segments;
			s->stats.packets += p->wire_segments - 1;
		} else if (fx_likely(p->ip_version)) {
			enum fx_step step = take_flow(s, b, s->block_at, taking);

			if (two_sides && step == FX_STEP_SEEN_TWICE) {
				s->stats.packets--; /* with the block's it is as if there were none */
				continue;
			}
			if (fx_unlikely(step != FX_STEP_GO_ON || s->phase != FX_TAKE_PACKETS))
				return step;
		}
		count_packet(s, p, sums);
		if (row)
			s->rows[s->row_count++] = (fx_u8)s->block_at;
	}
	return FX_STEP_GO_ON;
}

enum fx_step fx_stream_take_packets(struct fx_stream *s, fx_batch *b)
{
	struct sums sums = { 0 };
	fx_u32 from = s->block_at;
	enum fx_step step;

	if (fx_unlikely(s->sides != NULL))
		step = take_block(s, b, &sums, TWO_SIDES);
	else if (fx_unlikely(s->has_segments || s->sample_max != UINT32_MAX))
		step = take_block(s, b, &sums, SAMPLED_OR_JOINED);
	else
		step = take_block(s, b, &sums, PLAIN);
	s->stats.packets += s->block_at - from;
	s->stats.bytes += sums.bytes;
	s->stats.captured_bytes += sums.captured_bytes;
	s->stats.truncated += sums.truncated;
	return step;
}
