/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a program that parses frames in the kernel, runs it on frames of a source and compares every
 * column with what the same parser gives here.
 *
 *     run_parse OBJECT.bpf.o FRAMES [CAPTURE...]      without a capture: the generator's "fuzz";
 *                                                     0 frames: the program is only loaded
 *
 * Exit codes: 0 equal, 1 different, 2 cannot run, 77 this kernel or user may not load programs.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx/parse.h"
#include "fx/source.h"

enum {
	SMALLEST = 14,
	LARGEST = 3500,
	NOT_ALLOWED = 77,
	REFUSED = -1
}; /* what test runs of XDP accept */

static int show(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, arguments);
}

/* 0 = all columns are the same. */
static int differs(const struct fx_packet *kernel, const struct fx_packet *here)
{
	int count = 0;
#define FX_COLUMN(type, name, unit, meaning)                               \
	if (memcmp(&kernel->name, &here->name, sizeof(here->name)) != 0) { \
		printf("  column %s differs\n", #name);                    \
		count++;                                                   \
	}
#include "fx/packet_columns.def"
#undef FX_COLUMN
	return count;
}

/* How many columns differ, REFUSED if the kernel makes no socket buffer of such a frame. */
static int compare(int program, int map, const struct fx_frame *frame)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame->bytes,
		    .data_size_in = frame->captured_bytes, .repeat = 1);
	struct fx_packet kernel = { 0 }, here = { 0 };
	__u32 key = 0;

	memset(&kernel, 0xff, sizeof(kernel));
	kernel.time_ns = here.time_ns = 0;
	kernel.iface = here.iface = 0;
	bpf_map_update_elem(map, &key, &kernel, BPF_ANY);
	if (bpf_prog_test_run_opts(program, &options) < 0)
		return REFUSED;
	bpf_map_lookup_elem(map, &key, &kernel);
	fx_parse_frame(frame->bytes, frame->bytes + frame->captured_bytes, frame->captured_bytes,
		       FX_LINKTYPE_ETHERNET, &here);
	return differs(&kernel, &here);
}

static int compare_all(int program, int map, fx_source *source, uint64_t limit)
{
	struct fx_frame frames[FX_BLOCK_FRAMES];
	uint64_t done = 0;
	int failures = 0, got;

	while (done < limit && failures < 20 &&
	       (got = source->ops->next(source, frames, FX_BLOCK_FRAMES)) > 0) {
		for (int i = 0; i < got; i++) {
			uint32_t size = frames[i].captured_bytes;
			int differences;

			if (size < SMALLEST || size > LARGEST || frames[i].linktype != 1)
				continue;
			differences = compare(program, map, &frames[i]);
			if (differences == REFUSED)
				continue;
			failures += differences;
			done++;
		}
	}
	printf("%" PRIu64 " frames parsed in the kernel, %d differences\n", done, failures);
	return failures || done < limit / 2;
}

int main(int count, char **words)
{
	static char log[65536]; /* of the verifier: how many instructions it looked at */
	LIBBPF_OPTS(bpf_object_open_opts, options, .kernel_log_level = 4, .kernel_log_buf = log,
		    .kernel_log_size = sizeof(log));
	struct bpf_object *object;
	fx_source *source;
	int code;

	if (count < 3)
		return 2;
	libbpf_set_print(show);
	object = bpf_object__open_file(words[1], &options);
	if (!object)
		return 2;
	code = bpf_object__load(object);
	printf("%s", strstr(log, "processed") ? strstr(log, "processed") : log);
	if (code < 0)
		return code == -EPERM ? NOT_ALLOWED : 2;
	if (count > 3)
		code = fx_source_open_pcap((const char *const *)words + 3, count - 3, &source);
	else
		code = fx_source_open_synth("fuzz", 1, UINT32_MAX, &source);
	if (code < 0) {
		printf("%s\n", fx_last_error());
		return 2;
	}
	code = compare_all(bpf_program__fd(bpf_object__next_program(object, NULL)),
			   bpf_object__find_map_fd_by_name(object, "parsed"), source,
			   strtoull(words[2], NULL, 10));
	fx_source_close(source);
	bpf_object__close(object);
	return code;
}
