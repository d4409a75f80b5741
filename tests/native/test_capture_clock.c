/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps of a live stream while somebody sets the wall clock: the clocks are the test's. */
#include "capture_clock.h"

#include <inttypes.h>
#include <stdio.h>

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define BEGIN (1700000000 * SECOND) /* wall clock at monotonic 0 */

static struct {
	int64_t monotonic_ns;
	int64_t offset_ns;
} world;

static int failures;

static struct fx_clock_now read_world(void *owner)
{
	(void)owner;
	return (struct fx_clock_now){ world.monotonic_ns + world.offset_ns, world.monotonic_ns };
}

static int64_t wall(int64_t monotonic_ns, int64_t offset_ns)
{
	return monotonic_ns + offset_ns;
}

static void expect_time(int64_t is, int64_t wanted, const char *what)
{
	if (is == wanted)
		return;
	fprintf(stderr, "%s: %" PRId64 " instead of %" PRId64 "\n", what, is, wanted);
	failures++;
}

static struct fx_capture_clock start(void)
{
	struct fx_capture_clock clock;

	world.monotonic_ns = 50 * SECOND;
	world.offset_ns = BEGIN;
	fx_capture_clock_start(&clock, read_world, NULL);
	return clock;
}

/* A frame each millisecond; at 1 s the clock is set; each look finds what the kernel held back for 12 ms. */
static void check_step(int64_t by, int has_idle_second, const char *what)
{
	struct fx_capture_clock clock = start();
	struct fx_ring_clock ring = { 0, 0 };
	int64_t begin = world.monotonic_ns, stepped = begin + SECOND, next = begin;

	for (int64_t now = begin; now < begin + 3 * SECOND; now += 12 * MS) {
		world.monotonic_ns = now;
		world.offset_ns = now < stepped ? BEGIN : BEGIN + by;
		fx_capture_clock_look(&clock);
		for (; next <= now; next += MS) {
			int64_t stamp = wall(next, next < stepped ? BEGIN : BEGIN + by);

			if (has_idle_second && next >= stepped - 500 * MS &&
			    next < stepped + 500 * MS)
				continue;
			expect_time(fx_clock_monotonic(&clock, &ring, stamp), next, what);
		}
		fx_clock_ring_is_empty(&clock, &ring, 30 * MS);
	}
	expect_time(clock.changes, 1, "one change seen");
	expect_time(clock.has_stepped, by > FX_CLOCK_STEP_NS || by < -FX_CLOCK_STEP_NS,
		    "a step only beyond 100 ms");
	if (clock.has_stepped)
		expect_time(clock.next_offset_ns, BEGIN + by, "the new offset is the clock's");
	expect_time(clock.offset_ns, BEGIN, "the old offset holds until the stream is told");
}

/* A clock that was set back by an hour: a frame that the kernel still holds, and one after a pause. */
static void check_silent_ring(void)
{
	struct fx_capture_clock clock = start();
	struct fx_ring_clock ring = { 0, 0 };
	int64_t begin = world.monotonic_ns, stepped = begin + SECOND;
	int64_t held = stepped - 2 * MS, late;

	world.monotonic_ns = stepped - 10 * MS;
	fx_capture_clock_look(&clock);
	world.monotonic_ns = stepped + MS;
	world.offset_ns -= 3600 * SECOND;
	fx_capture_clock_look(&clock);
	fx_clock_ring_is_empty(&clock, &ring, 30 * MS);
	world.monotonic_ns = stepped + 12 * MS;
	fx_capture_clock_look(&clock);
	expect_time(fx_clock_monotonic(&clock, &ring, wall(held, BEGIN)), held,
		    "a frame of before the step that comes after it");
	world.monotonic_ns = stepped + 50 * MS;
	fx_capture_clock_look(&clock);
	fx_clock_ring_is_empty(&clock, &ring, 30 * MS);
	late = stepped +
	       3600 * SECOND / 2; /* the reader was stopped after it had looked at the clock */
	expect_time(fx_clock_monotonic(&clock, &ring, wall(late, world.offset_ns)), late,
		    "a frame long after the step");
}

/* A frame that comes between the look at the clocks and the look into the ring. */
static void check_just_now(int64_t by, int64_t after)
{
	struct fx_capture_clock clock = start();
	struct fx_ring_clock ring = { 0, 0 };
	int64_t now = world.monotonic_ns + SECOND;

	world.monotonic_ns = now;
	world.offset_ns += by;
	fx_capture_clock_look(&clock);
	expect_time(fx_clock_monotonic(&clock, &ring, wall(now + after, BEGIN + by)), now + after,
		    "a frame of just now");
}

/* 60 ms twice: the second one takes the stamps 120 ms away from the clock. */
static void check_drift(void)
{
	struct fx_capture_clock clock = start();

	world.monotonic_ns += SECOND;
	world.offset_ns += 60 * MS;
	fx_capture_clock_look(&clock);
	expect_time(clock.has_stepped, 0, "60 ms are no step");
	world.monotonic_ns += SECOND;
	world.offset_ns += 60 * MS;
	fx_capture_clock_look(&clock);
	expect_time(clock.has_stepped, 1, "another 60 ms are one");
	expect_time(clock.next_offset_ns, BEGIN + 120 * MS, "to where the clock is");
}

static void check_noise(void)
{
	struct fx_capture_clock clock = start();

	for (int i = 0; i < 1000; i++) {
		world.monotonic_ns += MS;
		world.offset_ns = BEGIN + i % 7 * 100000;
		fx_capture_clock_look(&clock);
	}
	expect_time(clock.changes, 0, "reading clocks late is no change");
}

static void check_real_clocks(void)
{
	struct fx_clock_now a = fx_clock_read(NULL), b = fx_clock_read(NULL);

	expect_time(b.monotonic_ns >= a.monotonic_ns, 1, "the machine's clock runs");
	expect_time(a.wall_ns > BEGIN - 1000000000 * SECOND, 1, "since 1970");
}

int main(void)
{
	static const int64_t steps[] = { 30 * MS,   50 * MS,	    90 * MS,
					 200 * MS,  3600 * SECOND,  -50 * MS,
					 -200 * MS, -3600 * SECOND, -40 * 365 * 86400 * SECOND };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		check_step(steps[i], 0, "a frame's time over a step");
		check_step(steps[i], 1, "a frame's time after a silent step");
	}
	check_silent_ring();
	check_just_now(3600 * SECOND, MS / 2);
	check_just_now(-3600 * SECOND, MS / 2);
	check_just_now(3600 * SECOND, 50 * MS); /* the reader did not run meanwhile */
	check_drift();
	check_noise();
	check_real_clocks();
	if (failures)
		return 1;
	puts("capture clock: ok");
	return 0;
}
