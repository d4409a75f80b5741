/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of shunted directions over real maps: what is taken, read, let pass, given back, and used again. The test counts
 * as the filter does. Where this process may not make maps it says so and ends well.
 */
#include "tap_maps.h"

#include <time.h>

enum { SLOTS = TAP_SLOTS };

static int failures;

static void expect(int is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "not so: %s\n", what);
	failures++;
}

/* The slot of a key as the filter finds it, FX_NO_SHUNT without one. */
static fx_u32 find(int map, const struct fx_shunt_key *key)
{
	fx_u32 slot = FX_NO_SHUNT;
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (fx_u32)map;
	a.key = (fx_u64)(uintptr_t)key;
	a.value = (fx_u64)(uintptr_t)&slot;
	return syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)) ? FX_NO_SHUNT : slot;
}

static void count(struct fx_shunt_slot *slot, fx_u32 packets, fx_u64 payload)
{
	slot->payload_bytes += payload;
	slot->bytes += payload + packets * 40;
	slot->last_ns += 1000;
	slot->packets += payload ? (fx_u64)packets << 32 | packets : packets;
}

static struct fx_shunt_key key_of(fx_u64 number)
{
	struct fx_shunt_key key;

	memset(&key, 0, sizeof(key));
	key.tail = number;
	return key;
}

static void rest(void)
{
	const struct timespec quiet = { .tv_nsec = FX_SHUNT_QUIET_NS + 20000000 };

	nanosleep(&quiet, NULL);
}

static void test_one_direction(int keys, int slots, struct fx_shunt_slot *memory)
{
	struct fx_shunt_key key = key_of(1);
	struct fx_shunt_counts c;
	const fx_u32 *used;
	struct fx_shunt *h;
	fx_u32 slot;

	expect(fx_shunt_open(keys, slots, FX_SHUNT_COUNT, &h) == 0, "opens");
	slot = fx_shunt_add(h, &key, 77);
	expect(slot < SLOTS && find(keys, &key) == slot, "the filter finds the key");
	expect(memory[slot].mode == FX_SHUNT_COUNT && fx_shunt_owner(h, slot) == 77, "counts");
	expect(!fx_shunt_read(h, slot, &c), "nothing was counted");
	count(&memory[slot], 3, 3000);
	count(&memory[slot], 2, 0);
	expect(fx_shunt_read(h, slot, &c) && c.pkts == 5 && c.data_pkts == 3 && c.bytes == 3200 &&
		       c.payload_bytes == 3000,
	       "what was counted");
	expect(!fx_shunt_read(h, slot, &c), "it is told once");
	/* Beyond 32 bits the carry is no packet with payload. */
	count(&memory[slot], 0xfffffffe, 0);
	expect(fx_shunt_read(h, slot, &c) && c.pkts == 0xfffffffe && c.data_pkts == 0, "a carry");
	expect(fx_shunt_used(h, &used) == 1 && used[0] == slot, "it is in use");
	fx_shunt_pass(h, slot);
	expect(find(keys, &key) == FX_NO_SHUNT && memory[slot].mode == FX_SHUNT_PASS, "it passes");
	count(&memory[slot], 1, 10);
	expect(fx_shunt_read(h, slot, &c) && c.pkts == 1, "what a late program counts is told");
	fx_shunt_release(h, slot);
	expect(fx_shunt_used(h, &used) == 0, "it is given back");
	fx_shunt_close(h);
}

static void test_rest_and_refusal(int keys, int slots, struct fx_shunt_slot *memory)
{
	fx_shunt_stats stats;
	struct fx_shunt *h;
	fx_u32 taken[SLOTS], again;
	struct fx_shunt_key key;

	expect(fx_shunt_open(keys, slots, FX_SHUNT_HEADERS, &h) == 0, "opens");
	for (fx_u32 i = 0; i < SLOTS; i++) {
		key = key_of(100 + i);
		taken[i] = fx_shunt_add(h, &key, i);
		expect(taken[i] != FX_NO_SHUNT && memory[taken[i]].mode == FX_SHUNT_HEADERS,
		       "there is room");
	}
	key = key_of(99);
	expect(fx_shunt_add(h, &key, 0) == FX_NO_SHUNT, "now it is full");
	fx_shunt_release(h, taken[3]);
	expect(fx_shunt_add(h, &key, 0) == FX_NO_SHUNT, "a slot rests");
	count(&memory[taken[3]], 4, 400);
	rest();
	again = fx_shunt_add(h, &key, 5);
	expect(again == taken[3] && find(keys, &key) == again, "then it is used again");
	count(&memory[again], 2, 100);
	fx_shunt_stats_read(h, &stats);
	expect(stats.lost_packets == 4, "what came to nobody is told");
	expect(stats.refused == 2 && stats.added == SLOTS + 1 && stats.directions == SLOTS,
	       "the counters");
	key = key_of(100);
	fx_shunt_release(h, taken[5]);
	rest();
	expect(fx_shunt_add(h, &key, 9) == FX_NO_SHUNT, "a key that is there is not put twice");
	expect(find(keys, &key) == taken[0], "and stays whose it was");
	fx_shunt_switch(h, 0);
	key = key_of(98);
	expect(fx_shunt_add(h, &key, 9) == FX_NO_SHUNT, "switched off: none is taken");
	fx_shunt_close(h);
	for (fx_u64 i = 0; i < SLOTS; i++) {
		key = key_of(100 + i);
		expect(find(keys, &key) == FX_NO_SHUNT, "nothing is left behind");
	}
}

/* A reader that died left keys and counts. */
static void test_after_another(int keys, int slots, struct fx_shunt_slot *memory)
{
	struct fx_shunt_key key = key_of(1), other = key_of(2);
	struct fx_shunt_counts c;
	struct fx_shunt *dead, *h;
	fx_u32 slot;

	expect(fx_shunt_open(keys, slots, FX_SHUNT_COUNT, &dead) == 0, "opens");
	slot = fx_shunt_add(dead, &key, 1);
	count(&memory[slot], 9, 900);
	expect(fx_shunt_open(keys, slots, FX_SHUNT_COUNT, &h) == 0, "opens beside it");
	expect(find(keys, &key) == FX_NO_SHUNT, "its keys are gone");
	slot = fx_shunt_add(h, &other, 1);
	expect(!fx_shunt_read(h, slot, &c), "its counts are not ours");
	fx_shunt_close(h);
	fx_shunt_close(dead);
}

int main(void)
{
	struct tap_maps maps;
	struct fx_shunt *h;

	if (!make_tap_maps(&maps))
		return 0;
	expect(fx_shunt_open(maps.slots, maps.keys, FX_SHUNT_COUNT, &h) == -EINVAL && !h, "others");
	expect(fx_shunt_open(0x7fff, maps.slots, FX_SHUNT_COUNT, &h) < 0 && !h, "no descriptor");
	test_one_direction(maps.keys, maps.slots, maps.memory);
	test_rest_and_refusal(maps.keys, maps.slots, maps.memory);
	test_after_another(maps.keys, maps.slots, maps.memory);
	end_tap_maps(&maps);
	return failures != 0;
}
