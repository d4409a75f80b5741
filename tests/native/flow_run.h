/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a source through a stream with every column chosen, and keeps a checksum of each column. */
#ifndef FLOW_RUN_H
#define FLOW_RUN_H
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx/abi.h"

enum { TABLES = 3, COLUMNS_MAX = 256 };

struct flow_run {
	uint64_t sums[TABLES][COLUMNS_MAX]; /* FNV-1a of the column's values in order */
	uint64_t rows[TABLES];
	uint64_t flow_pkts; /* of all flow rows */
	uint64_t interval_pkts;
	uint64_t line_bytes;
	uint64_t ticks;
	fx_stream_stats stats;
};

static int column_number(int table, const char *name)
{
	const fx_column *columns;
	int count = fx_table_columns(table, &columns);

	for (int i = 0; i < count; i++)
		if (!strcmp(columns[i].name, name))
			return i;
	fprintf(stderr, "no column %s\n", name);
	exit(2);
}

static uint64_t fnv(uint64_t sum, const uint8_t *octets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sum = (sum ^ octets[i]) * 0x100000001b3u;
	return sum;
}

static inline void take_batch(struct flow_run *run, fx_batch *batch)
{
	const uint32_t *rows = fx_batch_state_of(batch)->rows;
	size_t room = (size_t)rows[FX_FLOWS] * FX_FLOW_LINE_BYTES;
	char *text = malloc(room + 1);
	int64_t length = fx_batch_flow_lines(batch, "", text, room);
	const uint64_t *orig, *resp;
	const uint32_t *in_tick[2];

	if (length < 0 || (uint64_t)length > room) {
		fprintf(stderr, "flow lines: %s\n", fx_last_error());
		exit(1);
	}
	run->line_bytes += (uint64_t)length;
	free(text);
	for (int table = 0; table < TABLES; table++) {
		const fx_column *columns;
		int count = fx_table_columns(table, &columns);

		for (int i = 0; i < count; i++)
			run->sums[table][i] = fnv(run->sums[table][i],
						  fx_batch_column(batch, table, i),
						  (size_t)rows[table] * columns[i].size_bytes);
		run->rows[table] += rows[table];
	}
	orig = fx_batch_column(batch, FX_FLOWS, column_number(FX_FLOWS, "orig_pkts"));
	resp = fx_batch_column(batch, FX_FLOWS, column_number(FX_FLOWS, "resp_pkts"));
	for (uint32_t i = 0; i < rows[FX_FLOWS]; i++)
		run->flow_pkts += orig[i] + resp[i];
	in_tick[0] = fx_batch_column(batch, FX_INTERVALS, column_number(FX_INTERVALS, "orig_pkts"));
	in_tick[1] = fx_batch_column(batch, FX_INTERVALS, column_number(FX_INTERVALS, "resp_pkts"));
	for (uint32_t i = 0; i < rows[FX_INTERVALS]; i++)
		run->interval_pkts += in_tick[0][i] + (uint64_t)in_tick[1][i];
}

/* Everything the source has, `rows` rows a batch; closes the source. Ends the program on an error. */
static inline struct flow_run run_flows(fx_source *source, const fx_stream_options *options,
					uint32_t rows)
{
	struct flow_run run = { 0 };
	fx_stream *stream;
	fx_batch *batch;
	int flags;

	for (int table = 0; table < TABLES; table++)
		for (int i = 0; i < COLUMNS_MAX; i++)
			run.sums[table][i] = 0xcbf29ce484222325u;
	if (fx_stream_new(source, options, &stream) ||
	    fx_batch_new(rows, rows, rows, NULL, NULL, NULL, &batch)) {
		fprintf(stderr, "%s\n", fx_last_error());
		exit(1);
	}
	do {
		flags = fx_stream_next(stream, batch);
		if (flags < 0) {
			fprintf(stderr, "%s\n", fx_last_error());
			exit(1);
		}
		run.ticks += !!(flags & FX_NEXT_TICK_CLOSED);
		take_batch(&run, batch);
	} while (!(flags & FX_NEXT_END));
	fx_stream_stats_read(stream, &run.stats);
	fx_batch_free(batch);
	fx_stream_free(stream);
	fx_source_close(source);
	return run;
}

/* Whether every packet is in one flow row or counted as none, and in one interval row. */
static inline int is_accounted(const struct flow_run *run)
{
	uint64_t none = run->stats.non_ip + run->stats.undecodable;

	return run->flow_pkts + none == run->stats.packets &&
	       run->interval_pkts == run->flow_pkts && run->rows[FX_FLOWS] == run->stats.flows &&
	       run->stats.flows_active == 0;
}

#endif
