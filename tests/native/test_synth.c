/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded source: the same frames for the same seed, frames that the parser understands, and the
 * traffic that each profile promises; "fuzz" goes through the whole core without harm.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fx/parse.h"
#include "fx/source.h"

enum { PACKETS = 50000, FUZZ_PACKETS = 300000 };

struct totals {
	uint64_t packets, digest, syn, rst, fin, udp, icmp, ip6, payload, not_understood;
	uint64_t destinations; /* a bit for each of 64 classes of destination port */
	int64_t last_ns;
	int is_backwards;
};

static int failures;

static void expect(int condition, const char *profile, const char *sentence)
{
	if (condition)
		return;
	printf("%s: it does not hold that %s\n", profile, sentence);
	failures++;
}

static void add(struct totals *t, const struct fx_frame *frame)
{
	struct fx_packet p = { .time_ns = frame->time_ns };

	for (uint32_t i = 0; i < frame->captured_bytes; i++)
		t->digest = (t->digest ^ frame->bytes[i]) * 0x100000001b3; /* FNV-1a */
	t->digest = (t->digest ^ (uint64_t)frame->time_ns) * 0x100000001b3;
	fx_parse_frame(frame->bytes, frame->bytes + frame->captured_bytes, frame->wire_bytes,
		       frame->linktype, &p);
	t->packets++;
	t->not_understood += p.decode != 0;
	t->syn += (p.tcp_flags & 0x12) == 0x02;
	t->rst += (p.tcp_flags & 0x04) != 0;
	t->fin += (p.tcp_flags & 0x01) != 0;
	t->udp += p.proto == 17;
	t->icmp += p.proto == 1 || p.proto == 58;
	t->ip6 += p.ip_version == 6;
	t->payload += p.payload_bytes;
	t->destinations |= (uint64_t)1 << (p.dst_port & 63);
	t->is_backwards |= p.time_ns <= t->last_ns;
	t->last_ns = p.time_ns;
}

static struct totals run(const char *profile, uint64_t seed)
{
	struct totals totals = { .digest = 0xcbf29ce484222325 };
	struct fx_frame frames[FX_BLOCK_FRAMES];
	fx_source *source;
	int got;

	if (fx_source_open_synth(profile, seed, PACKETS, &source) < 0) {
		expect(0, profile, fx_last_error());
		return totals;
	}
	/* Blocks of odd sizes give the same frames. */
	for (int size = 1; (got = source->ops->next(source, frames, size)) > 0;
	     size = size % FX_BLOCK_FRAMES + 1)
		for (int i = 0; i < got; i++)
			add(&totals, &frames[i]);
	fx_source_close(source);
	return totals;
}

static struct totals check_profile(const char *profile)
{
	struct totals first = run(profile, 1), again = run(profile, 1), other = run(profile, 2);

	expect(first.packets == PACKETS, profile, "the packets asked for come");
	expect(first.digest == again.digest, profile, "the same seed gives the same frames");
	expect(first.digest != other.digest, profile, "another seed gives others");
	expect(!first.is_backwards, profile, "time goes forward");
	return first;
}

static void check_profiles(void)
{
	struct totals t = check_profile("mice");

	expect(!t.not_understood, "mice", "all frames are understood");
	expect(t.syn > PACKETS / 30 && t.fin > t.syn, "mice", "flows begin and end all the time");
	t = check_profile("elephants");
	expect(!t.not_understood, "elephants", "all frames are understood");
	expect(t.syn == 16 && t.fin == 0, "elephants", "16 flows begin and none ends");
	expect(t.payload > PACKETS * 700ull, "elephants", "most frames are full");
	t = check_profile("mixed");
	expect(!t.not_understood, "mixed", "all frames are understood");
	expect(t.udp > PACKETS / 20 && t.icmp > PACKETS / 100 && t.ip6 > PACKETS / 20, "mixed",
	       "there is UDP, ICMP and IPv6");
	t = check_profile("scan");
	expect(!t.not_understood && t.payload == 0, "scan", "no payload is sent");
	expect(t.syn + t.rst == PACKETS && t.rst > PACKETS / 4, "scan", "probes are refused");
	expect(t.destinations == UINT64_MAX, "scan", "ports of all kinds are tried");
	t = check_profile("syn_flood");
	expect(t.syn == PACKETS && !t.not_understood, "syn_flood", "there are only SYNs");
	t = check_profile("fuzz");
	expect(t.not_understood > PACKETS / 10 && t.not_understood < PACKETS * 9ull / 10, "fuzz",
	       "some frames are understood and some are not");
}

static void check_stream(void)
{
	fx_stream_options options;
	fx_stream_stats stats;
	fx_source *source;
	fx_stream *stream;
	fx_batch *batch;
	int flags;

	fx_stream_options_default(&options);
	options.flow_budget_bytes = 1 << 20;
	options.packet_rows = FX_PACKET_ROWS_ALL;
	if (fx_source_open_synth("fuzz", 3, FUZZ_PACKETS, &source) < 0 ||
	    fx_stream_new(source, &options, &stream) < 0 ||
	    fx_batch_new(1000, 500, 300, NULL, NULL, NULL, &batch) < 0) {
		expect(0, "fuzz", fx_last_error());
		return;
	}
	do
		flags = fx_stream_next(stream, batch);
	while (flags >= 0 && !(flags & FX_NEXT_END));
	fx_stream_stats_read(stream, &stats);
	expect(flags >= 0, "fuzz", "random frames go through the whole core");
	expect(stats.packets == FUZZ_PACKETS, "fuzz", "each random frame is counted");
	fx_batch_free(batch);
	fx_stream_free(stream);
	fx_source_close(source);
}

int main(void)
{
	fx_source *source;

	check_profiles();
	expect(fx_source_open_synth("nonsense", 1, 1, &source) < 0, "nonsense", "it is refused");
	expect(strstr(fx_last_error(), "no profile 'nonsense'") != NULL, "nonsense", "it is named");
	check_stream();
	printf("%d failures\n", failures);
	return failures != 0;
}
