/* SPDX-License-Identifier: Apache-2.0 */
/* The same rows whatever the batch size, nothing lost, memory within its budget: over generated traffic. */
#include "flow_run.h"

enum { PACKETS = 8000, ENDED_SLOTS = 64 /* records that wait to be handed out */ };

static int failures;

static void expect(int is_true, const char *what, const char *profile)
{
	if (is_true)
		return;
	fprintf(stderr, "%s: not %s\n", profile, what);
	failures++;
}

static struct flow_run run_profile(const char *profile, const fx_stream_options *options,
				   uint32_t rows)
{
	fx_source *source;

	if (fx_source_open_synth(profile, 42, PACKETS, &source)) {
		fprintf(stderr, "%s\n", fx_last_error());
		exit(1);
	}
	return run_flows(source, options, rows);
}

static void check_profile(const char *profile, uint64_t budget)
{
	static const uint32_t batches[] = { 1, 7, 64, 65536 };
	fx_stream_options options;
	struct flow_run first, other;

	fx_stream_options_default(&options);
	options.keep_sequences = 1;
	options.packet_rows = FX_PACKET_ROWS_CONTROL;
	options.flow_budget_bytes = budget;
	first = run_profile(profile, &options, 4096);
	expect(is_accounted(&first), "every packet accounted for", profile);
	expect(first.stats.packets == PACKETS, "all packets read", profile);
	expect(first.rows[FX_FLOWS] > 0 || first.stats.undecodable == PACKETS, "any flow", profile);
	for (size_t i = 0; i < sizeof(batches) / sizeof(*batches); i++) {
		other = run_profile(profile, &options, batches[i]);
		expect(!memcmp(&first, &other, sizeof(first)), "the same in every batch size",
		       profile);
	}
	options.tick_ns = 20ull * 1000000000;
	other = run_profile(profile, &options, 4096);
	expect(is_accounted(&other), "every packet accounted for in long ticks", profile);
}

int main(void)
{
	static const char *const profiles[] = { "mice", "elephants", "mixed",
						"scan", "syn_flood", "fuzz" };
	fx_stream_options options;
	struct flow_run run;

	for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++) {
		check_profile(profiles[i], 64 << 20);
		check_profile(profiles[i], 100 << 10);
		check_profile(profiles[i], 12000); /* a handful of flows */
	}
	fx_stream_options_default(&options);
	options.flow_budget_bytes = 512 << 10;
	run = run_profile("syn_flood", &options, 4096);
	expect(run.stats.memory_bytes <= options.flow_budget_bytes, "within the budget",
	       "syn_flood");
	expect(run.stats.evictions > 0, "evicting", "syn_flood");
	expect(run.stats.memory_bytes <= 512 * (run.stats.flows_peak + ENDED_SLOTS),
	       "512 bytes a flow", "syn_flood");
	if (failures)
		return 1;
	puts("flow streams: ok");
	return 0;
}
