/* SPDX-License-Identifier: Apache-2.0 */
/* The stream: source -> block of frames -> packets -> flow table -> batch; what is to be done next. */
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fx/error.h"
#include "shunt.h"

enum { FX_IDLE_MAX_S = 8 * 3600 /* a deadline has 16 bits */ };

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
	s->sample_max = UINT32_MAX;
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
	fx_shunt_close(s->table.shunt);
	fx_stream_close_sides(s);
	fx_flow_table_close(&s->table);
	free(s);
}

/* Ends all flows, and the tick if one is open. */
static void sweep_all(struct fx_stream *s, enum fx_end_reason reason)
{
	s->sweep = reason;
	s->phase = s->is_tick_open ? FX_CLOSE_TICK : FX_SWEEP;
}

/* The block is through: the next one, a pause, or the end of input. */
static int next_block(struct fx_stream *s, fx_batch *b)
{
	int count;

	fx_stream_put_packets(s, b);
	count = fx_stream_refill(s);
	if (count != FX_SOURCE_CLOCK_STEP)
		s->folds_by_ns = s->source->stamps_minus_monotonic_ns;
	if (count > 0)
		return 0;
	if (count == 0) {
		if (s->table.shunt)
			fx_stream_unshunt_all(s);
		sweep_all(s, FX_END_INPUT);
	} else if (count == FX_SOURCE_IDLE) {
		fx_stream_pass_time(s, b, s->source->idle_ns);
	} else if (count == FX_SOURCE_CLOCK_STEP) {
		s->stats.clock_steps++;
		sweep_all(s, FX_END_CLOCK_STEP);
	} else {
		return count;
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
	fx_stream_put_packets(s, b);
	fx_stream_put_ended(s, b);
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
			step = fx_stream_take_packets(s, b);
			if (step == FX_STEP_GO_ON && s->phase == FX_TAKE_PACKETS) {
				error = next_block(s, b);
				if (error)
					return error;
			}
			break;
		case FX_OPEN_TICK:
			step = fx_stream_end_overdue(s, b, s->tick_ns, FX_END_NONE);
			if (step == FX_STEP_GO_ON)
				s->phase = FX_TAKE_PACKETS;
			break;
		case FX_FORCED_ROWS:
			step = fx_stream_put_intervals(s, b);
			if (step == FX_STEP_GO_ON)
				s->phase = FX_TAKE_PACKETS;
			break;
		case FX_CLOSE_TICK:
			if (s->table.shunt)
				fx_stream_fold(s);
			step = fx_stream_end_overdue(s, b, s->sweep ? s->now_ns : s->tick_end_ns,
						     FX_END_NONE);
			if (step == FX_STEP_GO_ON)
				s->phase = s->sweep ? FX_SWEEP : FX_TICK_ROWS;
			break;
		case FX_SWEEP:
			step = fx_stream_end_overdue(s, b, FX_TIME_END, s->sweep);
			if (step == FX_STEP_GO_ON)
				s->phase = FX_TICK_ROWS;
			break;
		case FX_TICK_ROWS:
			step = fx_stream_put_intervals(s, b);
			if (step == FX_STEP_GO_ON) {
				int flags = s->is_tick_open ? FX_NEXT_TICK_CLOSED : 0;

				fx_stream_put_packets(s, b);
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

void fx_stream_sample(fx_stream *s, double share)
{
	s->sample_max = share >= 1 ? UINT32_MAX : share <= 0 ? 0 : (fx_u32)(share * UINT32_MAX);
}

int fx_stream_damages(const fx_stream *s, const fx_damage **out)
{
	*out = NULL;
	return s->source->ops->damages ? s->source->ops->damages(s->source, out) : 0;
}
