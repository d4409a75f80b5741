/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything is read through one buffer of fixed size. Mapping plain files was tried: 60 ns a
 * packet of 355 octets for page faults, where read() costs 27 (both from the page cache), and a
 * file that shrinks meanwhile ends in SIGBUS.
 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fx/error.h"

/* What one read() brings stays in the second-level cache until it is parsed: 7 % less for a whole capture. */
enum { BUFFER_BYTES = FX_INPUT_NEED_MAX + (256 << 10), READ_BYTES = 128 << 10 };

int fx_input_is_pipe(const char *path)
{
	struct stat status;

	if (strcmp(path, "-") == 0)
		return 1;
	return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

long fx_packed_fill(struct fx_packed *packed)
{
	size_t have = (size_t)(packed->end - packed->at);
	ssize_t got;

	if (have == sizeof(packed->octets))
		return (long)have;
	memmove(packed->octets, packed->at, have);
	packed->at = packed->octets;
	packed->end = packed->octets + have;
	do
		got = read(packed->fd, packed->octets + have, sizeof(packed->octets) - have);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return fx_fail(-errno, "cannot read: %s", strerror(errno));
	packed->end += got;
	return (long)(packed->end - packed->at);
}

static int begins_with(const struct fx_packed *packed, const char *magic, size_t size)
{
	return (size_t)(packed->end - packed->at) >= size && memcmp(packed->at, magic, size) == 0;
}

/* Finds the decompressor by the first octets. */
static int choose_unpack(struct fx_input *input)
{
	const struct fx_packed *packed = &input->packed;

	if (begins_with(packed, "\x1f\x8b", 2))
		input->unpack = &fx_unpack_gzip;
	else if (begins_with(packed, "\x28\xb5\x2f\xfd", 4))
		input->unpack = &fx_unpack_zstd;
	else if (begins_with(packed,
			     "\xfd"
			     "7zXZ",
			     5))
		return fx_fail(-ENOTSUP, "%s: compressed with xz; unpack it first (unxz)",
			       input->path);
	else if (begins_with(packed, "BZh", 3))
		return fx_fail(-ENOTSUP, "%s: compressed with bzip2; unpack it first (bunzip2)",
			       input->path);
	else if (begins_with(packed, "\x04\x22\x4d\x18", 4))
		return fx_fail(-ENOTSUP, "%s: compressed with lz4; unpack it first (unlz4)",
			       input->path);
	return input->unpack ? input->unpack->open(&input->unpack_state) : 0;
}

static int open_descriptor(struct fx_input *input)
{
	struct stat status;
	int fd = strcmp(input->path, "-") == 0 ? dup(STDIN_FILENO) :
						 open(input->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fx_fail(-errno, "%s: cannot open: %s", input->path, strerror(errno));
	input->packed.fd = fd;
	if (fstat(fd, &status) < 0)
		return fx_fail(-errno, "%s: cannot open: %s", input->path, strerror(errno));
	if (S_ISDIR(status.st_mode))
		return fx_fail(-EISDIR, "%s: is a directory, not a capture file", input->path);
	while (input->packed.end - input->packed.at < 6) {
		long before = (long)(input->packed.end - input->packed.at);
		long now = fx_packed_fill(&input->packed);

		if (now < 0)
			return fx_fail((int)now, "%s: cannot read: %s", input->path,
				       strerror(-(int)now));
		if (now == before)
			break;
	}
	if (input->packed.end == input->packed.at)
		return fx_fail(-ENODATA, "%s: is empty", input->path);
	int code = choose_unpack(input);

	if (code < 0)
		return code;
	input->buffer = malloc(BUFFER_BYTES);
	if (!input->buffer)
		return fx_fail(-ENOMEM, "%s: no memory for the read buffer", input->path);
	input->begin = input->at = input->end = input->buffer;
	return 0;
}

int fx_input_open(const char *path, struct fx_input **out)
{
	struct fx_input *input = calloc(1, sizeof(*input));
	int code;

	if (!input)
		return fx_fail(-ENOMEM, "%s: no memory to open it", path);
	input->path = path;
	input->packed.fd = -1;
	input->packed.at = input->packed.end = input->packed.octets;
	code = open_descriptor(input);
	if (code < 0) {
		fx_input_close(input);
		return code;
	}
	*out = input;
	return 0;
}

/* More octets behind input->end; what the reader has passed makes room. */
static long fill(struct fx_input *input)
{
	size_t have = (size_t)(input->end - input->at);
	struct fx_packed *packed = &input->packed;
	uint8_t *tail;
	long got;

	memmove(input->buffer, input->at, have);
	input->offset = fx_input_offset(input);
	input->begin = input->at = input->buffer;
	tail = input->buffer + have;
	input->end = tail;
	if (input->unpack) {
		got = input->unpack->read(input->unpack_state, packed, tail, BUFFER_BYTES - have);
	} else if (packed->at < packed->end) {
		got = (long)(packed->end - packed->at);
		memcpy(tail, packed->at, (size_t)got);
		packed->at = packed->end;
	} else {
		do
			got = read(packed->fd, tail,
				   have < READ_BYTES ? READ_BYTES : BUFFER_BYTES - have);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			return fx_fail(-errno, "cannot read: %s", strerror(errno));
	}
	if (got > 0)
		input->end += got;
	return got;
}

int fx_input_need(struct fx_input *input, size_t size)
{
	while ((size_t)(input->end - input->at) < size) {
		long got = fill(input);

		if (got <= 0)
			return (int)got;
	}
	return 1;
}

int fx_input_skip(struct fx_input *input, uint64_t size)
{
	while (size) {
		uint64_t step = (uint64_t)(input->end - input->at);

		if (step == 0) {
			int code = fx_input_need(input, 1);

			if (code <= 0)
				return code;
			continue;
		}
		step = step < size ? step : size;
		input->at += step;
		size -= step;
	}
	return 1;
}

void fx_input_close(struct fx_input *input)
{
	if (!input)
		return;
	if (input->unpack_state)
		input->unpack->close(input->unpack_state);
	if (input->packed.fd >= 0)
		close(input->packed.fd);
	free(input->buffer);
	free(input);
}
