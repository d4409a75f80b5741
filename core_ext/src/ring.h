/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of a TPACKET_V3 ring (linux/if_packet.h): a walk over memory that the kernel fills, block after block. */
#ifndef FX_RING_H
#define FX_RING_H
#include "fx/source.h"

enum {
	FX_RING_BLOCK_BYTES = 128 << 10,
	/*
	 * So much of a frame is kept: whole frames of any Ethernet with an MTU of 1500, tags and tunnels around them
	 * included, and of super-frames (up to 64 KiB) the first segment.
	 */
	FX_RING_SNAP_BYTES = 2048,
	/* The kernel gives a block away when it is full, or after this time if there is anything in it, ... */
	FX_RING_RETIRE_MS = 10,
	/* ... which it notices up to once more as long afterwards: what is older than this is here or was lost. */
	FX_RING_HORIZON_NS = 30000000
};

struct fx_ring {
	uint8_t *memory;
	uint32_t block_count;
	uint32_t block; /* the one that `at` is in, or the next one to come */
	uint32_t left; /* frames in it from `at` on */
	uint32_t held; /* blocks before it whose frames have been handed out */
	uint8_t *at;
	uint8_t *end;
	uint16_t iface;
	uint16_t linktype;
	int skips_outgoing; /* each frame comes a second time, as an incoming one */
	uint64_t frames; /* handed out */
	uint64_t broken_blocks; /* contradict themselves; the rest of them was left out */
};

/* `memory` holds `block_count` blocks of FX_RING_BLOCK_BYTES. */
void fx_ring_start(struct fx_ring *ring, uint8_t *memory, uint32_t block_count);

/* Gives the blocks back whose frames have been handed out: those frames are not valid any more. */
void fx_ring_release(struct fx_ring *ring);

/* Whether there is a frame; then its stamp by the wall clock. */
int fx_ring_peek(struct fx_ring *ring, int64_t *wall_ns);

/* The frame that fx_ring_peek() saw, its VLAN tag put back; all but time_ns. */
void fx_ring_take(struct fx_ring *ring, struct fx_frame *frame);

#endif
