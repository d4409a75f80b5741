/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pcapng format (draft-ietf-opsawg-pcapng): sections of either byte order, several interfaces.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture_file.h"
#include "fx/error.h"

enum block_type {
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET_OLD = 2,
	BLOCK_PACKET_SIMPLE = 3,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BLOCK_SECTION = 0x0a0d0d0a
};

enum {
	BLOCK_FRAME = 12, /* type, length, and the length again at the end */
	SECTION_BYTES = 28,
	INTERFACE_BYTES = 20,
	SIMPLE_BYTES = 16,
	PACKET_BYTES = 32,
	STATISTICS_BYTES = 24,
	BLOCK_BYTES_MAX =
		FX_INPUT_NEED_MAX, /* of the blocks that are read; others are stepped over */
	INTERFACES_MAX = 4096
};

static const uint32_t BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/* The option `code` of at least `size` octets between at and end, or NULL. */
static const uint8_t *find_option(const struct fx_capture_file *file, const uint8_t *at,
				  const uint8_t *end, uint16_t code, uint16_t size)
{
	while (end - at >= 4) {
		uint16_t found = fx_file16(file, at);
		uint16_t length = fx_file16(file, at + 2);
		size_t padded = ((size_t)length + 3) & ~(size_t)3;

		if (found == 0 || padded > (size_t)(end - at) - 4)
			return NULL;
		if (found == code && length >= size)
			return at + 4;
		at += 4 + padded;
	}
	return NULL;
}

static uint64_t file64(const struct fx_capture_file *file, const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return file->swapped ? __builtin_bswap64(value) : value;
}

/*
 * if_tsresol: a negative power of 10, or of 2 with the highest bit set. 0 = finer than 64 bits
 * tell.
 */
static uint64_t units_per_second(uint8_t resolution)
{
	uint64_t units = 1;
	uint8_t exponent = resolution & 0x7f;

	if (resolution & 0x80)
		return exponent < 64 ? (uint64_t)1 << exponent : 0;
	if (exponent > 19)
		return 0;
	while (exponent--)
		units *= 10;
	return units;
}

static int64_t stamp_ns(const struct fx_pcapng_interface *interface, uint64_t stamp)
{
	uint64_t units = interface->units_per_second, seconds;
	int64_t ns;

	if (interface->unit_ns) {
		if (stamp > interface->unit_stamp_max)
			return INT64_MAX;
		ns = (int64_t)(stamp * interface->unit_ns);
	} else {
		seconds = stamp / units;
		if (seconds > INT64_MAX / 1000000000 - 1)
			return INT64_MAX;
		ns = (int64_t)(seconds * 1000000000) +
		     (int64_t)((unsigned __int128)(stamp % units) * 1000000000 / units);
	}
	return __builtin_add_overflow(ns, interface->offset_ns, &ns) ? INT64_MAX : ns;
}

static int begin_section(struct fx_capture_file *file)
{
	file->drops = fx_capture_file_drops(file);
	file->interface_base += file->interface_count;
	file->interface_count = 0;
	return 1;
}

static int add_interface(struct fx_capture_file *file, const uint8_t *block, uint32_t length)
{
	const uint8_t *options = block + 16, *end = block + length - 4;
	const uint8_t *resolution, *offset;
	struct fx_pcapng_interface *interface;
	int64_t offset_seconds;

	if (file->interface_count == INTERFACES_MAX)
		return fx_fail(-EIO, "more than %d interfaces", INTERFACES_MAX);
	if (file->interface_count == file->interface_room) {
		uint32_t room = file->interface_room ? file->interface_room * 2 : 8;

		interface = realloc(file->interfaces, room * sizeof(*interface));
		if (!interface)
			return fx_fail(-ENOMEM, "no memory for %u interfaces", room);
		file->interfaces = interface;
		file->interface_room = room;
	}
	resolution = find_option(file, options, end, 9, 1);
	offset = find_option(file, options, end, 14, 8);
	interface = &file->interfaces[file->interface_count];
	*interface = (struct fx_pcapng_interface){
		.units_per_second = resolution ? units_per_second(resolution[0]) : 1000000,
		.snaplen = fx_file32(file, block + 12),
		.linktype = fx_file16(file, block + 8),
		.number = (uint16_t)(file->interface_base + file->interface_count),
	};
	offset_seconds = offset ? (int64_t)file64(file, offset) : 0;
	if (__builtin_mul_overflow(offset_seconds, 1000000000, &interface->offset_ns) ||
	    interface->units_per_second == 0)
		return fx_fail(-EIO, "interface %u has a time resolution or offset beyond 64 bits",
			       file->interface_count);
	if (1000000000 % interface->units_per_second == 0) {
		interface->unit_ns = 1000000000 / interface->units_per_second;
		interface->unit_stamp_max = INT64_MAX / interface->unit_ns;
	}
	file->interface_count++;
	return 1;
}

static int read_statistics(struct fx_capture_file *file, const uint8_t *block, uint32_t length)
{
	uint32_t number = fx_file32(file, block + 8);
	const uint8_t *by_card = find_option(file, block + 20, block + length - 4, 5, 8);
	const uint8_t *by_system = find_option(file, block + 20, block + length - 4, 7, 8);

	/* Each block counts from the start of the capture, so the last one stands. */
	if (number < file->interface_count)
		file->interfaces[number].drops = (by_card ? file64(file, by_card) : 0) +
						 (by_system ? file64(file, by_system) : 0);
	return 1;
}

/* A packet block of any of the three kinds into *frame: 1, or -EIO with words. */
static inline __attribute__((always_inline)) int read_packet(struct fx_capture_file *file,
							     uint32_t type, const uint8_t *block,
							     uint32_t length,
							     struct fx_frame *frame)
{
	const int is_simple = type == BLOCK_PACKET_SIMPLE;
	const uint32_t header = is_simple ? 12 : 28;
	const uint32_t room = length - header - 4;
	uint32_t number = 0, captured, wire;
	const struct fx_pcapng_interface *interface;

	if (type == BLOCK_PACKET)
		number = fx_file32(file, block + 8);
	else if (type == BLOCK_PACKET_OLD)
		number = fx_file16(file, block + 8);
	if (number >= file->interface_count)
		return fx_fail(-EIO, "a packet of interface %u, of which nothing was told", number);
	interface = &file->interfaces[number];
	if (is_simple) {
		wire = fx_file32(file, block + 8);
		captured = wire;
		if (interface->snaplen && captured > interface->snaplen)
			captured = interface->snaplen;
		if (captured > room)
			captured = room;
	} else {
		captured = fx_file32(file, block + 20);
		wire = fx_file32(file, block + 24);
		file->last_time_ns =
			stamp_ns(interface, (uint64_t)fx_file32(file, block + 12) << 32 |
						    fx_file32(file, block + 16));
	}
	if (captured > room)
		return fx_fail(-EIO, "a packet of %u octets in a block of %u", captured, length);
	if (captured > FX_RECORD_BYTES_MAX)
		return fx_fail(-EIO, "a packet of %u octets (at most %d are possible)", captured,
			       FX_RECORD_BYTES_MAX);
	*frame = (struct fx_frame){
		.bytes = block + header,
		.time_ns = file->last_time_ns,
		.captured_bytes = captured,
		.wire_bytes = fx_sane_wire(file, wire, captured),
		.iface = interface->number,
		.linktype = interface->linktype,
	};
	return 1;
}

/* Smallest length of a block of this type that is read; 0 = the type is stepped over. */
static uint32_t smallest(uint32_t type)
{
	switch (type) {
	case BLOCK_SECTION:
		return SECTION_BYTES;
	case BLOCK_INTERFACE:
		return INTERFACE_BYTES;
	case BLOCK_STATISTICS:
		return STATISTICS_BYTES;
	case BLOCK_PACKET_SIMPLE:
		return SIMPLE_BYTES;
	case BLOCK_PACKET:
	case BLOCK_PACKET_OLD:
		return PACKET_BYTES;
	default:
		return 0;
	}
}

/*
 * Type and length at input->at (12 octets are there), after the section's byte order. 1, or -EIO
 * with words.
 */
static int read_block_header(struct fx_capture_file *file, uint32_t *type, uint32_t *length)
{
	const uint8_t *at = file->input->at;

	*type = fx_file32(file, at);
	if (*type == BLOCK_SECTION) {
		uint32_t magic;

		memcpy(&magic, at + 8, sizeof(magic));
		if (magic != BYTE_ORDER_MAGIC && magic != __builtin_bswap32(BYTE_ORDER_MAGIC))
			return fx_fail(-EIO, "a section header with byte-order magic %08x", magic);
		file->swapped = magic != BYTE_ORDER_MAGIC;
	}
	*length = fx_file32(file, at + 4);
	if (*length < BLOCK_FRAME || *length % 4 || *length < smallest(*type))
		return fx_fail(-EIO, "a block of type 0x%x with length %u", *type, *length);
	if (smallest(*type) && *length > BLOCK_BYTES_MAX)
		return fx_fail(-EIO,
			       "a block of type 0x%x with length %u (at most %d are possible)",
			       *type, *length, BLOCK_BYTES_MAX);
	return 1;
}

static int ends_early(size_t left, uint32_t length)
{
	return fx_fail(-EIO, "the file ends within a block (%zu of %u octets)", left, length);
}

/*
 * Takes one block: 1, 0 = end of file, -errno with words. *frame is filled if it held a packet
 * (bytes != NULL).
 */
static int take_block(struct fx_capture_file *file, struct fx_frame *frame)
{
	struct fx_input *input = file->input;
	uint32_t type, length;
	int code = fx_input_need(input, BLOCK_FRAME);

	if (code < 0)
		return code;
	if (code == 0)
		return input->end == input->at ?
			       0 :
			       ends_early((size_t)(input->end - input->at), BLOCK_FRAME);
	code = read_block_header(file, &type, &length);
	if (code < 0)
		return code;
	if (!smallest(type)) {
		code = fx_input_skip(input, length);
		return code ? code :
			      fx_fail(-EIO, "the file ends within a block of %u octets", length);
	}
	code = fx_input_need(input, length);
	if (code <= 0)
		return code < 0 ? code : ends_early((size_t)(input->end - input->at), length);
	if (fx_file32(file, input->at + length - 4) != length)
		return fx_fail(-EIO, "a block of type 0x%x with length %u before and %u after it",
			       type, length, fx_file32(file, input->at + length - 4));
	if (type == BLOCK_SECTION)
		code = begin_section(file);
	else if (type == BLOCK_INTERFACE)
		code = add_interface(file, input->at, length);
	else if (type == BLOCK_STATISTICS)
		code = read_statistics(file, input->at, length);
	else
		code = read_packet(file, type, input->at, length, frame);
	if (code > 0)
		input->at += length;
	return code;
}

/*
 * Whether the next block is in the window, so that taking it leaves earlier frames where they are.
 */
static int is_at_hand(const struct fx_capture_file *file)
{
	size_t left = (size_t)(file->input->end - file->input->at);

	return left >= BLOCK_FRAME && fx_file32(file, file->input->at) != BLOCK_SECTION &&
	       fx_file32(file, file->input->at + 4) <= left;
}

/*
 * What nearly every block is: a sound enhanced packet block, whole in the window. 0 = something else
 * or not sound, nothing taken.
 */
static inline int take_packet_at_hand(struct fx_capture_file *file, struct fx_frame *frame)
{
	struct fx_input *input = file->input;
	const uint8_t *at = input->at;
	size_t left = (size_t)(input->end - at);
	uint32_t length;

	if (left < PACKET_BYTES || fx_file32(file, at) != BLOCK_PACKET)
		return 0;
	length = fx_file32(file, at + 4);
	if (length < PACKET_BYTES || length > left || length % 4 ||
	    fx_file32(file, at + length - 4) != length ||
	    read_packet(file, BLOCK_PACKET, at, length, frame) < 0)
		return 0;
	input->at = at + length;
	return 1;
}

static int pcapng_next(struct fx_capture_file *file, struct fx_frame *frames, int capacity)
{
	int count = 0;

	while (count < capacity) {
		uint64_t offset;
		struct fx_frame frame = { 0 };
		int code;

		if (take_packet_at_hand(file, &frames[count])) {
			count++;
			continue;
		}
		if (count && !is_at_hand(file))
			break;
		offset = fx_input_offset(file->input);
		code = take_block(file, &frame);
		if (code < 0 && count)
			break; /* found again by the next call */
		if (code < 0)
			return fx_capture_damaged(file, offset, code);
		if (code == 0)
			break;
		if (frame.bytes)
			frames[count++] = frame;
	}
	return count;
}

int fx_pcapng_open(struct fx_capture_file *file)
{
	struct fx_input *input = file->input;
	uint32_t type, length;
	int code;

	if (fx_file32(file, input->at) != BLOCK_SECTION)
		return 0;
	if (fx_input_need(input, BLOCK_FRAME) <= 0)
		return fx_fail(-EINVAL, "%s: the file ends within the pcapng section header",
			       input->path);
	code = read_block_header(file, &type, &length);
	if (code < 0)
		return fx_fail(code, "%s: the pcapng section header is damaged", input->path);
	file->next = pcapng_next;
	return 1;
}
