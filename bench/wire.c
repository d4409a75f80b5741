/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends small packets as fast as the kernel makes them, or paced: `wire OBJECT INTERFACE FRAMES BYTES PER_SECOND`
 * (0 = as fast as it can) with the program of wire.bpf.c; prints "frames seconds". The peer must have GRO on or a
 * native XDP program, or a veth drops what comes.
 */
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

enum {
	FRAME_MAX = 1514,
	BATCH = 64,
	RUNS_A_SECOND = 10
}; /* each run costs the kernel some 25 ms of waiting */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
	struct timespec t = { .tv_sec = (time_t)when };

	t.tv_nsec = (long)((when - (double)t.tv_sec) * 1e9);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Ethernet, IPv4 and UDP to 10.77.0.2 port 9; the program writes who sends it. */
static void make_template(uint8_t *frame, unsigned int bytes)
{
	static const uint8_t ends[] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0 };
	static const uint8_t to[] = { 10, 77, 0, 2 };

	memcpy(frame, ends, sizeof(ends));
	frame[14] = 0x45;
	put16(frame + 16, bytes - 14);
	frame[22] = 64;
	frame[23] = 17;
	memcpy(frame + 30, to, sizeof(to));
	put16(frame + 36, 9);
	put16(frame + 38, bytes - 34);
}

static int open_program(const char *object, const char *interface)
{
	struct bpf_object *o = bpf_object__open_file(object, NULL);
	struct bpf_map *constants;
	uint32_t ifindex = if_nametoindex(interface);

	if (!o || !ifindex)
		return -1;
	constants = bpf_object__find_map_by_name(o, ".rodata");
	if (!constants || bpf_map__set_initial_value(constants, &ifindex, sizeof(ifindex)) ||
	    bpf_object__load(o))
		return -1;
	return bpf_program__fd(bpf_object__find_program_by_name(o, "make_frame"));
}

int main(int count, char **words)
{
	uint8_t frame[FRAME_MAX] = { 0 };
	struct xdp_md context = { 0 };
	long frames, sent = 0, per_second, chunk;
	double begun;
	int fd;

	if (count != 6)
		return 2;
	frames = atol(words[3]);
	context.data_end = (uint32_t)atoi(words[4]);
	per_second = atol(words[5]);
	if (context.data_end < 60 || context.data_end > FRAME_MAX)
		return 2;
	make_template(frame, context.data_end);
	fd = open_program(words[1], words[2]);
	if (fd < 0) {
		fprintf(stderr, "wire: %s on %s: %s\n", words[1], words[2], strerror(errno));
		return 1;
	}
	chunk = per_second ? per_second / RUNS_A_SECOND + 1 : 100000;
	for (begun = now(); sent < frames; sent += chunk) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame,
			    .data_size_in = context.data_end, .ctx_in = &context,
			    .ctx_size_in = sizeof(context), .batch_size = BATCH,
			    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);

		chunk = chunk < frames - sent ? chunk : frames - sent;
		options.repeat = (int)chunk;
		if (bpf_prog_test_run_opts(fd, &options)) {
			fprintf(stderr, "wire: %s\n", strerror(errno));
			return 1;
		}
		if (per_second)
			sleep_until(begun + (double)(sent + chunk) / (double)per_second);
	}
	printf("%ld %.6f\n", sent, now() - begun);
	return 0;
}
