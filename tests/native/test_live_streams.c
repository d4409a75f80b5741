/* SPDX-License-Identifier: Apache-2.0 */
/* What only live sources bring: super-frames, time that passes without packets, a wall clock that was set. */
#include "flow_run.h"
#include "fx/source.h"

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define BEGIN (1700000000 * SECOND)

enum {
	HEADERS = 54,
	FRAME_MAX = 65536,
	STEPS_MAX = 64,
	FIN = 1,
	SYN = 2,
	PSH = 8,
	ACK = 16,
	CWR = 128
};

/* What the source says at each call of next(). */
struct step {
	int says; /* 1 = the frame; else enum fx_source_pause */
	int64_t time_ns;
	uint32_t payload;
	uint32_t segment_bytes;
	uint32_t seq;
	uint8_t flags;
};

struct script {
	struct fx_source base;
	const struct step *steps;
	int count;
	int at;
	uint8_t frame[FRAME_MAX];
};

static int failures;

static void expect(uint64_t is, uint64_t wanted, const char *what)
{
	if (is == wanted)
		return;
	fprintf(stderr, "%s: %" PRIu64 " instead of %" PRIu64 "\n", what, is, wanted);
	failures++;
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void make_frame(uint8_t *frame, const struct step *step)
{
	static const uint8_t ends[] = { 192, 0, 2, 1, 198, 51, 100, 1 };

	memset(frame, 0, HEADERS);
	put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	put16(frame + 16, 40 + step->payload);
	frame[22] = 64;
	frame[23] = 6;
	memcpy(frame + 26, ends, sizeof(ends));
	put16(frame + 34, 40000);
	put16(frame + 36, 443);
	put16(frame + 38, step->seq >> 16);
	put16(frame + 40, step->seq);
	frame[46] = 0x50;
	frame[47] = step->flags;
	put16(frame + 48, 1000);
	for (uint32_t i = 0; i < step->payload; i++)
		frame[HEADERS + i] = (uint8_t)(step->seq + i);
}

static int script_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct script *script = (struct script *)base;
	const struct step *step = &script->steps[script->at];

	(void)capacity;
	if (script->at++ == script->count)
		return 0;
	base->idle_ns = step->time_ns;
	if (step->says != 1)
		return step->says;
	make_frame(script->frame, step);
	frames[0] = (struct fx_frame){ .bytes = script->frame,
				       .time_ns = step->time_ns,
				       .captured_bytes = HEADERS + step->payload,
				       .wire_bytes = HEADERS + step->payload,
				       .linktype = 1,
				       .segment_bytes = step->segment_bytes };
	return 1;
}

static void script_stats(const fx_source *base, struct fx_source_stats *out)
{
	(void)base;
	*out = (struct fx_source_stats){ 0 };
}

static void script_close(fx_source *base)
{
	free(base);
}

static const struct fx_source_ops script_ops = {
	.name = "script",
	.next = script_next,
	.stats = script_stats,
	.close = script_close,
};

static struct flow_run play(const struct step *steps, int count, uint32_t rows)
{
	struct script *script = calloc(1, sizeof(*script));
	fx_stream_options options;

	*script = (struct script){ .base = { .ops = &script_ops }, .steps = steps, .count = count };
	fx_stream_options_default(&options);
	options.keep_sequences = 1;
	options.tick_ns = 100 * (uint64_t)MS;
	return run_flows(&script->base, &options, rows);
}

/* A super-frame of `payload` octets, and the same as the packets that it was on the wire. */
static void check_super_frame(uint32_t payload, uint32_t segment, uint8_t flags)
{
	struct step joined[2] = { { 1, BEGIN, 0, 0, 99, SYN },
				  { 1, BEGIN + MS, payload, segment, 100, flags } };
	struct step cut[STEPS_MAX] = { joined[0] };
	struct flow_run a, b;
	int count = 1;

	for (uint32_t at = 0; at < payload; at += segment) {
		uint32_t left = payload - at;

		cut[count] = joined[1];
		cut[count].segment_bytes = 0;
		cut[count].payload = left > segment ? segment : left;
		cut[count].seq = 100 + at;
		cut[count].flags =
			(uint8_t)(flags & ~(left > segment ? FIN | PSH : 0) & ~(at ? CWR : 0));
		count++;
	}
	a = play(joined, 2, 64);
	b = play(cut, count, 64);
	expect(a.stats.packets, (uint64_t)count, "packets on the wire");
	expect(a.stats.bytes, b.stats.bytes, "octets on the wire");
	expect(a.rows[FX_FLOWS], 1, "one flow");
	expect((uint64_t)is_accounted(&a), 1, "each packet in its flow and its interval");
	for (int table = FX_FLOWS; table <= FX_INTERVALS; table++) {
		const fx_column *columns;
		int columns_count = fx_table_columns(table, &columns);

		for (int i = 0; i < columns_count; i++)
			expect(a.sums[table][i], b.sums[table][i], columns[i].name);
	}
}

static void check_silence(void)
{
	struct step steps[STEPS_MAX];
	struct flow_run run;
	int count = 0;

	for (int i = 0; i < 20; i++)
		steps[count++] = (struct step){ FX_SOURCE_IDLE, BEGIN + i * 20 * MS, 0, 0, 0, 0 };
	steps[count++] = (struct step){ 1, BEGIN + 410 * MS, 0, 0, 99, SYN };
	for (int i = 21; i < 40; i++)
		steps[count++] = (struct step){ FX_SOURCE_IDLE, BEGIN + i * 20 * MS, 0, 0, 0, 0 };
	for (uint32_t rows = 1; rows <= 64; rows *= 8) {
		run = play(steps, count, rows);
		expect(run.ticks, 8, "a tick each 100 ms, and the one of the end");
		expect(run.stats.packets, 1, "one packet");
		expect((uint64_t)run.stats.first_ns, (uint64_t)(BEGIN + 410 * MS),
		       "time without packets is not of the capture");
		expect(run.stats.out_of_order, 0, "nothing is late");
	}
	run = play(steps, 20, 64);
	expect(run.ticks, 4, "ticks without any packet at all");
}

/* The reader was away for a second: ticks nobody saw are not made up. */
static void check_absence(void)
{
	static const struct step steps[] = { { FX_SOURCE_IDLE, BEGIN, 0, 0, 0, 0 },
					     { FX_SOURCE_IDLE, BEGIN + SECOND, 0, 0, 0, 0 },
					     { FX_SOURCE_IDLE, BEGIN + SECOND, 0, 0, 0, 0 } };
	struct flow_run run = play(steps, 3, 64);

	expect(run.ticks, 2, "the tick that was open, and the present one");
}

/* Time that the source takes back opens no tick a second time. */
static void check_time_taken_back(void)
{
	static const struct step steps[] = {
		{ FX_SOURCE_IDLE, BEGIN, 0, 0, 0, 0 },
		{ FX_SOURCE_IDLE, BEGIN + 101 * MS, 0, 0, 0, 0 },
		{ FX_SOURCE_IDLE, BEGIN + 90 * MS, 0, 0, 0, 0 },
		{ 1, BEGIN + 110 * MS, 0, 0, 99, SYN },
	};
	struct flow_run run = play(steps, 4, 64);

	expect(run.ticks, 2, "a tick is closed once");
}

/* A flow goes on over a step of the clock: one row ends at the step, the next one begins after it. */
static void check_clock_step(int64_t by)
{
	const struct step steps[] = {
		{ 1, BEGIN, 0, 0, 99, SYN },
		{ 1, BEGIN + 10 * MS, 100, 0, 100, ACK },
		{ FX_SOURCE_CLOCK_STEP, 0, 0, 0, 0, 0 },
		{ FX_SOURCE_IDLE, BEGIN + by + 15 * MS, 0, 0, 0, 0 },
		{ 1, BEGIN + by + 20 * MS, 100, 0, 200, ACK },
		{ FX_SOURCE_IDLE, BEGIN + by + 300 * MS, 0, 0, 0, 0 },
	};
	struct flow_run run = play(steps, 6, 64);

	expect(run.stats.clock_steps, 1, "one step");
	expect(run.rows[FX_FLOWS], 2, "a flow before and one after it");
	expect(run.stats.packets, 3, "no packet lost");
	expect((uint64_t)is_accounted(&run), 1, "each packet in its flow and its interval");
	expect(run.stats.out_of_order, 0, "nothing is late");
	expect((uint64_t)run.stats.first_ns, (uint64_t)(by < 0 ? BEGIN + by + 20 * MS : BEGIN),
	       "the lowest stamp");
}

int main(void)
{
	check_super_frame(1448 * 3, 1448, ACK | PSH);
	check_super_frame(1448 * 40 + 7, 1448, ACK | PSH | CWR);
	check_super_frame(1448 * 2 - 1, 1448, ACK | FIN);
	check_super_frame(1448, 1448, ACK);
	check_super_frame(10, 1448, ACK);
	check_silence();
	check_absence();
	check_time_taken_back();
	check_clock_step(3600 * SECOND);
	check_clock_step(-3600 * SECOND);
	check_clock_step(150 * MS);
	check_clock_step(-150 * MS);
	if (failures)
		return 1;
	puts("live streams: ok");
	return 0;
}
