/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints each frame as the parser sees it: one line a frame, tab-separated, names in the first.
 *
 *     dump CAPTURE...      dump --synth PROFILE SEED PACKETS
 *
 * Standard error has what the source counted, and damage. Exit codes as the fortress command's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx/parse.h"
#include "fx/source.h"

static void print_fx_u8(fx_u8 value)
{
	printf("%u", value);
}

static void print_fx_u16(fx_u16 value)
{
	printf("%u", value);
}

static void print_fx_u32(fx_u32 value)
{
	printf("%u", value);
}

static void print_fx_u64(fx_u64 value)
{
	printf("%" PRIu64, value);
}

static void print_fx_i64(fx_i64 value)
{
	printf("%" PRId64, value);
}

static void print_fx_addr(fx_addr value)
{
	for (int i = 0; i < 16; i++)
		printf("%02x", value.octets[i]);
}

static void print_names(void)
{
#define FX_COLUMN(type, name, unit, meaning) printf("%s\t", #name);
#include "fx/packet_columns.def"
#undef FX_COLUMN
	printf("linktype\n");
}

static void print_packet(const struct fx_packet *packet, uint16_t linktype)
{
#define FX_COLUMN(type, name, unit, meaning) \
	print_fx_##type(packet->name);       \
	putchar('\t');
#include "fx/packet_columns.def"
#undef FX_COLUMN
	printf("%u\n", linktype);
}

static int open_source(int count, char **words, fx_source **out)
{
	if (count == 5 && strcmp(words[1], "--synth") == 0)
		return fx_source_open_synth(words[2], strtoull(words[3], NULL, 10),
					    strtoull(words[4], NULL, 10), out);
	return fx_source_open_pcap((const char *const *)words + 1, count - 1, out);
}

int main(int count, char **words)
{
	const fx_damage *damages;
	struct fx_frame frames[FX_BLOCK_FRAMES];
	struct fx_source_stats stats;
	fx_source *source;
	int got, damaged;

	if (open_source(count, words, &source) < 0) {
		fprintf(stderr, "%s\n", fx_last_error());
		return 1;
	}
	print_names();
	while ((got = source->ops->next(source, frames, FX_BLOCK_FRAMES)) > 0) {
		for (int i = 0; i < got; i++) {
			struct fx_packet packet = { .time_ns = frames[i].time_ns,
						    .iface = frames[i].iface };

			fx_parse_frame(frames[i].bytes, frames[i].bytes + frames[i].captured_bytes,
				       frames[i].wire_bytes, frames[i].linktype, &packet);
			print_packet(&packet, frames[i].linktype);
		}
	}
	source->ops->stats(source, &stats);
	fprintf(stderr, "drops %" PRIu64 ", absurd lengths %" PRIu64 "\n", stats.kernel_drops,
		stats.absurd_lengths);
	damaged = source->ops->damages ? source->ops->damages(source, &damages) : 0;
	for (int i = 0; i < damaged; i++)
		fprintf(stderr, "%s: damaged at octet %" PRIu64 ": %s\n", damages[i].path,
			damages[i].offset, damages[i].message);
	fx_source_close(source);
	return damaged ? 3 : got < 0;
}
