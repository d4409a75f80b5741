/* SPDX-License-Identifier: Apache-2.0 */
/* Where frames come from: the seam between capture and parsing. */
#ifndef FX_SOURCE_H
#define FX_SOURCE_H
#include "fx/abi.h"

enum { FX_BLOCK_FRAMES = 64 }; /* frames a source hands out at once, at most */

/* What next() of a live source returns when there is no frame; no -errno is so low. */
enum fx_source_pause {
	FX_SOURCE_IDLE = -5000, /* nothing up to source->idle_ns */
	FX_SOURCE_CLOCK_STEP = -5001 /* later stamps are by another setting of the clock */
};

/* A frame as the source sees it; bytes stay valid until the source's next call. */
struct fx_frame {
	const uint8_t *bytes;
	int64_t time_ns;
	uint32_t captured_bytes;
	uint32_t wire_bytes;
	uint16_t iface;
	uint16_t linktype; /* LINKTYPE_ number of the pcap registry */
	uint16_t
		segment_bytes; /* payload of each packet that a super-frame was on the wire; 0 = one packet */
	uint16_t way; /* enum fx_way */
};

/* Which way a frame went, where the source knows. */
enum fx_way { FX_WAY_UNKNOWN, FX_WAY_IN, FX_WAY_OUT /* this machine sent it */ };

struct fx_source_stats {
	uint64_t kernel_drops;
	uint64_t absurd_lengths;
};

struct fx_source_ops {
	const char *name;
	/* Fills up to `capacity` frames: how many, 0 = end of input, -errno, enum fx_source_pause. */
	int (*next)(fx_source *source, struct fx_frame *frames, int capacity);
	void (*stats)(const fx_source *source, struct fx_source_stats *out);
	int (*damages)(const fx_source *source, const fx_damage **out); /* NULL: there are none */
	void (*close)(fx_source *source);
	/* Of live sources; NULL in others. Any thread may call stop(): next() soon says that input is over. */
	void (*stop)(fx_source *source);
	int (*ports)(fx_source *source, fx_port_state *out, int capacity);
};

/* First member of every source. */
struct fx_source {
	const struct fx_source_ops *ops;
	int64_t idle_ns; /* when next() last said FX_SOURCE_IDLE: no earlier stamp is to come */
	int64_t stamps_minus_monotonic_ns; /* of live sources: a stamp less CLOCK_MONOTONIC at that time */
};

#endif
