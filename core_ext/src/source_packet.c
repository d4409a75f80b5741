/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of packet sockets as one source of frames, in order of their stamps. A frame is handed out when no ring can
 * have an older one: an empty ring holds the others back for as long as the kernel may keep a frame to itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture_clock.h"
#include "fx/bytes.h"
#include "fx/error.h"
#include "packet_port.h"
#include "ring.h"

enum {
	WAIT_MS = 20, /* for frames; then the stream is told what time it is */
	LOOK_NS = 500000000 /* how often interfaces and drop counters are looked at */
};

struct port {
	fx_packet_port socket;
	fx_port_state state;
	struct fx_ring ring;
	struct fx_ring_clock clock;
	int has_head; /* head_ns is the time of its next frame */
	int64_t head_ns;
	uint64_t frames_before; /* of the rings that were in this place */
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
	struct port *ports;
	struct pollfd *polls; /* of the ports, and the event last */
	int port_count;
	int stop_fd;
	int is_stopping;
	int64_t stopped_ns; /* what was captured until then is still handed out */
	int64_t looked_ns;
	uint64_t broken_blocks; /* of rings that were replaced */
	struct old_ring *old_rings;
};

/* Adds what the kernel counted since it was last asked, which is how its counters work. */
static void read_drops(struct port *port)
{
	struct tpacket_stats_v3 counted;
	socklen_t size = sizeof(counted);

	if (getsockopt(port->socket.fd, SOL_PACKET, PACKET_STATISTICS, &counted, &size) < 0)
		return;
	__atomic_fetch_add(&port->state.drops, counted.tp_drops, __ATOMIC_RELAXED);
	__atomic_fetch_add(&port->state.freezes, counted.tp_freeze_q_cnt, __ATOMIC_RELAXED);
}

static void look_at_port(struct packet_source *source, int number)
{
	struct port *port = &source->ports[number];

	read_drops(port);
	fx_packet_port_look(&port->socket, &port->state);
}

static void look_at_ports(struct packet_source *source)
{
	source->looked_ns = source->clock.now_ns;
	for (int i = 0; i < source->port_count; i++)
		look_at_port(source, i);
}

/* Whether the interface shows what it sends to itself a second time. */
static int is_loopback(const fx_packet_port *socket)
{
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	request.ifr_ifindex = socket->ifindex;
	return ioctl(socket->fd, SIOCGIFNAME, &request) == 0 &&
	       ioctl(socket->fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_LOOPBACK;
}

static void shut_port(struct port *port)
{
	if (port->ring.memory)
		munmap(port->ring.memory, port->socket.ring_bytes);
	if (port->socket.fd >= 0)
		close(port->socket.fd);
	port->ring.memory = NULL;
	port->socket.fd = -1;
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

/* Fills `out` with its own copy of the descriptor and the ring mapped. */
static int map_port(const fx_packet_port *socket, uint16_t iface, struct port *out)
{
	void *memory;

	memset(out, 0, sizeof(*out));
	out->socket = *socket;
	out->socket.interface[sizeof(out->socket.interface) - 1] = 0;
	memcpy(out->state.interface, out->socket.interface, sizeof(out->state.interface));
	out->socket.fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, 3);
	if (out->socket.fd < 0)
		return fx_fail(-errno, "%s: descriptor %d: %s", out->socket.interface, socket->fd,
			       strerror(errno));
	memory = mmap(NULL, socket->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, out->socket.fd,
		      0);
	if (memory == MAP_FAILED) {
		int code = fx_fail(-errno, "%s: cannot map the ring: %s", out->socket.interface,
				   strerror(errno));

		shut_port(out);
		return code;
	}
	out->ring = (struct fx_ring){ .iface = iface, .linktype = (uint16_t)socket->linktype };
	out->ring.skips_outgoing = is_loopback(&out->socket);
	fx_ring_start(&out->ring, memory, (uint32_t)(socket->ring_bytes / FX_RING_BLOCK_BYTES));
	return 0;
}

/* Looks for the next frame of a port; an empty ring says up to when nothing is to come. */
static void look_ahead(struct packet_source *source, struct port *port)
{
	int64_t wall_ns;

	port->has_head = fx_ring_peek(&port->ring, &wall_ns);
	if (port->has_head)
		port->head_ns = fx_clock_monotonic(&source->clock, &port->clock, wall_ns);
	else
		fx_clock_ring_is_empty(&source->clock, &port->clock, FX_RING_HORIZON_NS);
}

/* The port with the oldest frame, or NULL; *until: up to when it may hand out. */
static struct port *oldest_port(struct packet_source *source, int64_t *until)
{
	struct port *oldest = NULL;
	int64_t others_ns = INT64_MAX;

	for (int i = 0; i < source->port_count; i++) {
		struct port *port = &source->ports[i];
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
		struct port *port = oldest_port(source, &until);

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
		const struct port *port = &source->ports[i];

		if (port->has_head && port->head_ns < until)
			until = port->head_ns;
	}
	return until;
}

static int wait_for_frames(struct packet_source *source)
{
	int count = source->port_count;

	for (int i = 0; i < count; i++) {
		source->polls[i].fd = source->ports[i].state.alive ? source->ports[i].socket.fd :
								     -1;
		/* A ring that is held back has its frames already. */
		if (source->ports[i].has_head)
			source->polls[i].fd = -1;
	}
	source->polls[count].fd = source->is_stopping ? -1 : source->stop_fd;
	if (poll(source->polls, (nfds_t)count + 1, WAIT_MS) < 0 && errno != EINTR)
		return fx_fail(-errno, "cannot wait for packets: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		if (source->polls[i].fd >= 0 && source->polls[i].revents & ~POLLIN)
			look_at_port(source, i);
	}
	return 0;
}

static void look_at_clock(struct packet_source *source)
{
	fx_capture_clock_look(&source->clock);
	if (__atomic_load_n(&source->is_stopping, __ATOMIC_ACQUIRE) == 1) {
		source->stopped_ns = source->clock.now_ns;
		source->is_stopping = 2;
	}
	if (source->clock.now_ns - source->looked_ns > LOOK_NS)
		look_at_ports(source);
}

/* Frames up to a change of the clock, and the step itself when they are through. */
static int next_of_clock(struct packet_source *source, struct fx_frame *frames, int capacity)
{
	int64_t last_ns = source->stopped_ns;
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
		if (silent_until(source) >= source->stopped_ns)
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
		read_drops(&source->ports[i]);
		out->kernel_drops += source->ports[i].state.drops;
		out->absurd_lengths += source->ports[i].ring.broken_blocks;
	}
}

static int source_damages(const fx_source *base, const fx_damage **out)
{
	(void)base;
	*out = NULL;
	return 0;
}

static void source_stop(fx_source *base)
{
	struct packet_source *source = (struct packet_source *)base;
	const uint64_t one = 1;
	int running = 0;

	__atomic_compare_exchange_n(&source->is_stopping, &running, 1, 0, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
	if (write(source->stop_fd, &one, sizeof(one)) < 0)
		return; /* it counts to 2^64: the reader has enough to wake up for */
}

static int source_ports(fx_source *base, fx_port_state *out, int capacity)
{
	struct packet_source *source = (struct packet_source *)base;

	for (int i = 0; i < source->port_count && i < capacity; i++) {
		struct port *port = &source->ports[i];

		look_at_port(source, i);
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
		shut_port(&source->ports[i]);
	if (source->stop_fd >= 0)
		close(source->stop_fd);
	free(source->ports);
	free(source->polls);
	free(source);
}

static const struct fx_source_ops packet_ops = {
	.name = "packet",
	.next = source_next,
	.stats = source_stats,
	.damages = source_damages,
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
	source->stopped_ns = INT64_MAX;
	source->ports = calloc((size_t)count, sizeof(*source->ports));
	source->polls = calloc((size_t)count + 1, sizeof(*source->polls));
	source->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!source->ports || !source->polls || source->stop_fd < 0) {
		source_close(&source->base);
		return NULL;
	}
	for (int i = 0; i <= count; i++)
		source->polls[i].events = POLLIN;
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
		code = map_port(&ports[i], (uint16_t)i, &source->ports[i]);
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
	struct port fresh, *port;
	struct old_ring *old;
	int code;

	if (base->ops != &packet_ops || number < 0 || number >= source->port_count)
		return fx_fail(-EINVAL, "there is no port %d to be replaced", number);
	old = malloc(sizeof(*old));
	if (!old)
		return fx_fail(-ENOMEM, "no memory to replace port %d", number);
	code = map_port(socket, (uint16_t)number, &fresh);
	if (code < 0) {
		free(old);
		return code;
	}
	port = &source->ports[number];
	read_drops(port);
	fresh.clock.change = source->clock.changes;
	fresh.frames_before = port->frames_before + port->ring.frames;
	fresh.state.drops = port->state.drops;
	fresh.state.freezes = port->state.freezes;
	source->broken_blocks += port->ring.broken_blocks;
	*old = (struct old_ring){ source->old_rings, port->ring.memory, port->socket.ring_bytes };
	source->old_rings = old;
	port->ring.memory = NULL;
	shut_port(port);
	*port = fresh;
	look_at_port(source, number);
	return 0;
}

int fx_source_ports(fx_source *source, fx_port_state *out, int capacity)
{
	return source->ops->ports ? source->ops->ports(source, out, capacity) : 0;
}

void fx_source_stop(fx_source *source)
{
	if (source->ops->stop)
		source->ops->stop(source);
}
