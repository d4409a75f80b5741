/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a live interface until it has seen so many packets: `fxlive INTERFACE RINGS PACKETS` prints "ready" and then
 * the packets, drops and flows.
 */
#include "flow_run.h"

#include <unistd.h>

enum { RINGS_MAX = 4, ROWS = 64, PATIENCE_TICKS = 300 };

static int fail(void)
{
	fprintf(stderr, "%s\n", fx_last_error());
	return 1;
}

int main(int count, char **words)
{
	fx_packet_port ports[RINGS_MAX];
	fx_stream_options options;
	fx_source *source;
	fx_stream *stream;
	fx_batch *batch;
	fx_stream_stats stats = { 0 };
	struct flow_run run = { 0 };
	int rings = count == 4 ? atoi(words[2]) : 0, flags, ticks = 0, is_stopped = 0;
	uint64_t wanted;

	if (rings < 1 || rings > RINGS_MAX)
		return 2;
	wanted = strtoull(words[3], NULL, 10);
	for (int i = 0; i < rings; i++) {
		int64_t group = i ? (int64_t)ports[0].fanout : (rings == 1 ? -1 : 0);

		if (fx_packet_port_open(words[1], FX_PORT_RING_MIN, -1, group, &ports[i]))
			return fail();
	}
	fx_stream_options_default(&options);
	options.tick_ns = 100000000;
	options.keep_sequences = 1;
	options.packet_rows = FX_PACKET_ROWS_ALL;
	if (fx_source_open_packet(ports, rings, &source) ||
	    fx_stream_new(source, &options, &stream) ||
	    fx_batch_new(ROWS, ROWS, ROWS, NULL, NULL, NULL, &batch))
		return fail();
	puts("ready");
	fflush(stdout);
	do {
		flags = fx_stream_next(stream, batch);
		if (flags < 0)
			return fail();
		take_batch(&run, batch);
		ticks += !!(flags & FX_NEXT_TICK_CLOSED);
		fx_stream_stats_read(stream, &stats);
		if (!is_stopped && (stats.packets >= wanted || ticks == PATIENCE_TICKS)) {
			fx_source_stop(source);
			is_stopped = 1;
		}
	} while (!(flags & FX_NEXT_END));
	fx_stream_stats_read(stream, &stats);
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", stats.packets, stats.kernel_drops,
	       run.rows[FX_FLOWS]);
	fx_batch_free(batch);
	fx_stream_free(stream);
	fx_source_close(source);
	for (int i = 0; i < rings; i++)
		close(ports[i].fd);
	run.stats = stats;
	return is_accounted(&run) ? 0 : 3;
}
