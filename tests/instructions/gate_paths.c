/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate's program as this machine's code, so that callgrind counts the instructions of each way through it. Maps
 * hold one entry each; lookups are counted, and what they cost is not the gate's. Prints "way lookups outcome".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <valgrind/callgrind.h>

#include "../../core_ext/bpf/gate.bpf.c"

enum { FRAMES = 1000, FRAME_AREA = 4096 };

static const fx_u8 attacker[4] = { 203, 0, 113, 7 }, neighbour[4] = { 198, 51, 100, 9 };
static const fx_u8 mac[6] = { 2, 0, 0, 0, 0, 7 };

/* What the maps hold in a way; the rest is empty. */
struct way {
	const char *name;
	int by_address, by_prefix, by_mac, limits, both, ip6;
};

static struct fx_gate_value value;
static struct fx_gate_cpu cpu;
static const struct way *way;
static long lookups;

static int is_attacker(const fx_u8 *octets)
{
	return way->ip6 ? octets[0] == 0x20 && octets[15] == 7 :
			  memcmp(octets + 12, attacker, 4) == 0;
}

static void *look_up(void *map, const void *key)
{
	const fx_u8 *octets = key;

	lookups++;
	if (map == (void *)&cpus)
		return &cpu;
	if (map == (void *)&entries) {
		if (octets[0] == 0xff && octets[9] == 0xff)
			return way->by_mac ? &value : NULL;
		return way->by_address && is_attacker(octets) ? &value : NULL;
	}
	if (map == (void *)&prefixes4)
		return way->by_prefix && memcmp(octets + 4, attacker, 3) == 0 ? &value : NULL;
	return NULL;
}

static __u64 jiffies(void)
{
	return 1;
}

static __u64 clock_ns(void)
{
	return 1000;
}

static size_t make_frame(fx_u8 *frame)
{
	static const fx_u8 udp4[] = { 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0 };
	static const fx_u8 udp6[] = { 0x60, 0, 0, 0, 0, 16, 17, 64 };
	fx_u8 *at = frame + FX_ETHERNET_HEADER;

	memset(frame, 0, FRAME_AREA);
	frame[0] = 2;
	memcpy(frame + 6, mac, sizeof(mac));
	frame[12] = way->ip6 ? 0x86 : 0x08;
	frame[13] = way->ip6 ? 0xdd : 0x00;
	if (way->ip6) {
		memcpy(at, udp6, sizeof(udp6));
		at[8] = at[24] = 0x20;
		at[23] = 7;
	} else {
		memcpy(at, udp4, sizeof(udp4));
		memcpy(at + 12, attacker, 4);
		memcpy(at + 16, neighbour, 4);
	}
	return FX_ETHERNET_HEADER + 56;
}

int main(void)
{
	static const struct way ways[] = {
		{ .name = "address", .by_address = 1 },
		{ .name = "address6", .by_address = 1, .ip6 = 1 },
		{ .name = "prefix", .by_prefix = 1 },
		{ .name = "mac", .by_mac = 1 },
		{ .name = "limit", .by_address = 1, .limits = 1 },
		{ .name = "nothing" },
		{ .name = "nothing_both", .both = 1 },
	};
	/* The context has 32 bits for an address. */
	fx_u8 *frame = mmap(NULL, FRAME_AREA, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (frame == MAP_FAILED)
		return 1;
	bpf_map_lookup_elem = look_up;
	bpf_jiffies64 = jiffies;
	bpf_ktime_get_boot_ns = clock_ns;
	for (size_t number = 0; number < sizeof(ways) / sizeof(*ways); number++) {
		struct xdp_md context = { .data = (__u32)(unsigned long)frame };
		int outcome = 0;

		way = &ways[number];
		context.data_end = context.data + (__u32)make_frame(frame);
		memset(&value, 0, sizeof(value));
		memset(&filters, 0, sizeof(filters));
		memset(&cpu, 0, sizeof(cpu));
		value.action = way->limits ? FX_GATE_LIMIT : FX_GATE_DROP;
		value.interval_ns[FX_GATE_UDP] = 2000000000;
		if (way->by_mac)
			memset(&filters.mac, 0xff, sizeof(filters.mac));
		lookups = 0;
		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_ZERO_STATS;
		for (int i = 0; i < FRAMES; i++)
			outcome = way->both ? fortress_gate_d(&context) : fortress_gate(&context);
		CALLGRIND_DUMP_STATS_AT(way->name);
		CALLGRIND_STOP_INSTRUMENTATION;
		printf("%s %ld %s\n", way->name, lookups / FRAMES,
		       outcome == XDP_DROP ? "drop" : "pass");
	}
	return 0;
}
