/* SPDX-License-Identifier: Apache-2.0 */
/* The classic pcap format: micro- and nanoseconds, both byte orders. */
#include <errno.h>
#include <string.h>

#include "capture_file.h"
#include "fx/error.h"
#include "fx/parse_link.h"

enum { FILE_HEADER = 24, RECORD_HEADER = 16 };

/* A record is not whole in the window: 1 = now it is, 0 = end of file, -errno. */
static int await_record(struct fx_capture_file *file)
{
	struct fx_input *input = file->input;
	int whole = fx_input_need(input, RECORD_HEADER);
	size_t left = (size_t)(input->end - input->at);
	uint32_t captured;

	if (whole == 0 && left == 0)
		return 0;
	if (whole == 0)
		return fx_fail(fx_capture_damaged(file, fx_input_offset(input), -EIO),
			       "the file ends within a record header (%zu of %d octets)", left,
			       RECORD_HEADER);
	if (whole < 0)
		return fx_capture_damaged(file, fx_input_offset(input), whole);
	captured = fx_file32(file, input->at + 8);
	if (captured > FX_RECORD_BYTES_MAX)
		return fx_fail(fx_capture_damaged(file, fx_input_offset(input), -EIO),
			       "a record of %u octets (at most %d are possible)", captured,
			       FX_RECORD_BYTES_MAX);
	whole = fx_input_need(input, RECORD_HEADER + captured);
	if (whole == 0)
		return fx_fail(fx_capture_damaged(file, fx_input_offset(input), -EIO),
			       "the file ends within a record (%zu of %u octets)",
			       (size_t)(input->end - input->at) - RECORD_HEADER, captured);
	if (whole < 0)
		return fx_capture_damaged(file, fx_input_offset(input), whole);
	return 1;
}

static inline __attribute__((always_inline)) int read_records(struct fx_capture_file *file,
							      struct fx_frame *frames, int capacity,
							      int swapped)
{
	struct fx_input *input = file->input;
	const uint32_t fraction_ns = file->fraction_ns;
	const uint16_t linktype = file->linktype;
	const uint8_t *at = input->at;
	const ptrdiff_t window = input->end - at;
	const uint8_t *last = window >= RECORD_HEADER ? at + (window - RECORD_HEADER) : NULL;
	int count = 0;

	while (count < capacity && at <= last) {
		uint32_t header[4];

		memcpy(header, at, sizeof(header));
		if (swapped)
			for (int i = 0; i < 4; i++)
				header[i] = __builtin_bswap32(header[i]);
		if (header[2] > FX_RECORD_BYTES_MAX || header[2] > last - at)
			break;
		frames[count++] = (struct fx_frame){
			.bytes = at + RECORD_HEADER,
			.time_ns =
				(int64_t)header[0] * 1000000000 + (int64_t)header[1] * fraction_ns,
			.captured_bytes = header[2],
			.wire_bytes = fx_sane_wire(file, header[3], header[2]),
			.iface = 0,
			.linktype = linktype,
		};
		at += RECORD_HEADER + header[2];
	}
	input->at = at;
	return count;
}

static int pcap_next(struct fx_capture_file *file, struct fx_frame *frames, int capacity)
{
	for (;;) {
		int count = file->swapped ? read_records(file, frames, capacity, 1) :
					    read_records(file, frames, capacity, 0);
		int more;

		if (count)
			return count;
		more = await_record(file);
		if (more <= 0)
			return more;
	}
}

static int unknown_linktype(struct fx_capture_file *file, struct fx_frame *frames, int capacity)
{
	(void)frames;
	(void)capacity;
	return fx_fail(fx_capture_damaged(file, FILE_HEADER - 4, -ENOTSUP),
		       "link type %u of the pcap registry is not known here", file->linktype);
}

static int read_magic(struct fx_capture_file *file, uint32_t magic)
{
	switch (magic) {
	case 0xa1b2c3d4:
		file->fraction_ns = 1000;
		return 1;
	case 0xa1b23c4d:
		file->fraction_ns = 1;
		return 1;
	default:
		return 0;
	}
}

int fx_pcap_open(struct fx_capture_file *file)
{
	struct fx_input *input = file->input;
	uint32_t magic = fx_file32(file, input->at);
	int whole;

	if (!read_magic(file, magic)) {
		file->swapped = 1;
		if (!read_magic(file, __builtin_bswap32(magic))) {
			file->swapped = 0;
			return 0;
		}
	}
	whole = fx_input_need(input, FILE_HEADER);
	if (whole <= 0)
		return fx_fail(-EINVAL,
			       "%s: the file ends within the pcap header (%zu of %d octets)",
			       input->path, (size_t)(input->end - input->at), FILE_HEADER);
	if (fx_file16(file, input->at + 4) != 2)
		return fx_fail(-EINVAL, "%s: pcap version %u.%u (2.4 is known)", input->path,
			       fx_file16(file, input->at + 4), fx_file16(file, input->at + 6));
	/* The upper half tells of a frame check sequence; sizes come from the headers anyway. */
	file->linktype = (uint16_t)fx_file32(file, input->at + 20);
	input->at += FILE_HEADER;
	file->next = fx_linktype_is_known(file->linktype) ? pcap_next : unknown_linktype;
	return 1;
}
