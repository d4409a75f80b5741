/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random and mutated frames: nothing is read beyond the frame (the sanitizers see to that), every
 * column is set whatever was there before, the fast path agrees with the general one, and sizes are
 * not contradictory.
 *
 *     test_parse_random [FRAMES [SEED [CAPTURE...]]]      frames of the captures are mutated too
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns_text.h"
#include "fx/parse.h"
#include "fx/source.h"

static const fx_u16 linktypes[] = { 1, 1, 1, 1, 0, 9, 12, 101, 104, 108, 113, 229, 276, 999 };
static uint64_t dice;

static uint64_t roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice;
}

static int complain(const char *what, const fx_u8 *bytes, size_t size, fx_u32 wire, fx_u16 linktype)
{
	printf("%s: link type %u, %u octets on the wire, captured", what, linktype, wire);
	for (size_t i = 0; i < size; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
	return 1;
}

/* Parses the frame in every way there is: 1 and words if something is wrong. */
static int check(const fx_u8 *bytes, size_t size, fx_u32 wire, fx_u16 linktype)
{
	struct fx_packet zeroed, filled, general;
	int code;

	memset(&zeroed, 0, sizeof(zeroed));
	memset(&filled, 0xff, sizeof(filled));
	memset(&general, 0xff, sizeof(general));
	filled.time_ns = general.time_ns = 0;
	filled.iface = general.iface = 0;
	code = fx_parse_frame(bytes, bytes + size, wire, linktype, &zeroed);
	fx_parse_frame(bytes, bytes + size, wire, linktype, &filled);
	fx_parse_any(bytes, bytes + size, wire < size ? (fx_u32)size : wire, linktype, &general);
	if (memcmp(&zeroed, &filled, sizeof(zeroed)) != 0)
		return complain("a column is not set", bytes, size, wire, linktype);
	if (memcmp(&zeroed, &general, sizeof(zeroed)) != 0)
		return complain("the fast path differs", bytes, size, wire, linktype);
	if (code != zeroed.decode || code >= FX_DECODE_CODES)
		return complain("no such decode code", bytes, size, wire, linktype);
	if (zeroed.payload_offset >= size && zeroed.payload_offset)
		return complain("payload begins beyond the frame", bytes, size, wire, linktype);
	if (zeroed.ip_version && zeroed.payload_bytes > zeroed.ip_bytes)
		return complain("more payload than packet", bytes, size, wire, linktype);
	if (!zeroed.ip_version && (zeroed.proto || zeroed.ip_bytes || zeroed.payload_bytes))
		return complain("a packet without IP has sizes", bytes, size, wire, linktype);
	return 0;
}

/* The same in a buffer of the frame's very size. */
static int check_copy(const fx_u8 *bytes, size_t size, fx_u32 wire, fx_u16 linktype)
{
	fx_u8 *copy = malloc(size);
	int failed;

	if (size)
		memcpy(copy, bytes, size);
	failed = check(copy, size, wire, linktype);
	free(copy);
	return failed;
}

static void mutate(fx_u8 *bytes, size_t *size, fx_u32 *wire)
{
	static const fx_u8 telling[] = { 0, 1, 4, 6, 8, 17, 41, 44, 47, 58, 60, 64, 127, 128, 255 };

	for (uint64_t times = roll() % 4; times && *size; times--) {
		fx_u8 *at = bytes + roll() % (*size < 80 ? *size : 80);

		*at = roll() % 2 ? telling[roll() % sizeof(telling)] :
				   (fx_u8)(*at ^ 1 << roll() % 8);
	}
	if (roll() % 3 == 0)
		*size = roll() % (*size + 1);
	if (roll() % 8 == 0)
		*wire = (fx_u32)(roll() % 4000);
}

/* Frames of a source, each as it is and mutated. */
static int check_source(fx_source *source, uint64_t limit, uint64_t *done)
{
	struct fx_frame frames[FX_BLOCK_FRAMES];
	int failures = 0, got;

	while (failures < 10 && *done < limit &&
	       (got = source->ops->next(source, frames, FX_BLOCK_FRAMES)) > 0) {
		for (int i = 0; i < got; i++, *done += 2) {
			fx_u8 bytes[4096];
			size_t size = frames[i].captured_bytes;
			fx_u32 wire = frames[i].wire_bytes;

			failures += check_copy(frames[i].bytes, size, wire, frames[i].linktype);
			size = size < sizeof(bytes) ? size : sizeof(bytes);
			memcpy(bytes, frames[i].bytes, size);
			mutate(bytes, &size, &wire);
			failures += check_copy(bytes, size, wire, frames[i].linktype);
		}
	}
	fx_source_close(source);
	return failures;
}

static int check_random(uint64_t frames)
{
	int failures = 0;

	for (uint64_t i = 0; i < frames && failures < 10; i++) {
		fx_u8 bytes[256];
		size_t size = roll() % sizeof(bytes);

		for (size_t j = 0; j < size; j++)
			bytes[j] = (fx_u8)(roll() >> 32);
		failures +=
			check_copy(bytes, size, (fx_u32)(roll() % 512),
				   linktypes[roll() % (sizeof(linktypes) / sizeof(linktypes[0]))]);
	}
	return failures;
}

int main(int count, char **words)
{
	static const char *const profiles[] = { "fuzz", "mixed", "scan" };
	uint64_t frames = count > 1 ? strtoull(words[1], NULL, 10) : 300000;
	uint64_t seed = count > 2 ? strtoull(words[2], NULL, 10) : 1, done = 0;
	fx_source *source;
	int failures;

	dice = seed * 2 + 1;
	failures = check_random(frames / 4);
	done += frames / 4;
	for (uint64_t i = 0; i < 3; i++) {
		if (fx_source_open_synth(profiles[i], seed, frames / 8, &source) < 0) {
			printf("%s\n", fx_last_error());
			return 1;
		}
		failures += check_source(source, UINT64_MAX, &done);
	}
	if (count > 3) {
		if (fx_source_open_pcap((const char *const *)words + 3, count - 3, &source) < 0) {
			printf("%s\n", fx_last_error());
			return 1;
		}
		failures += check_source(source, UINT64_MAX, &done);
	}
	printf("%" PRIu64 " frames, %d failures, seed %" PRIu64 "\n", done, failures, seed);
	return failures != 0;
}
