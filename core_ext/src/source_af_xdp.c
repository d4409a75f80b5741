/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of an AF_XDP port as one source of frames, in order of their stamps as far as there are any. The kernel
 * never sees these frames: for mirror ports alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture_clock.h"
#include "fx/error.h"
#include "fx/parse_link.h"
#include "fx/source.h"
#include "fx/xsk_stamp.h"
#include "source_live.h"
#include "xsk_queue.h"

enum {
	QUEUES_MAX = 64,
	SLACK_NS =
		5000000, /* a frame is stamped, and then its driver goes on for so long at most */
	LOOK_NS = 500000000
};

struct taken {
	uint64_t place;
	uint32_t queue;
};

struct xdp_source {
	struct fx_source base;
	struct fx_capture_clock clock;
	struct fx_xsk_queue *queues;
	int count;
	struct fx_xsk_queue *old; /* replaced: their frames are valid until next() is called */
	int old_count;
	struct fx_live live;
	int64_t looked_ns;
	int out_count;
	struct taken out[FX_BLOCK_FRAMES]; /* handed out: places to be given back */
};

static void unmap_queues(struct fx_xsk_queue *queues, int count)
{
	for (int i = 0; i < count; i++)
		fx_xsk_unmap(&queues[i]);
	free(queues);
}

static void unmap_old(struct xdp_source *source)
{
	unmap_queues(source->old, source->old_count);
	source->old = NULL;
	source->old_count = 0;
}

static void give_all_back(struct xdp_source *source)
{
	uint64_t touched = 0;

	for (int i = 0; i < source->out_count; i++) {
		fx_xsk_give_back(&source->queues[source->out[i].queue], source->out[i].place);
		touched |= 1ull << source->out[i].queue;
	}
	source->out_count = 0;
	for (int i = 0; i < source->count; i++)
		if (touched >> i & 1)
			fx_xsk_publish(&source->queues[i]);
}

/* Knows of the queue's next frame and when it came. */
static void look_ahead(const struct xdp_source *source, struct fx_xsk_queue *q)
{
	struct fx_xsk_stamp stamp;

	if (!q->ready)
		q->ready = __atomic_load_n(q->frames.producer, __ATOMIC_ACQUIRE) - q->frames.at;
	if (!q->ready)
		return;
	q->head_ns = source->clock.now_ns;
	if (!fx_xsk_is_whole(q, fx_xsk_head(q)))
		return;
	memcpy(&stamp, q->memory + fx_xsk_head(q)->addr - sizeof(stamp), sizeof(stamp));
	if (stamp.magic == FX_XSK_MAGIC)
		q->head_ns = (int64_t)stamp.time_ns;
}

static int take_frames(struct xdp_source *source, struct fx_frame *frames, int capacity)
{
	int count = 0;

	for (int i = 0; i < source->count; i++)
		look_ahead(source, &source->queues[i]);
	while (source->out_count < FX_BLOCK_FRAMES && count < capacity) {
		struct fx_xsk_queue *oldest = NULL;
		const struct xdp_desc *d;

		for (int i = 0; i < source->count; i++) {
			struct fx_xsk_queue *q = &source->queues[i];

			if (q->ready && q->head_ns <= source->live.stopped_ns &&
			    (!oldest || q->head_ns < oldest->head_ns))
				oldest = q;
		}
		if (!oldest)
			break;
		d = fx_xsk_head(oldest);
		source->out[source->out_count++] =
			(struct taken){ d->addr, (uint32_t)(oldest - source->queues) };
		if (fx_xsk_is_whole(oldest, d))
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

static int wait_for_frames(struct xdp_source *source)
{
	int code;

	for (int i = 0; i < source->live.count; i++) {
		const struct fx_xsk_queue *q = i < source->count ? &source->queues[i] : NULL;

		source->live.polls[i].fd = q && q->state.alive ? q->port.fd : -1;
	}
	code = fx_live_wait(&source->live, "frames");
	for (int i = 0; code == 0 && i < source->count; i++)
		if (fx_live_is_odd(&source->live, i))
			fx_xsk_look(&source->queues[i]);
	return code;
}

static int source_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct xdp_source *source = (struct xdp_source *)base;
	int count, code;

	unmap_old(source);
	give_all_back(source);
	for (int waited = 0;; waited = 1) {
		fx_capture_clock_look(&source->clock);
		if (source->clock.now_ns - source->looked_ns > LOOK_NS) {
			source->looked_ns = source->clock.now_ns;
			for (int i = 0; i < source->count; i++)
				fx_xsk_look(&source->queues[i]);
		}
		if (source->clock
			    .has_stepped) { /* stamps are monotonic: what comes is of the new offset */
			source->clock.offset_ns = source->clock.next_offset_ns;
			source->clock.has_stepped = 0;
			base->stamps_minus_monotonic_ns = source->clock.offset_ns;
			return FX_SOURCE_CLOCK_STEP;
		}
		fx_live_look(&source->live, source->clock.now_ns);
		count = take_frames(source, frames, capacity);
		if (count)
			return count;
		if (source->out_count) /* nothing of it was whole */
			give_all_back(source);
		if (source->live.stopped_ns != INT64_MAX)
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
		fx_xsk_look(&source->queues[i]);
		out->kernel_drops += source->queues[i].state.drops;
	}
}

static void source_stop(fx_source *base)
{
	fx_live_stop(&((struct xdp_source *)base)->live);
}

static int source_ports(fx_source *base, fx_port_state *out, int capacity)
{
	struct xdp_source *source = (struct xdp_source *)base;

	for (int i = 0; i < source->count && i < capacity; i++) {
		fx_xsk_look(&source->queues[i]);
		out[i] = source->queues[i].state;
	}
	return source->count;
}

static void source_close(fx_source *base)
{
	struct xdp_source *source = (struct xdp_source *)base;

	unmap_old(source);
	unmap_queues(source->queues, source->count);
	fx_live_close(&source->live);
	free(source);
}

static const struct fx_source_ops xdp_ops = {
	.name = "af_xdp",
	.next = source_next,
	.stats = source_stats,
	.close = source_close,
	.stop = source_stop,
	.ports = source_ports,
};

/* Maps all queues or none. */
static int map_queues(const fx_xsk_port *ports, int count, struct fx_xsk_queue **out)
{
	struct fx_xsk_queue *queues;

	if (count < 1 || count > QUEUES_MAX)
		return fx_fail(-EINVAL, "%d queues: a stream has 1 to %d", count, QUEUES_MAX);
	queues = calloc((size_t)count, sizeof(*queues));
	if (!queues)
		return fx_fail(-ENOMEM, "no memory for the source");
	for (int i = 0; i < count; i++) {
		int code = fx_xsk_map(&ports[i], &queues[i]);

		if (code < 0) {
			unmap_queues(queues, i + 1);
			return code;
		}
	}
	*out = queues;
	return 0;
}

int fx_source_open_xsk(const fx_xsk_port *ports, int count, fx_source **out)
{
	struct xdp_source *source;
	struct fx_xsk_queue *queues;
	int code = map_queues(ports, count, &queues);

	if (code < 0)
		return code;
	source = calloc(1, sizeof(*source));
	if (!source) {
		unmap_queues(queues, count);
		return fx_fail(-ENOMEM, "no memory for the source");
	}
	source->base.ops = &xdp_ops;
	source->queues = queues;
	source->count = count;
	if (fx_live_open(&source->live, QUEUES_MAX) < 0) {
		source_close(&source->base);
		return fx_fail(-ENOMEM, "no memory for the source");
	}
	fx_capture_clock_start(&source->clock, fx_clock_read, NULL);
	source->base.stamps_minus_monotonic_ns = source->clock.offset_ns;
	*out = &source->base;
	return 0;
}

int fx_source_replace_xsk(fx_source *base, const fx_xsk_port *ports, int count)
{
	struct xdp_source *source = (struct xdp_source *)base;
	struct fx_xsk_queue *fresh;
	int code;

	if (base->ops != &xdp_ops)
		return fx_fail(-EINVAL, "there is no AF_XDP port to be replaced");
	code = map_queues(ports, count, &fresh);
	if (code < 0)
		return code;
	for (int i = 0; i < source->count; i++) {
		fx_xsk_look(&source->queues[i]);
		fresh->state.packets += source->queues[i].state.packets;
		fresh->drops_before += source->queues[i].state.drops;
		fresh->freezes_before += source->queues[i].state.freezes;
	}
	if (source->old) { /* replaced twice since next(): nothing of these was handed out */
		unmap_queues(source->queues, source->count);
	} else {
		source->old = source->queues;
		source->old_count = source->count;
	}
	source->queues = fresh;
	source->count = count;
	source->out_count = 0; /* the old ones get nothing back */
	fx_xsk_look(fresh);
	return 0;
}
