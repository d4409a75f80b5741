/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core without Python: capture to all flow columns, batch by batch, as fortress_core asks for them.
 *
 *     core_driver FILE [packets|intervals|sequences]      prints: packets flows calls memory_bytes flows_peak
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx/abi.h"

enum { FLOW_ROWS = 4096 };

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "", *more = argc > 2 ? argv[2] : "";
	const fx_column *about;
	fx_stream_options options;
	fx_stream_stats stats;
	fx_source *source;
	fx_stream *stream;
	fx_batch *batch;
	uint8_t *chosen[3];
	uint64_t rows = 0, calls = 0;
	int flags;

	fx_stream_options_default(&options);
	options.packet_rows = strcmp(more, "packets") ? FX_PACKET_ROWS_NONE : FX_PACKET_ROWS_ALL;
	options.keep_intervals = !strcmp(more, "intervals");
	options.keep_sequences = !strcmp(more, "sequences");
	for (int table = 0; table < 3; table++) {
		int columns = fx_table_columns(table, &about);
		chosen[table] = malloc((size_t)columns);
		memset(chosen[table], 1, (size_t)columns);
		for (int i = 0; i < columns; i++)
			if (!options.keep_sequences && !strncmp(about[i].name, "sequence_", 9))
				chosen[table][i] = 0;
	}
	if (fx_source_open_pcap(&path, 1, &source) || fx_stream_new(source, &options, &stream) ||
	    fx_batch_new(FLOW_ROWS, FLOW_ROWS, FLOW_ROWS, chosen[0], chosen[1], chosen[2],
			 &batch)) {
		fprintf(stderr, "%s\n", fx_last_error());
		return 1;
	}
	do {
		flags = fx_stream_next(stream, batch);
		if (flags < 0) {
			fprintf(stderr, "%s\n", fx_last_error());
			return 1;
		}
		calls++;
		rows += fx_batch_state_of(batch)->rows[FX_FLOWS];
	} while (!(flags & FX_NEXT_END));
	fx_stream_stats_read(stream, &stats);
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", stats.packets, rows,
	       calls, stats.memory_bytes, stats.flows_peak);
	fx_batch_free(batch);
	fx_stream_free(stream);
	return 0;
}
