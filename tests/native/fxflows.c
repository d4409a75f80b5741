/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fxflows [-b ROWS] [-m FLOW_BUDGET_BYTES] FILE...: captures into every column without Python.
 * Prints counters and a checksum over all columns; exits 1 unless every packet is accounted for.
 */
#include <unistd.h>

#include "flow_run.h"

int main(int argc, char **argv)
{
	fx_stream_options options;
	fx_source *source;
	struct flow_run run;
	uint64_t sum = 0;
	uint32_t rows = 4096;
	int option;

	fx_stream_options_default(&options);
	options.keep_sequences = 1;
	options.packet_rows = FX_PACKET_ROWS_ALL;
	while ((option = getopt(argc, argv, "b:m:")) != -1) {
		if (option == 'b')
			rows = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'm')
			options.flow_budget_bytes = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind == argc ||
	    fx_source_open_pcap((const char *const *)argv + optind, argc - optind, &source)) {
		fprintf(stderr, "%s\n", optind == argc ? "fxflows FILE..." : fx_last_error());
		return 2;
	}
	run = run_flows(source, &options, rows);
	for (int table = 0; table < TABLES; table++)
		for (int i = 0; i < COLUMNS_MAX; i++)
			sum = fnv(sum, (const uint8_t *)&run.sums[table][i], sizeof(sum));
	printf("packets %" PRIu64 " flows %" PRIu64 " intervals %" PRIu64 " ticks %" PRIu64
	       " evictions %" PRIu64 " non_ip %" PRIu64 " undecodable %" PRIu64 " sum %016" PRIx64
	       "\n",
	       run.stats.packets, run.rows[FX_FLOWS], run.rows[FX_INTERVALS], run.ticks,
	       run.stats.evictions, run.stats.non_ip, run.stats.undecodable, sum);
	return is_accounted(&run) ? 0 : 1;
}
