/* SPDX-License-Identifier: Apache-2.0 */
/* A packet socket with its ring mapped: one of those that source_packet.c reads. */
#ifndef FX_RING_PORT_H
#define FX_RING_PORT_H
#include "capture_clock.h"
#include "fx/abi.h"
#include "ring.h"

struct fx_ring_port {
	fx_packet_port socket;
	fx_port_state state;
	struct fx_ring ring;
	struct fx_ring_clock clock;
	int has_head; /* head_ns is the time of its next frame */
	int64_t head_ns;
	uint64_t frames_before; /* of the rings that were in this place */
};

/* Fills `out` with its own copy of the descriptor and the ring mapped: 0, or -errno with words. */
int fx_ring_port_map(const fx_packet_port *socket, uint16_t iface, struct fx_ring_port *out);
void fx_ring_port_shut(struct fx_ring_port *port);

/* Adds what the kernel dropped since it was last asked, which is how its counters work. */
void fx_ring_port_read_drops(struct fx_ring_port *port);

/* The same, and how the interface is. */
void fx_ring_port_look(struct fx_ring_port *port);

#endif
