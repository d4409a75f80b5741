/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bpf/tap.bpf.c and src/shunt.c share: the two maps of shunted directions, and what a super-frame was on the wire.
 *
 * A shunted direction of a flow is a key in the map `shunted` (a hash; its value is a number) and the slot of that
 * number in the map `slots` (an array that user space maps into its memory). User space chooses the slot, writes its
 * mode and then puts the key; the filter only looks up, and counts in the slot exactly the frames that it withholds:
 * every packet is either in the ring or in a slot, never in both. To retire, user space writes FX_SHUNT_PASS into the
 * slot, drops the key, and reads the slot when no program that saw the old mode can be running any more.
 */
#ifndef FX_SHUNT_H
#define FX_SHUNT_H
#include "fx/bytes.h"
#include "fx/hash.h"

/* One direction: the ends in the order of the packet, and fx_flow_tail.forward of it. */
struct fx_shunt_key {
	fx_addr src;
	fx_addr dst;
	fx_u64 tail;
};

enum fx_shunt_mode {
	FX_SHUNT_PASS = 0, /* as if there were no key */
	FX_SHUNT_HEADERS = 1, /* the frame up to its payload */
	FX_SHUNT_COUNT = 2 /* withheld and counted; SYN, FIN and RST pass, up to the payload */
};

/* One cache line. Counters only grow; who reads them keeps what they were. */
struct fx_shunt_slot {
	fx_u64 mode; /* enum fx_shunt_mode, written by user space alone */
	fx_u64 packets; /* on the wire, and << 32 those with payload: differences of the word are exact */
	fx_u64 bytes; /* IP octets of those packets */
	fx_u64 payload_bytes;
	fx_u64 last_ns; /* CLOCK_MONOTONIC of the last one */
	fx_u64 unused[3];
} __attribute__((aligned(64)));

/* Ports whose packets are always whole: a bit each in `whole`, UDP's 65,536 and then TCP's. */
enum { FX_WHOLE_UDP = 0, FX_WHOLE_TCP = 1024, FX_WHOLE_WORDS = 2048 };

enum { FX_SEGMENTS_MAX = 8192 }; /* 512 KiB in segments of 64 octets */

/* How many packets a frame of TCP or UDP was on the wire, payload cut into `segment_bytes` (0 = not at all). */
FX_INLINE fx_u32 fx_wire_segments(fx_u32 payload_bytes, fx_u32 segment_bytes)
{
	fx_u32 count;

	if (segment_bytes == 0 || payload_bytes <= segment_bytes)
		return 1;
	count = (payload_bytes + segment_bytes - 1) / segment_bytes;
	return count < FX_SEGMENTS_MAX ? count : FX_SEGMENTS_MAX;
}

_Static_assert(sizeof(struct fx_shunt_key) == 40, "no padding: it is a key");
_Static_assert(sizeof(struct fx_shunt_slot) == 64, "one line");

#endif
