/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a whole capture file, of any format, through the source; every octet is touched. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fx/parse.h"
#include "fx/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static volatile uint32_t sum;

static void read_all(fx_source *source)
{
	struct fx_frame frames[FX_BLOCK_FRAMES];
	const fx_damage *damages;
	struct fx_source_stats stats;
	int got;

	while ((got = source->ops->next(source, frames, FX_BLOCK_FRAMES)) > 0)
		for (int i = 0; i < got; i++) {
			struct fx_packet packet = { .time_ns = frames[i].time_ns };

			for (uint32_t j = 0; j < frames[i].captured_bytes; j++)
				sum += frames[i].bytes[j];
			fx_parse_frame(frames[i].bytes, frames[i].bytes + frames[i].captured_bytes,
				       frames[i].wire_bytes, frames[i].linktype, &packet);
			if (frames[i].wire_bytes < frames[i].captured_bytes)
				abort();
		}
	if (got < 0 || source->ops->damages(source, &damages) > 1)
		abort();
	source->ops->stats(source, &stats);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	const char *path;
	char name[32];
	fx_source *source;
	int file = memfd_create("capture", 0);

	if (file < 0 || write(file, input, size) != (ssize_t)size)
		abort();
	snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
	path = name;
	if (fx_source_open_pcap(&path, 1, &source) == 0) {
		read_all(source);
		fx_source_close(source);
	}
	close(file);
	return 0;
}
