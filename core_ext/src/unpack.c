/* SPDX-License-Identifier: Apache-2.0 */
/* gzip and zstd streams through the platform's libraries, in bounded memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fx/error.h"
#include "input.h"

#if FX_WITH_ZLIB
#include <zlib.h>

struct gzip_state {
	z_stream stream;
	int is_over;
};

static int gzip_open(void **out)
{
	struct gzip_state *state = calloc(1, sizeof(*state));

	if (!state || inflateInit2(&state->stream, 15 + 16) != Z_OK) {
		free(state);
		return fx_fail(-ENOMEM, "no memory for the gzip decoder");
	}
	*out = state;
	return 0;
}

/*
 * Whether another gzip member follows; what else follows the last one is ignored, as gzip(1) does.
 */
static int gzip_member_follows(struct fx_packed *packed)
{
	while (packed->end - packed->at < 2) {
		long before = (long)(packed->end - packed->at);
		long now = fx_packed_fill(packed);

		if (now < 0)
			return (int)now;
		if (now == before)
			return 0;
	}
	return packed->at[0] == 0x1f && packed->at[1] == 0x8b;
}

static long gzip_read(void *opaque, struct fx_packed *packed, uint8_t *out, size_t capacity)
{
	struct gzip_state *state = opaque;
	z_stream *stream = &state->stream;

	stream->next_out = out;
	stream->avail_out = (uInt)capacity;
	while (!state->is_over && stream->next_out == out) {
		int code;

		/* Without new octets first: the decoder may still hold some of the last ones. */
		stream->next_in = (Bytef *)(uintptr_t)packed->at;
		stream->avail_in = (uInt)(packed->end - packed->at);
		code = inflate(stream, Z_NO_FLUSH);
		packed->at = stream->next_in;
		if (code == Z_STREAM_END) {
			int more = gzip_member_follows(packed);

			if (more < 0)
				return more;
			state->is_over = !more;
			inflateReset(stream);
		} else if (code != Z_OK && code != Z_BUF_ERROR) {
			if (stream->next_out > out) /* first what is sound; it fails again */
				break;
			return fx_fail(-EIO, "the gzip stream is corrupt: %s",
				       stream->msg ? stream->msg : "no reason given");
		} else if (packed->at == packed->end && stream->next_out == out) {
			long got = fx_packed_fill(packed);

			if (got < 0)
				return got;
			if (got == 0)
				return fx_fail(-EIO, "the gzip stream ends early");
		}
	}
	return (long)(stream->next_out - out);
}

static void gzip_close(void *opaque)
{
	struct gzip_state *state = opaque;

	inflateEnd(&state->stream);
	free(state);
}

const struct fx_unpack_ops fx_unpack_gzip = { "gzip", gzip_open, gzip_read, gzip_close };
#else
static int gzip_open(void **state)
{
	(void)state;
	return fx_fail(-ENOTSUP, "compressed with gzip, which this build cannot read (no zlib)");
}

const struct fx_unpack_ops fx_unpack_gzip = { "gzip", gzip_open, NULL, NULL };
#endif

#if FX_WITH_ZSTD
#include <zstd.h>

enum { FRAME_HEADER_BYTES = 6 };

struct zstd_state {
	ZSTD_DStream *stream;
	size_t wanted; /* octets up to the end of the block: no more at once, or its end is lost */
	int is_between_frames;
};

static void zstd_close(void *opaque)
{
	struct zstd_state *state = opaque;

	ZSTD_freeDStream(state->stream);
	free(state);
}

static int zstd_open(void **out)
{
	struct zstd_state *state = calloc(1, sizeof(*state));

	if (!state)
		return fx_fail(-ENOMEM, "no memory for the zstd decoder");
	state->stream = ZSTD_createDStream();
	if (!state->stream || ZSTD_isError(ZSTD_initDStream(state->stream))) {
		zstd_close(state);
		return fx_fail(-ENOMEM, "no memory for the zstd decoder");
	}
	state->wanted = FRAME_HEADER_BYTES;
	*out = state;
	return 0;
}

static long zstd_read(void *opaque, struct fx_packed *packed, uint8_t *out, size_t capacity)
{
	struct zstd_state *state = opaque;
	ZSTD_outBuffer output = { out, capacity, 0 };

	while (output.pos == 0) {
		/* Without new octets first: the decoder may still hold some of the last ones. */
		size_t there = (size_t)(packed->end - packed->at);
		ZSTD_inBuffer input = { packed->at, there < state->wanted ? there : state->wanted,
					0 };
		size_t wanted = ZSTD_decompressStream(state->stream, &output, &input);

		packed->at += input.pos;
		if (ZSTD_isError(wanted))
			return fx_fail(-EIO, "the zstd stream is corrupt: %s",
				       ZSTD_getErrorName(wanted));
		if (input.pos || output.pos)
			state->is_between_frames = wanted == 0;
		state->wanted = wanted ? wanted : FRAME_HEADER_BYTES;
		if (packed->at == packed->end && output.pos == 0) {
			long got = fx_packed_fill(packed);

			if (got < 0)
				return got;
			if (got == 0 && state->is_between_frames)
				return 0;
			if (got == 0)
				return fx_fail(-EIO, "the zstd stream ends early");
		}
	}
	return (long)output.pos;
}

const struct fx_unpack_ops fx_unpack_zstd = { "zstd", zstd_open, zstd_read, zstd_close };
#else
static int zstd_open(void **state)
{
	(void)state;
	return fx_fail(-ENOTSUP, "compressed with zstd, which this build cannot read (no libzstd)");
}

const struct fx_unpack_ops fx_unpack_zstd = { "zstd", zstd_open, NULL, NULL };
#endif
