/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stamps that do not jump with the wall clock. The kernel stamps frames by the wall clock; the difference between it
 * and CLOCK_MONOTONIC changes only when somebody sets the wall clock (slewing moves both). So a stamp less that
 * difference is monotonic, and a stream's stamp is the monotonic time plus one offset, the difference when the stream
 * began. When the difference has moved away from the offset by more than FX_CLOCK_STEP_NS the offset is taken anew:
 * that is a step, of which the stream is told.
 */
#ifndef FX_CAPTURE_CLOCK_H
#define FX_CAPTURE_CLOCK_H
#include <stdint.h>

#define FX_CLOCK_STEP_NS ((int64_t)100000000)
#define FX_CLOCK_NOISE_NS ((int64_t)1000000) /* reading two clocks takes time */

struct fx_clock_now {
	int64_t wall_ns;
	int64_t monotonic_ns;
};

struct fx_capture_clock {
	struct fx_clock_now (*read)(void *owner); /* a seam: tests set the clock */
	void *owner;
	int64_t now_ns; /* monotonic, when last looked */
	int64_t wall_minus_monotonic; /* now */
	int64_t before; /* the same before the last change */
	int64_t looked_ns; /* monotonic, when it was last seen as before */
	int64_t changed_ns; /* monotonic, when the change was seen */
	int64_t offset_ns; /* of the stream's stamps */
	int64_t next_offset_ns;
	uint32_t changes;
	int has_stepped; /* next_offset_ns holds for what is later than changed_ns */
};

/* Of each ring: whether its frames are stamped by the clock as it was before the last change. */
struct fx_ring_clock {
	uint32_t change; /* number of the last change that this ring is through with */
	int64_t last_ns; /* monotonic stamp of the frame before */
};

struct fx_clock_now fx_clock_read(void *owner);

void fx_capture_clock_start(struct fx_capture_clock *clock,
			    struct fx_clock_now (*read)(void *owner), void *owner);

/* Looks at the clocks, and whether somebody has set the wall clock. */
void fx_capture_clock_look(struct fx_capture_clock *clock);

/* The monotonic time of a stamp of the ring's next frame. */
int64_t fx_clock_monotonic(const struct fx_capture_clock *clock, struct fx_ring_clock *ring,
			   int64_t wall_ns);

/* The ring was empty when the clocks were last looked at: what comes is younger. */
void fx_clock_ring_is_empty(const struct fx_capture_clock *clock, struct fx_ring_clock *ring,
			    int64_t horizon_ns);

#endif
