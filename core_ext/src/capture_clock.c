/* SPDX-License-Identifier: Apache-2.0 */
/* Wall stamps into stamps that do not jump. */
#include "capture_clock.h"

#include <time.h>

enum { READS = 4, READ_NS = 20000 /* longer: we were interrupted between two clocks */ };

static int64_t now_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct fx_clock_now fx_clock_read(void *owner)
{
	struct fx_clock_now now = { 0, 0 };

	(void)owner;
	for (int i = 0; i < READS; i++) {
		int64_t before = now_of(CLOCK_MONOTONIC), wall = now_of(CLOCK_REALTIME);
		int64_t took = now_of(CLOCK_MONOTONIC) - before;

		now = (struct fx_clock_now){ wall, before + took / 2 };
		if (took < READ_NS)
			break;
	}
	return now;
}

static int64_t distance(int64_t a, int64_t b)
{
	return a < b ? b - a : a - b;
}

void fx_capture_clock_start(struct fx_capture_clock *clock,
			    struct fx_clock_now (*read)(void *owner), void *owner)
{
	struct fx_clock_now now = read(owner);

	*clock = (struct fx_capture_clock){
		.read = read,
		.owner = owner,
		.now_ns = now.monotonic_ns,
		.wall_minus_monotonic = now.wall_ns - now.monotonic_ns,
		.offset_ns = now.wall_ns - now.monotonic_ns,
	};
}

void fx_capture_clock_look(struct fx_capture_clock *clock)
{
	struct fx_clock_now now = clock->read(clock->owner);
	int64_t difference = now.wall_ns - now.monotonic_ns;

	if (distance(difference, clock->wall_minus_monotonic) > FX_CLOCK_NOISE_NS) {
		clock->before = clock->wall_minus_monotonic;
		clock->wall_minus_monotonic = difference;
		clock->looked_ns = clock->now_ns;
		clock->changed_ns = now.monotonic_ns;
		clock->changes++;
		if (clock->has_stepped ||
		    distance(difference, clock->offset_ns) > FX_CLOCK_STEP_NS) {
			clock->next_offset_ns = difference;
			clock->has_stepped = 1;
		}
	}
	clock->now_ns = now.monotonic_ns;
}

int64_t fx_clock_monotonic(const struct fx_capture_clock *clock, struct fx_ring_clock *ring,
			   int64_t wall_ns)
{
	int64_t time_ns = wall_ns - clock->wall_minus_monotonic;

	if (ring->change != clock->changes) {
		int64_t least = clock->looked_ns > ring->last_ns ? clock->looked_ns : ring->last_ns;
		int64_t old_ns = wall_ns - clock->before;

		/* By the clock as it is now it would be older than the frame before, or from the future. */
		if ((time_ns < least - FX_CLOCK_NOISE_NS ||
		     time_ns > clock->now_ns + FX_CLOCK_NOISE_NS) &&
		    old_ns < clock->changed_ns + FX_CLOCK_NOISE_NS)
			time_ns = old_ns;
		else
			ring->change = clock->changes;
	}
	ring->last_ns = time_ns;
	return time_ns;
}

void fx_clock_ring_is_empty(const struct fx_capture_clock *clock, struct fx_ring_clock *ring,
			    int64_t horizon_ns)
{
	if (clock->now_ns - clock->changed_ns > horizon_ns)
		ring->change = clock->changes;
}
