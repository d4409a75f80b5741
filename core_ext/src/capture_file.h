/* SPDX-License-Identifier: Apache-2.0 */
/* One open capture file of either format: records out of an input. */
#ifndef FX_CAPTURE_FILE_H
#define FX_CAPTURE_FILE_H
#include "fx/source.h"
#include "input.h"

enum {
	FX_RECORD_BYTES_MAX = (256 << 10) + 4096, /* libpcap's largest snapshot, and a bit */
	FX_WIRE_BYTES_MAX = 1 << 20 /* twice the largest super-frame (BIG TCP) */
};

struct fx_capture_file;

/* Up to `capacity` frames: how many, 0 = end of file, -errno = damaged at file->damage_offset. */
typedef int (*fx_capture_next)(struct fx_capture_file *file, struct fx_frame *frames, int capacity);

/* An interface description of pcapng. */
struct fx_pcapng_interface {
	uint64_t units_per_second; /* of its stamps; a power of 2 or 10 */
	uint64_t unit_ns; /* nanoseconds in a unit, 0 = not a whole number */
	uint64_t unit_stamp_max; /* the last stamp that fits 63 bits of nanoseconds */
	int64_t offset_ns;
	uint64_t drops;
	uint32_t snaplen;
	uint16_t linktype;
	uint16_t number; /* within the file */
};

struct fx_capture_file {
	struct fx_input *input;
	fx_capture_next next;
	uint64_t damage_offset;
	uint64_t absurd_lengths;
	int swapped; /* byte order of the file (pcapng: section) is not ours */

	/* pcap */
	uint32_t fraction_ns; /* what one unit of the stamp's second half is */
	uint16_t linktype;

	/* pcapng */
	struct fx_pcapng_interface *interfaces;
	uint32_t interface_count, interface_room;
	uint32_t interface_base; /* interfaces of the sections before */
	int64_t last_time_ns;
	uint64_t drops; /* of the sections before */
};

/* Opens a capture file; -errno with words that name it. `path` must stay. */
int fx_capture_file_open(const char *path, struct fx_capture_file *file);
void fx_capture_file_close(struct fx_capture_file *file);
uint64_t fx_capture_file_drops(const struct fx_capture_file *file);

/* Each format's part: 1 = begins with its magic and is opened, 0 = does not, -errno. */
int fx_pcap_open(struct fx_capture_file *file);
int fx_pcapng_open(struct fx_capture_file *file);

/* Marks damage at `offset`; returns code. Words are the caller's. */
static inline int fx_capture_damaged(struct fx_capture_file *file, uint64_t offset, int code)
{
	file->damage_offset = offset;
	return code;
}

static inline uint32_t fx_file32(const struct fx_capture_file *file, const uint8_t *at)
{
	uint32_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return file->swapped ? __builtin_bswap32(value) : value;
}

static inline uint16_t fx_file16(const struct fx_capture_file *file, const uint8_t *at)
{
	uint16_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return file->swapped ? __builtin_bswap16(value) : value;
}

/*
 * A wire length of 0, or that no link carries, or below what was captured, becomes the captured
 * length.
 */
static inline uint32_t fx_sane_wire(struct fx_capture_file *file, uint32_t wire, uint32_t captured)
{
	if (__builtin_expect(wire - 1 >= FX_WIRE_BYTES_MAX || wire < captured, 0)) {
		file->absurd_lengths++;
		return captured;
	}
	return wire;
}

#endif
