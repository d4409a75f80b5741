/* SPDX-License-Identifier: Apache-2.0 */
/* Entries into the gate's maps, all or none, and out again. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf_gate.h"
#include "fx/error.h"

/* What one map gets in one call of fx_gate_add(), and what it held before. */
struct addition {
	struct gate_map *map;
	uint32_t count, fresh, done; /* fresh = keys that were not there */
	uint8_t *keys; /* as the map lays them out */
	struct fx_gate_value *values, *before;
	uint8_t *was_there;
};

static void free_addition(struct addition *one)
{
	free(one->keys);
	free(one->values);
	free(one->before);
	free(one->was_there);
}

static int make_addition(struct addition *one, struct gate_map *map, uint32_t count)
{
	memset(one, 0, sizeof(*one));
	one->map = map;
	if (!count)
		return 0;
	one->keys = malloc((size_t)count * map->key_bytes);
	one->values = calloc(count, sizeof(*one->values));
	one->before = calloc(count, sizeof(*one->before));
	one->was_there = calloc(count, 1);
	return one->keys && one->values && one->before && one->was_there ? 0 : -ENOMEM;
}

static void *key_at(const struct addition *one, uint32_t i)
{
	return one->keys + (size_t)i * one->map->key_bytes;
}

/* The value of an entry; an entry that is there already keeps its hits and its buckets. */
static void append(struct addition *one, const fx_gate_entry *entry, const union gate_key *key)
{
	uint32_t i = one->count++;
	struct fx_gate_value *value = &one->values[i];

	memcpy(key_at(one, i), key, one->map->key_bytes);
	if (bpf_map_lookup_elem(one->map->fd, key, &one->before[i]) == 0) {
		one->was_there[i] = 1;
		*value = one->before[i];
	} else {
		one->fresh++;
	}
	value->until_ns = entry->until_ns;
	value->action = entry->limits ? FX_GATE_LIMIT : FX_GATE_DROP;
	memcpy(value->interval_ns, entry->interval_ns, sizeof(entry->interval_ns));
}

static int write_addition(struct addition *one)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	int code = 0;

	one->done = one->count;
	if (one->count &&
	    bpf_map_update_batch(one->map->fd, one->keys, one->values, &one->done, &options) < 0)
		code = fx_fail(-errno, "the gate's %s: %s", one->map->name, strerror(errno));
	return code;
}

static void undo_addition(struct addition *one)
{
	for (uint32_t i = 0; i < one->done; i++) {
		if (one->was_there[i])
			bpf_map_update_elem(one->map->fd, key_at(one, i), &one->before[i], BPF_ANY);
		else
			bpf_map_delete_elem(one->map->fd, key_at(one, i));
	}
}

/* Room is asked for before anything is written: what is full says so, and holds what it held. */
static int has_room(const struct addition *one)
{
	const struct gate_map *map = one->map;

	if (map->held + one->fresh <= map->capacity)
		return 0;
	return fx_fail(-E2BIG, "the gate's %s are full: %llu of %u taken, %u new ones asked for",
		       map->name, (unsigned long long)map->held, map->capacity, one->fresh);
}

static void account(fx_gate *gate, const struct addition *one)
{
	one->map->held += one->fresh;
	for (uint32_t i = 0; i < one->count; i++) {
		uint64_t end_ns = one->values[i].until_ns;

		if (end_ns && end_ns < gate->next_end_ns)
			gate->next_end_ns = end_ns;
	}
}

/* Lays the entries out for their maps. */
static void sort_out(fx_gate *gate, const fx_gate_entry *entries, uint32_t count,
		     struct addition *additions)
{
	for (uint32_t i = 0; i < count; i++) {
		int map = gate_map_of(&entries[i]);
		union gate_key key;

		gate_put_key(&entries[i], map, &key);
		append(&additions[map], &entries[i], &key);
		if (entries[i].kind == FX_GATE_MAC)
			gate_mark(&gate->filters.mac, entries[i].octets[5]);
	}
}

static int write_all(fx_gate *gate, struct addition *additions)
{
	int code = 0;

	for (int map = 0; !code && map < GATE_MAPS; map++)
		code = has_room(&additions[map]);
	if (!code)
		code = gate_write_filters(gate); /* before the MACs that need them */
	for (int map = 0; !code && map < GATE_MAPS; map++)
		code = write_addition(&additions[map]);
	for (int map = 0; code && map < GATE_MAPS; map++)
		undo_addition(&additions[map]);
	return code;
}

int fx_gate_add(fx_gate *gate, const fx_gate_entry *entries, uint32_t count)
{
	struct addition additions[GATE_MAPS];
	uint32_t wanted[GATE_MAPS] = { 0 };
	int code = 0, crowded = 0;

	for (uint32_t i = 0; i < count; i++)
		wanted[gate_map_of(&entries[i])]++;
	for (int map = 0; map < GATE_MAPS; map++) {
		crowded |= gate->maps[map].held + wanted[map] > gate->maps[map].capacity;
		code |= make_addition(&additions[map], &gate->maps[map], wanted[map]);
	}
	if (code)
		code = fx_fail(-ENOMEM, "no memory for %u entries", count);
	else if (crowded && (code = (int)fx_gate_sweep(gate)) > 0)
		code = 0;
	if (!code) {
		sort_out(gate, entries, count, additions);
		code = write_all(gate, additions);
	}
	for (int map = 0; map < GATE_MAPS; map++) {
		if (!code)
			account(gate, &additions[map]);
		free_addition(&additions[map]);
	}
	return code;
}

int64_t fx_gate_remove(fx_gate *gate, const fx_gate_entry *keys, uint32_t count)
{
	int64_t removed = 0;

	for (uint32_t i = 0; i < count; i++) {
		int map = gate_map_of(&keys[i]);
		union gate_key key;

		gate_put_key(&keys[i], map, &key);
		if (bpf_map_delete_elem(gate->maps[map].fd, &key) == 0) {
			gate->maps[map].held--;
			removed++;
		} else if (errno != ENOENT) {
			return fx_fail(-errno, "the gate's %s: %s", gate->maps[map].name,
				       strerror(errno));
		}
	}
	return removed;
}
