/* SPDX-License-Identifier: Apache-2.0 */
/* What the tap counted becomes the flow's: at ticks, at its end, and across a step of the clock. */
#include "tap_maps.h"

#include <inttypes.h>
#include <stdlib.h>

#include "fx/abi.h"
#include "fx/source.h"

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define BEGIN (1700000000 * SECOND)
#define MONOTONIC (BEGIN - 5 * SECOND) /* a stamp less CLOCK_MONOTONIC */
#define STEP (3600 * SECOND)

enum { FRAME = 60, SEEN = FX_FULL_PACKETS + 2, COUNTED = 1000, OCTETS = 46 };

static int failures;

static void expect(int64_t is, int64_t wanted, const char *what)
{
	if (is == wanted)
		return;
	fprintf(stderr, "%s: %" PRId64 " instead of %" PRId64 "\n", what, is, wanted);
	failures++;
}

/* Packets of one flow until the tap takes over; then the tap's counts, and how it ends. */
struct world {
	struct fx_source base;
	struct tap_maps *maps;
	int at;
	int steps_clock; /* else input ends */
	uint8_t frame[FRAME];
};

/* The filter at work: it counts in the slots that are told to count. */
static void count_as_the_filter(struct tap_maps *maps, int64_t time_ns)
{
	for (int i = 0; i < TAP_SLOTS; i++) {
		struct fx_shunt_slot *slot = &maps->memory[i];

		if (slot->mode != FX_SHUNT_COUNT)
			continue;
		slot->bytes += COUNTED * OCTETS;
		slot->last_ns = (fx_u64)(time_ns - MONOTONIC);
		slot->packets += COUNTED;
	}
}

static int world_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct world *w = (struct world *)base;
	int64_t now_ns = BEGIN + w->at * MS;

	(void)capacity;
	base->idle_ns = now_ns;
	if (w->at++ < SEEN) {
		frames[0] = (struct fx_frame){ .bytes = w->frame,
					       .time_ns = now_ns,
					       .captured_bytes = FRAME,
					       .wire_bytes = FRAME,
					       .linktype = 1 };
		return 1;
	}
	if (w->at > SEEN + 1000) { /* the last second: nothing is read any more */
		count_as_the_filter(w->maps, now_ns);
		if (!w->steps_clock)
			return 0;
		base->stamps_minus_monotonic_ns += STEP;
		w->steps_clock = 0;
		return FX_SOURCE_CLOCK_STEP;
	}
	if (w->at % 200 == 0)
		count_as_the_filter(w->maps, now_ns);
	return FX_SOURCE_IDLE;
}

static void world_stats(const fx_source *base, struct fx_source_stats *out)
{
	(void)base;
	*out = (struct fx_source_stats){ 0 };
}

static void world_close(fx_source *base)
{
	free(base);
}

static const struct fx_source_ops world_ops = {
	.name = "world",
	.next = world_next,
	.stats = world_stats,
	.close = world_close,
};

static struct world *new_world(struct tap_maps *maps, int steps_clock)
{
	static const uint8_t ip[] = { 0x45, 0, 0, OCTETS, 0, 0, 0,    0,    64, 17, 0, 0,  1, 1,
				      1,    1, 2, 2,	  2, 2, 0x9c, 0x40, 1,	1,  0, 26, 0, 0 };
	struct world *w = calloc(1, sizeof(*w));

	w->base.ops = &world_ops;
	w->base.stamps_minus_monotonic_ns = MONOTONIC;
	w->maps = maps;
	w->steps_clock = steps_clock;
	w->frame[12] = 8;
	memcpy(w->frame + 14, ip, sizeof(ip));
	return w;
}

static int column(int table, const char *name)
{
	const fx_column *columns;
	int count = fx_table_columns(table, &columns), i = 0;

	while (i < count && strcmp(columns[i].name, name))
		i++;
	return i;
}

static void check(struct tap_maps *maps, int steps_clock)
{
	struct world *w = new_world(maps, steps_clock);
	int64_t packets = 0, bytes = 0, in_ticks = 0, duration = 0, ticks_with = 0, flows = 0;
	fx_stream_options options;
	fx_shunt_stats stats;
	fx_stream *stream;
	fx_batch *batch;
	int flags;

	fx_stream_options_default(&options);
	options.tick_ns = 100 * (uint64_t)MS;
	options.flow_budget_bytes = 1 << 20;
	expect(fx_stream_new(&w->base, &options, &stream), 0, "a stream");
	expect(fx_stream_shunt(stream, maps->keys, maps->slots), 0, "shunting");
	expect(fx_batch_new(64, 64, 64, NULL, NULL, NULL, &batch), 0, "a batch");
	do {
		const uint32_t *rows = fx_batch_state_of(batch)->rows;

		flags = fx_stream_next(stream, batch);
		for (uint32_t i = 0; flags > 0 && i < rows[FX_FLOWS]; i++, flows++) {
			packets += (int64_t)((uint64_t *)fx_batch_column(
				batch, FX_FLOWS, column(FX_FLOWS, "orig_pkts")))[i];
			bytes += (int64_t)((uint64_t *)fx_batch_column(
				batch, FX_FLOWS, column(FX_FLOWS, "orig_bytes")))[i];
			duration = ((int64_t *)fx_batch_column(batch, FX_FLOWS,
							       column(FX_FLOWS, "duration_ns")))[i];
		}
		for (uint32_t i = 0; flags > 0 && i < rows[FX_INTERVALS]; i++, ticks_with++)
			in_ticks += ((uint32_t *)fx_batch_column(
				batch, FX_INTERVALS, column(FX_INTERVALS, "orig_pkts")))[i];
	} while (flags >= 0 && !(flags & FX_NEXT_END));
	fx_stream_shunt_stats(stream, &stats);
	expect(flags >= 0, 1, "no error");
	expect(flows, 1, "one flow");
	expect(packets, SEEN + 6 * COUNTED, "packets seen and counted");
	expect(bytes, (SEEN + 6 * COUNTED) * OCTETS, "their octets");
	expect(in_ticks, packets, "as many in ticks");
	expect(ticks_with >= 7, 1, "in the ticks they came in");
	expect(duration, (SEEN + 1000) * MS, "to the last that was counted, without any step");
	expect((int64_t)stats.packets, 6 * COUNTED, "what the tap counted");
	expect((int64_t)stats.lost_packets, 0, "nothing is lost");
	expect((int64_t)stats.directions, 0, "nothing is left");
	fx_batch_free(batch);
	fx_stream_free(stream);
	fx_source_close(&w->base);
}

int main(void)
{
	struct tap_maps maps;

	if (!make_tap_maps(&maps))
		return 0;
	check(&maps, 0);
	check(&maps, 1);
	end_tap_maps(&maps);
	return failures != 0;
}
