/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a capture file through the whole core into columns, with a flow table that is soon full. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fx/abi.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void read_all(fx_source *source, const fx_stream_options *options)
{
	fx_stream_stats stats;
	fx_stream *stream;
	fx_batch *batch;
	int flags;

	if (fx_stream_new(source, options, &stream) < 0 ||
	    fx_batch_new(16, 16, 16, NULL, NULL, NULL, &batch) < 0) {
		fprintf(stderr, "%s\n", fx_last_error());
		abort();
	}
	do
		flags = fx_stream_next(stream, batch);
	while (flags >= 0 && !(flags & FX_NEXT_END));
	fx_stream_stats_read(stream, &stats);
	fx_batch_free(batch);
	fx_stream_free(stream);
	fx_source_close(source);
	if (flags < 0 || stats.flows_active > stats.flows)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	fx_stream_options options;
	const char *path;
	char name[32];
	fx_source *source;
	int file = memfd_create("capture", 0);

	if (file < 0 || write(file, input, size) != (ssize_t)size)
		abort();
	fx_stream_options_default(&options);
	options.flow_budget_bytes = 256 << 10;
	options.packet_rows = FX_PACKET_ROWS_ALL;
	options.keep_sequences = 1;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
	path = name;
	if (fx_source_open_pcap(&path, 1, &source) == 0)
		read_all(source, &options);
	close(file);
	return 0;
}
