/* SPDX-License-Identifier: Apache-2.0 */
/* Where frames come from: the seam between capture and parsing. */
#ifndef FX_SOURCE_H
#define FX_SOURCE_H
#include "fx/abi.h"

enum { FX_BLOCK_FRAMES = 64 }; /* frames a source hands out at once, at most */

/* A frame as the source sees it; bytes stay valid until the source's next call. */
struct fx_frame {
	const uint8_t *bytes;
	int64_t time_ns;
	uint32_t captured_bytes;
	uint32_t wire_bytes;
	uint16_t iface;
	uint16_t linktype; /* LINKTYPE_ number of the pcap registry */
};

struct fx_source_stats {
	uint64_t kernel_drops;
	uint64_t absurd_lengths;
};

struct fx_source_ops {
	const char *name;
	/* Fills up to `capacity` frames: how many, 0 = end of input, -errno. */
	int (*next)(fx_source *source, struct fx_frame *frames, int capacity);
	void (*stats)(const fx_source *source, struct fx_source_stats *out);
	int (*damages)(const fx_source *source, const fx_damage **out);
	void (*close)(fx_source *source);
};

/* First member of every source. */
struct fx_source {
	const struct fx_source_ops *ops;
};

#endif
