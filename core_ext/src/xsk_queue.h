/* SPDX-License-Identifier: Apache-2.0 */
/* An AF_XDP socket's memory: a ring of free places that we fill and the kernel empties, and one of frames the other way. */
#ifndef FX_XSK_QUEUE_H
#define FX_XSK_QUEUE_H
#include <linux/if_xdp.h>

#include "fx/abi.h"

struct fx_xsk_ring {
	uint32_t *producer, *consumer, *flags;
	void *entries;
	uint32_t mask;
	uint32_t at; /* our own position */
	void *memory;
	size_t bytes;
};

struct fx_xsk_queue {
	fx_xsk_port port;
	fx_port_state state;
	uint64_t drops_before, freezes_before; /* of queues that this one has replaced */
	struct fx_xsk_ring fill, frames;
	uint8_t *memory;
	size_t memory_bytes;
	uint32_t ready; /* frames of the ring that we know of and have not taken */
	int64_t head_ns;
};

/* Fills `q` with its own copies of the port's descriptors, and lets the kernel have all places. Whatever it returns, fx_xsk_unmap() is due. */
int fx_xsk_map(const fx_xsk_port *port, struct fx_xsk_queue *q);
void fx_xsk_unmap(struct fx_xsk_queue *q);
/* How the interface is, and what was dropped. */
void fx_xsk_look(struct fx_xsk_queue *q);

/* The frame at that address has been read; the kernel gets its place when it is published. */
void fx_xsk_give_back(struct fx_xsk_queue *q, uint64_t address);
void fx_xsk_publish(struct fx_xsk_queue *q);
/* The next frame, of those that are ready; and whether the kernel's entry lies within the memory, which it always does. */
const struct xdp_desc *fx_xsk_head(const struct fx_xsk_queue *q);
int fx_xsk_is_whole(const struct fx_xsk_queue *q, const struct xdp_desc *d);

#endif
