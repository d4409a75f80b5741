/* SPDX-License-Identifier: Apache-2.0 */
/* The octets of a file or pipe, decompressed, through a window that moves forward. */
#ifndef FX_INPUT_H
#define FX_INPUT_H
#include <stddef.h>
#include <stdint.h>

enum {
	FX_INPUT_NEED_MAX = 1 << 20, /* most that fx_input_need() promises */
	FX_PACKED_BYTES = 64 << 10 /* compressed octets read at once */
};

/* What a decompressor reads from: compressed octets as they come from the file. */
struct fx_packed {
	int fd;
	const uint8_t *at;
	const uint8_t *end;
	uint8_t octets[FX_PACKED_BYTES];
};

/* A decompressor: read() fills up to `capacity` octets: how many, 0 = end, -errno with words. */
struct fx_unpack_ops {
	const char *name;
	int (*open)(void **state);
	long (*read)(void *state, struct fx_packed *packed, uint8_t *out, size_t capacity);
	void (*close)(void *state);
};

struct fx_input {
	const uint8_t *at; /* the window; the reader moves `at` */
	const uint8_t *end;
	const uint8_t *begin; /* where `offset` is */
	uint64_t offset; /* of `begin` from the start of the (decompressed) input */
	const char *path;
	uint8_t *buffer;
	const struct fx_unpack_ops *unpack; /* NULL = plain */
	void *unpack_state;
	struct fx_packed packed;
};

/* Whether what the path gives can be read once only: a pipe, a device, standard input. */
int fx_input_is_pipe(const char *path);

/* Opens a file, or standard input for "-"; `path` must stay. -errno with words that name it. */
int fx_input_open(const char *path, struct fx_input **out);

/*
 * 1 = at least `size` (<= FX_INPUT_NEED_MAX) octets are in the window, which may have moved; 0 =
 * input ends before; -errno.
 */
int fx_input_need(struct fx_input *input, size_t size);

/* As fx_input_need, but moves `size` octets forward, however many; 0 = input ends before. */
int fx_input_skip(struct fx_input *input, uint64_t size);

void fx_input_close(struct fx_input *input);

static inline uint64_t fx_input_offset(const struct fx_input *input)
{
	return input->offset + (uint64_t)(input->at - input->begin);
}

/* More compressed octets: how many are there now, 0 = end of file, -errno with words. */
long fx_packed_fill(struct fx_packed *packed);

extern const struct fx_unpack_ops fx_unpack_gzip;
extern const struct fx_unpack_ops fx_unpack_zstd;

#endif
