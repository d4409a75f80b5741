/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_XDP sockets as a source of frames: a ring of free places that we fill and the kernel empties, and one of frames the
 * other way, for each queue of an interface. The kernel never sees these frames: for mirror ports alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture_clock.h"
#include "fx/error.h"
#include "fx/parse_link.h"
#include "fx/source.h"
#include "fx/xsk_stamp.h"

enum {
	QUEUES_MAX = 64,
	WAIT_MS = 20,
	SLACK_NS =
		5000000, /* a frame is stamped, and then its driver goes on for so long at most */
	LOOK_NS = 500000000
};

struct ring {
	uint32_t *producer, *consumer, *flags;
	void *entries;
	uint32_t mask;
	uint32_t at; /* our own position */
	void *memory;
	size_t bytes;
};

struct queue {
	fx_xsk_port port;
	fx_port_state state;
	struct ring fill, frames;
	uint8_t *memory;
	size_t memory_bytes;
	uint32_t ready; /* frames of the ring that we know of and have not taken */
	int64_t head_ns;
};

struct taken {
	uint64_t place;
	uint32_t queue;
};

struct xdp_source {
	struct fx_source base;
	struct fx_capture_clock clock;
	struct queue *queues;
	int count;
	int stop_fd;
	int is_stopping;
	int64_t stopped_ns; /* what came until then is still handed out */
	int64_t looked_ns;
	int out_count;
	struct taken out[FX_BLOCK_FRAMES]; /* handed out: places to be given back */
	struct pollfd polls[QUEUES_MAX + 1];
};

static void give_back(struct queue *q, uint64_t place)
{
	uint64_t *places = q->fill.entries;

	places[q->fill.at++ & q->fill.mask] = place & ~(uint64_t)(q->port.frame_bytes - 1);
}

static void publish(struct queue *q)
{
	__atomic_store_n(q->fill.producer, q->fill.at, __ATOMIC_RELEASE);
	if (__atomic_load_n(q->fill.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP)
		recvfrom(q->port.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void give_all_back(struct xdp_source *source)
{
	uint64_t touched = 0;

	for (int i = 0; i < source->out_count; i++) {
		give_back(&source->queues[source->out[i].queue], source->out[i].place);
		touched |= 1ull << source->out[i].queue;
	}
	source->out_count = 0;
	for (int i = 0; i < source->count; i++)
		if (touched >> i & 1)
			publish(&source->queues[i]);
}

static const struct xdp_desc *head_of(const struct queue *q)
{
	const struct xdp_desc *frames = q->frames.entries;

	return &frames[q->frames.at & q->frames.mask];
}

/* Whether the kernel's entry lies within the memory; it always does. */
static int is_whole(const struct queue *q, const struct xdp_desc *d)
{
	uint64_t in_place = d->addr & (q->port.frame_bytes - 1);

	return d->addr < q->memory_bytes && in_place >= sizeof(struct fx_xsk_stamp) &&
	       in_place + d->len <= q->port.frame_bytes;
}

/* Knows of the queue's next frame and when it came. */
static void look_ahead(const struct xdp_source *source, struct queue *q)
{
	struct fx_xsk_stamp stamp;

	if (!q->ready)
		q->ready = __atomic_load_n(q->frames.producer, __ATOMIC_ACQUIRE) - q->frames.at;
	if (!q->ready)
		return;
	q->head_ns = source->clock.now_ns;
	if (!is_whole(q, head_of(q)))
		return;
	memcpy(&stamp, q->memory + head_of(q)->addr - sizeof(stamp), sizeof(stamp));
	if (stamp.magic == FX_XSK_MAGIC)
		q->head_ns = (int64_t)stamp.time_ns;
}

static int take_frames(struct xdp_source *source, struct fx_frame *frames, int capacity)
{
	int count = 0;

	for (int i = 0; i < source->count; i++)
		look_ahead(source, &source->queues[i]);
	while (source->out_count < FX_BLOCK_FRAMES && count < capacity) {
		struct queue *oldest = NULL;
		const struct xdp_desc *d;

		for (int i = 0; i < source->count; i++) {
			struct queue *q = &source->queues[i];

			if (q->ready && q->head_ns <= source->stopped_ns &&
			    (!oldest || q->head_ns < oldest->head_ns))
				oldest = q;
		}
		if (!oldest)
			break;
		d = head_of(oldest);
		source->out[source->out_count++] =
			(struct taken){ d->addr, (uint32_t)(oldest - source->queues) };
		if (is_whole(oldest, d))
			frames[count++] = (struct fx_frame){
				.bytes = oldest->memory + d->addr,
				.time_ns = oldest->head_ns + source->clock.offset_ns,
				.captured_bytes = d->len,
				.wire_bytes = d->len,
				.linktype = FX_LINKTYPE_ETHERNET,
			};
		oldest->frames.at++;
		oldest->ready--;
		oldest->state.packets++;
		look_ahead(source, oldest);
	}
	for (int i = 0; i < source->count; i++)
		__atomic_store_n(source->queues[i].frames.consumer, source->queues[i].frames.at,
				 __ATOMIC_RELEASE);
	return count;
}

static void say(fx_port_state *state, int alive, const char *words)
{
	state->alive = alive;
	snprintf(state->reason, sizeof(state->reason), "%s%s", *words ? state->interface : "",
		 words);
}

static void look_at_queue(struct queue *q)
{
	struct xdp_statistics counted = { 0 };
	socklen_t size = sizeof(counted);
	struct ifreq request;

	if (getsockopt(q->port.fd, SOL_XDP, XDP_STATISTICS, &counted, &size) == 0) {
		q->state.drops = counted.rx_dropped + counted.rx_ring_full;
		q->state.freezes = counted.rx_fill_ring_empty_descs;
	}
	memset(&request, 0, sizeof(request));
	request.ifr_ifindex = q->port.ifindex;
	if (ioctl(q->port.look_fd, SIOCGIFNAME, &request) < 0) {
		say(&q->state, 0, " is gone");
		return;
	}
	memcpy(q->state.interface, request.ifr_name, sizeof(q->state.interface));
	if (ioctl(q->port.look_fd, SIOCGIFFLAGS, &request) < 0 || !(request.ifr_flags & IFF_UP))
		say(&q->state, 0, " is down");
	else if (!(request.ifr_flags & IFF_RUNNING))
		say(&q->state, 1, " has no carrier");
	else
		say(&q->state, 1, "");
}

static int wait_for_frames(struct xdp_source *source)
{
	int count = source->count;

	for (int i = 0; i < count; i++)
		source->polls[i].fd = source->queues[i].state.alive ? source->queues[i].port.fd :
								      -1;
	if (poll(source->polls, (nfds_t)count + 1, WAIT_MS) < 0 && errno != EINTR)
		return fx_fail(-errno, "cannot wait for frames: %s", strerror(errno));
	for (int i = 0; i < count; i++)
		if (source->polls[i].fd >= 0 && source->polls[i].revents & ~POLLIN)
			look_at_queue(&source->queues[i]);
	return 0;
}

static int source_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct xdp_source *source = (struct xdp_source *)base;
	int count, code;

	give_all_back(source);
	for (int waited = 0;; waited = 1) {
		fx_capture_clock_look(&source->clock);
		if (source->clock.now_ns - source->looked_ns > LOOK_NS) {
			source->looked_ns = source->clock.now_ns;
			for (int i = 0; i < source->count; i++)
				look_at_queue(&source->queues[i]);
		}
		if (source->clock
			    .has_stepped) { /* stamps are monotonic: what comes is of the new offset */
			source->clock.offset_ns = source->clock.next_offset_ns;
			source->clock.has_stepped = 0;
			base->stamps_minus_monotonic_ns = source->clock.offset_ns;
			return FX_SOURCE_CLOCK_STEP;
		}
		if (__atomic_load_n(&source->is_stopping, __ATOMIC_ACQUIRE) &&
		    source->stopped_ns == INT64_MAX)
			source->stopped_ns = source->clock.now_ns;
		count = take_frames(source, frames, capacity);
		if (count)
			return count;
		if (source->out_count) /* nothing of it was whole */
			give_all_back(source);
		if (source->stopped_ns != INT64_MAX)
			return 0;
		if (waited)
			break;
		code = wait_for_frames(source);
		if (code < 0)
			return code;
	}
	base->idle_ns = source->clock.now_ns - SLACK_NS + source->clock.offset_ns;
	return FX_SOURCE_IDLE;
}

static void source_stats(const fx_source *base, struct fx_source_stats *out)
{
	const struct xdp_source *source = (const struct xdp_source *)base;

	*out = (struct fx_source_stats){ 0 };
	for (int i = 0; i < source->count; i++) {
		look_at_queue(&source->queues[i]);
		out->kernel_drops += source->queues[i].state.drops;
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
	struct xdp_source *source = (struct xdp_source *)base;
	const uint64_t one = 1;

	__atomic_store_n(&source->is_stopping, 1, __ATOMIC_RELEASE);
	if (write(source->stop_fd, &one, sizeof(one)) < 0)
		return; /* it counts to 2^64: the reader has enough to wake up for */
}

static int source_ports(fx_source *base, fx_port_state *out, int capacity)
{
	struct xdp_source *source = (struct xdp_source *)base;

	for (int i = 0; i < source->count && i < capacity; i++) {
		look_at_queue(&source->queues[i]);
		out[i] = source->queues[i].state;
	}
	return source->count;
}

static void unmap(struct ring *ring)
{
	if (ring->memory)
		munmap(ring->memory, ring->bytes);
}

static void source_close(fx_source *base)
{
	struct xdp_source *source = (struct xdp_source *)base;

	for (int i = 0; source->queues && i < source->count; i++) {
		struct queue *q = &source->queues[i];

		unmap(&q->fill);
		unmap(&q->frames);
		if (q->memory)
			munmap(q->memory, q->memory_bytes);
		if (q->port.fd >= 0)
			close(q->port.fd);
		if (q->port.look_fd >= 0)
			close(q->port.look_fd);
	}
	if (source->stop_fd >= 0)
		close(source->stop_fd);
	free(source->queues);
	free(source);
}

static const struct fx_source_ops xdp_ops = {
	.name = "af_xdp",
	.next = source_next,
	.stats = source_stats,
	.damages = source_damages,
	.close = source_close,
	.stop = source_stop,
	.ports = source_ports,
};

static int map_ring(const struct queue *q, const struct xdp_ring_offset *at, size_t entry_bytes,
		    off_t offset, struct ring *out)
{
	uint8_t *memory;

	out->bytes = at->desc + q->port.frames * entry_bytes;
	memory = mmap(NULL, out->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      q->port.fd, offset);
	if (memory == MAP_FAILED)
		return fx_fail(-errno, "%s: cannot map its rings: %s", q->port.interface,
			       strerror(errno));
	out->memory = memory;
	out->producer = (uint32_t *)(memory + at->producer);
	out->consumer = (uint32_t *)(memory + at->consumer);
	out->flags = (uint32_t *)(memory + at->flags);
	out->entries = memory + at->desc;
	out->mask = q->port.frames - 1;
	return 0;
}

static int map_queue(const fx_xsk_port *port, struct queue *q)
{
	struct xdp_mmap_offsets at;
	socklen_t size = sizeof(at);
	void *memory;
	int code;

	q->port = *port;
	q->port.fd = fcntl(port->fd, F_DUPFD_CLOEXEC, 3);
	q->port.look_fd = fcntl(port->look_fd, F_DUPFD_CLOEXEC, 3);
	memcpy(q->state.interface, port->interface, sizeof(q->state.interface));
	q->state.ifindex = port->ifindex;
	if (q->port.fd < 0 || q->port.look_fd < 0 ||
	    getsockopt(q->port.fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &size) < 0 || size != sizeof(at))
		return fx_fail(-EBADF, "%s: descriptor %d is no AF_XDP socket", port->interface,
			       port->fd);
	q->memory_bytes = (size_t)port->frames * port->frame_bytes;
	memory =
		mmap(NULL, q->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, port->memory_fd, 0);
	if (memory == MAP_FAILED)
		return fx_fail(-errno, "%s: cannot map its frames: %s", port->interface,
			       strerror(errno));
	q->memory = memory;
	code = map_ring(q, &at.fr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_FILL_RING, &q->fill);
	if (code == 0)
		code = map_ring(q, &at.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING, &q->frames);
	if (code < 0)
		return code;
	if (*q->fill.producer)
		return fx_fail(-EALREADY, "%s: queue %u has been read before", port->interface,
			       port->queue);
	for (uint64_t i = 0; i < port->frames; i++)
		give_back(q, i * port->frame_bytes);
	publish(q);
	look_at_queue(q);
	return 0;
}

int fx_source_open_xsk(const fx_xsk_port *ports, int count, fx_source **out)
{
	struct xdp_source *source;

	if (count < 1 || count > QUEUES_MAX)
		return fx_fail(-EINVAL, "%d queues: a stream has 1 to %d", count, QUEUES_MAX);
	source = calloc(1, sizeof(*source));
	if (!source)
		return fx_fail(-ENOMEM, "no memory for the source");
	source->base.ops = &xdp_ops;
	source->stopped_ns = INT64_MAX;
	source->queues = calloc((size_t)count, sizeof(*source->queues));
	source->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!source->queues || source->stop_fd < 0) {
		source_close(&source->base);
		return fx_fail(-ENOMEM, "no memory for the source");
	}
	for (int i = 0; i < count; i++) {
		int code;

		source->count++;
		source->queues[i].port.fd = source->queues[i].port.look_fd = -1;
		source->polls[i].events = POLLIN;
		code = map_queue(&ports[i], &source->queues[i]);
		if (code < 0) {
			source_close(&source->base);
			return code;
		}
	}
	source->polls[count] = (struct pollfd){ .fd = source->stop_fd, .events = POLLIN };
	fx_capture_clock_start(&source->clock, fx_clock_read, NULL);
	source->base.stamps_minus_monotonic_ns = source->clock.offset_ns;
	*out = &source->base;
	return 0;
}
