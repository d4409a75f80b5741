/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tap's program as this machine's code, so that callgrind counts the instructions of each way through it. Maps are
 * what the way says; lookups and copies are counted, and what they cost is not the tap's. Prints "way lookups octets".
 */
#include <stdio.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "../../core_ext/bpf/tap.bpf.c"

enum { FRAMES = 1000, FRAME_OCTETS = 1514, PORT = 5001 };

struct way {
	const char *name;
	int is_shunted, mode, is_asked_for;
	__u8 flags;
};

static const struct way *way;
static struct scratch copied;
static struct fx_shunt_slot slot;
static __u64 ports;
static __u8 frame[FRAME_OCTETS];
static long lookups;

static void *look_up(void *map, const void *key)
{
	static __u32 number;

	lookups++;
	if (map == (void *)&scratch)
		return &copied;
	if (map == (void *)&shunted)
		return way->is_shunted ? &number : NULL;
	if (map == (void *)&slots)
		return &slot;
	ports = way->is_asked_for && *(const __u32 *)key == FX_WHOLE_TCP + PORT / 64 ?
			1ull << (PORT & 63) :
			0;
	return &ports;
}

static long load_bytes(const void *skb, __u32 offset, void *to, __u32 count)
{
	(void)skb;
	memcpy(to, frame + offset, count);
	return 0;
}

static __u64 clock_ns(void)
{
	return 1000;
}

/* Ethernet, IPv4 and TCP with a time stamp, 1,448 octets of payload. */
static void make_frame(void)
{
	static const __u8 start[] = {
		2,    0,    0,	       0,	   0, 2, 2,  0, 0,  0, 0, 1, 8,	   0, /* Ethernet */
		0x45, 0,    5,	       220,	   0, 0, 0,  0, 64, 6, 0, 0, 10,   7,	 0, 1, 10,
		7,    0,    2, /* IPv4 */
		0x9c, 0x40, PORT >> 8, PORT & 255, 0, 0, 0,  1, 0,  0, 0, 1, 0x80, 0x10, 2, 0, 0,
		0,    0,    0,	       1,	   1, 8, 10, 0, 0,  0, 1, 0, 0,	   0,	 1 /* TCP */
	};

	memcpy(frame, start, sizeof(start));
	frame[47] = way->flags;
}

int main(void)
{
	static const struct way ways[] = {
		{ "not_shunted", 0, 0, 0, 0x10 },
		{ "counted", 1, FX_SHUNT_COUNT, 0, 0x10 },
		{ "counted_fin", 1, FX_SHUNT_COUNT, 0, 0x11 },
		{ "headers", 1, FX_SHUNT_HEADERS, 0, 0x10 },
		{ "asked_for", 1, FX_SHUNT_COUNT, 1, 0x10 },
	};

	bpf_map_lookup_elem = look_up;
	bpf_skb_load_bytes = load_bytes;
	bpf_ktime_get_ns = clock_ns;
	for (size_t number = 0; number < sizeof(ways) / sizeof(*ways); number++) {
		struct __sk_buff skb = { .len = FRAME_OCTETS };
		int octets = 0;

		way = &ways[number];
		make_frame();
		memset(&slot, 0, sizeof(slot));
		slot.mode = (__u64)way->mode;
		lookups = 0;
		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_ZERO_STATS;
		for (int i = 0; i < FRAMES; i++)
			octets = tap_ethernet(&skb);
		CALLGRIND_DUMP_STATS_AT(way->name);
		CALLGRIND_STOP_INSTRUMENTATION;
		printf("%s %ld %d\n", way->name, lookups / FRAMES, octets);
	}
	return 0;
}
