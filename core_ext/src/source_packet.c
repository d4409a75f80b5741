/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of packet sockets as one source of frames, in order of their stamps. A frame is handed out when no ring can
 * have an older one: an empty ring holds the others back for as long as the kernel may keep a frame to itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "fx/error.h"
#include "fx/source.h"
#include "packet_port.h"
#include "ring_port.h"
#include "source_live.h"

enum {
	LOOK_NS = 500000000 /* how often interfaces and drop counters are looked at */
};

/* The memory of a ring that was replaced: its frames are valid until next() is called. */
struct old_ring {
	struct old_ring *next;
	void *memory;
	uint64_t bytes;
};

struct packet_source {
	struct fx_source base;
	struct fx_capture_clock clock;
	struct fx_ring_port *ports;
	struct fx_live live;
	int port_count;
	int64_t looked_ns;
	uint64_t broken_blocks; /* of rings that were replaced */
	struct old_ring *old_rings;
};

static void look_at_ports(struct packet_source *source)
{
	source->looked_ns = source->clock.now_ns;
	for (int i = 0; i < source->port_count; i++)
		fx_ring_port_look(&source->ports[i]);
}

static void unmap_old_rings(struct packet_source *source)
{
	while (source->old_rings) {
		struct old_ring *old = source->old_rings;

		source->old_rings = old->next;
		munmap(old->memory, old->bytes);
		free(old);
	}
}

/* Looks for the next frame of a port; an empty ring says up to when nothing is to come. */
static void look_ahead(struct packet_source *source, struct fx_ring_port *port)
{
	int64_t wall_ns;

	port->has_head = fx_ring_peek(&port->ring, &wall_ns);
	if (port->has_head)
		port->head_ns = fx_clock_monotonic(&source->clock, &port->clock, wall_ns);
	else
		fx_clock_ring_is_empty(&source->clock, &port->clock, FX_RING_HORIZON_NS);
}

/* The port with the oldest frame, or NULL; *until: up to when it may hand out. */
static struct fx_ring_port *oldest_port(struct packet_source *source, int64_t *until)
{
	struct fx_ring_port *oldest = NULL;
	int64_t others_ns = INT64_MAX;

	for (int i = 0; i < source->port_count; i++) {
		struct fx_ring_port *port = &source->ports[i];
		int64_t from_ns = port->has_head ? port->head_ns :
						   source->clock.now_ns - FX_RING_HORIZON_NS;

		if (port->has_head && (!oldest || port->head_ns < oldest->head_ns)) {
			if (oldest && oldest->head_ns < others_ns)
				others_ns = oldest->head_ns;
			oldest = port;
		} else if (from_ns < others_ns) {
			others_ns = from_ns;
		}
	}
	*until = others_ns;
	return oldest && oldest->head_ns <= others_ns ? oldest : NULL;
}

/* Frames in order of their time, as many as there are for sure: how many. */
static int take_frames(struct packet_source *source, struct fx_frame *frames, int capacity,
		       int64_t last_ns)
{
	int count = 0;

	for (int i = 0; i < source->port_count; i++)
		look_ahead(source, &source->ports[i]);
	while (count < capacity) {
		int64_t until;
		struct fx_ring_port *port = oldest_port(source, &until);

		until = until < last_ns ? until : last_ns;
		if (!port || port->head_ns > until)
			break;
		while (count < capacity && port->has_head && port->head_ns <= until) {
			frames[count].time_ns = port->head_ns + source->clock.offset_ns;
			fx_ring_take(&port->ring, &frames[count++]);
			look_ahead(source, port);
		}
	}
	return count;
}

/* Up to when there is nothing to come, by the monotonic clock. */
static int64_t silent_until(const struct packet_source *source)
{
	int64_t until = source->clock.now_ns - FX_RING_HORIZON_NS;

	for (int i = 0; i < source->port_count; i++) {
		const struct fx_ring_port *port = &source->ports[i];

		if (port->has_head && port->head_ns < until)
			until = port->head_ns;
	}
	return until;
}

static int wait_for_frames(struct packet_source *source)
{
	int code;

	for (int i = 0; i < source->port_count; i++) {
		const struct fx_ring_port *port = &source->ports[i];

		/* A ring that is held back has its frames already. */
		source->live.polls[i].fd = port->state.alive && !port->has_head ? port->socket.fd :
										  -1;
	}
	code = fx_live_wait(&source->live, "packets");
	for (int i = 0; code == 0 && i < source->port_count; i++)
		if (fx_live_is_odd(&source->live, i))
			fx_ring_port_look(&source->ports[i]);
	return code;
}

static void look_at_clock(struct packet_source *source)
{
	fx_capture_clock_look(&source->clock);
	fx_live_look(&source->live, source->clock.now_ns);
	if (source->clock.now_ns - source->looked_ns > LOOK_NS)
		look_at_ports(source);
}

/* Frames up to a change of the clock, and the step itself when they are through. */
static int next_of_clock(struct packet_source *source, struct fx_frame *frames, int capacity)
{
	int64_t last_ns = source->live.stopped_ns;
	int count;

	if (source->clock.has_stepped && source->clock.changed_ns < last_ns)
		last_ns = source->clock.changed_ns;
	count = take_frames(source, frames, capacity, last_ns);
	if (count || !source->clock.has_stepped || silent_until(source) < source->clock.changed_ns)
		return count;
	source->clock.offset_ns = source->clock.next_offset_ns;
	source->clock.has_stepped = 0;
	source->base.stamps_minus_monotonic_ns = source->clock.offset_ns;
	return FX_SOURCE_CLOCK_STEP;
}

static int source_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct packet_source *source = (struct packet_source *)base;
	int code;

	unmap_old_rings(source);
	for (int i = 0; i < source->port_count; i++)
		fx_ring_release(&source->ports[i].ring);
	for (int waited = 0;; waited = 1) {
		look_at_clock(source);
		code = next_of_clock(source, frames, capacity);
		if (code)
			return code;
		if (silent_until(source) >= source->live.stopped_ns)
			return 0;
		if (waited)
			break;
		code = wait_for_frames(source);
		if (code < 0)
			return code;
	}
	base->idle_ns = silent_until(source) + source->clock.offset_ns;
	return FX_SOURCE_IDLE;
}

static void source_stats(const fx_source *base, struct fx_source_stats *out)
{
	const struct packet_source *source = (const struct packet_source *)base;

	*out = (struct fx_source_stats){ .absurd_lengths = source->broken_blocks };
	for (int i = 0; i < source->port_count; i++) {
		fx_ring_port_read_drops(&source->ports[i]);
		out->kernel_drops += source->ports[i].state.drops;
		out->absurd_lengths += source->ports[i].ring.broken_blocks;
	}
}

static void source_stop(fx_source *base)
{
	fx_live_stop(&((struct packet_source *)base)->live);
}

static int source_ports(fx_source *base, fx_port_state *out, int capacity)
{
	struct packet_source *source = (struct packet_source *)base;

	for (int i = 0; i < source->port_count && i < capacity; i++) {
		struct fx_ring_port *port = &source->ports[i];

		fx_ring_port_look(&source->ports[i]);
		out[i] = port->state;
		out[i].packets = port->frames_before + port->ring.frames;
	}
	return source->port_count;
}

static void source_close(fx_source *base)
{
	struct packet_source *source = (struct packet_source *)base;

	unmap_old_rings(source);
	for (int i = 0; source->ports && i < source->port_count; i++)
		fx_ring_port_shut(&source->ports[i]);
	fx_live_close(&source->live);
	free(source->ports);
	free(source);
}

static const struct fx_source_ops packet_ops = {
	.name = "packet",
	.next = source_next,
	.stats = source_stats,
	.close = source_close,
	.stop = source_stop,
	.ports = source_ports,
};

/* A source of `count` ports that are not mapped yet. */
static struct packet_source *new_source(int count)
{
	struct packet_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->base.ops = &packet_ops;
	source->ports = calloc((size_t)count, sizeof(*source->ports));
	if (fx_live_open(&source->live, count) < 0 || !source->ports) {
		source_close(&source->base);
		return NULL;
	}
	fx_capture_clock_start(&source->clock, fx_clock_read, NULL);
	source->base.stamps_minus_monotonic_ns = source->clock.offset_ns;
	return source;
}

int fx_source_open_packet(const fx_packet_port *ports, int count, fx_source **out)
{
	struct packet_source *source;
	int code = fx_packet_ports_check(ports, count);

	if (code < 0)
		return code;
	source = new_source(count);
	if (!source)
		return fx_fail(-ENOMEM, "no memory for the source");
	for (int i = 0; i < count; i++) {
		code = fx_ring_port_map(&ports[i], (uint16_t)i, &source->ports[i]);
		if (code < 0) {
			source_close(&source->base);
			return code;
		}
		source->port_count++;
	}
	look_at_ports(source);
	*out = &source->base;
	return 0;
}

int fx_source_replace_port(fx_source *base, int number, const fx_packet_port *socket)
{
	struct packet_source *source = (struct packet_source *)base;
	struct fx_ring_port fresh, *port;
	struct old_ring *old;
	int code;

	if (base->ops != &packet_ops || number < 0 || number >= source->port_count)
		return fx_fail(-EINVAL, "there is no port %d to be replaced", number);
	old = malloc(sizeof(*old));
	if (!old)
		return fx_fail(-ENOMEM, "no memory to replace port %d", number);
	code = fx_ring_port_map(socket, (uint16_t)number, &fresh);
	if (code < 0) {
		free(old);
		return code;
	}
	port = &source->ports[number];
	fx_ring_port_read_drops(port);
	fresh.clock.change = source->clock.changes;
	fresh.frames_before = port->frames_before + port->ring.frames;
	fresh.state.drops = port->state.drops;
	fresh.state.freezes = port->state.freezes;
	source->broken_blocks += port->ring.broken_blocks;
	*old = (struct old_ring){ source->old_rings, port->ring.memory, port->socket.ring_bytes };
	source->old_rings = old;
	port->ring.memory = NULL;
	fx_ring_port_shut(port);
	*port = fresh;
	fx_ring_port_look(port);
	return 0;
}
