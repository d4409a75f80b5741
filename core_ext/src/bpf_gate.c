/* SPDX-License-Identifier: Apache-2.0 */
/* The gate's maps from outside: entries in and out by the batch, what is over swept, counters read. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bpf_gate.h"
#include "fx/error.h"

int fx_gate_new(fx_bpf *object, fx_gate **out)
{
	static const char *const names[GATE_MAPS] = { "entries", "prefixes4", "prefixes6" };
	fx_gate *gate = calloc(1, sizeof(*gate));

	*out = NULL;
	if (!gate)
		return fx_fail(-ENOMEM, "no memory for the gate");
	for (int i = 0; i < GATE_MAPS; i++) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info);

		gate->maps[i].name = names[i];
		gate->maps[i].fd = fx_bpf_map_fd(object, names[i]);
		if (gate->maps[i].fd < 0 ||
		    bpf_obj_get_info_by_fd(gate->maps[i].fd, &info, &size) < 0)
			goto out;
		gate->maps[i].capacity = info.max_entries - (i != GATE_ENTRIES);
		gate->maps[i].key_bytes = info.key_size;
	}
	gate->never_fd = fx_bpf_map_fd(object, "never");
	gate->cpus_fd = fx_bpf_map_fd(object, "cpus");
	gate->filters_fd = fx_bpf_map_fd(object, ".bss");
	if (gate->never_fd < 0 || gate->cpus_fd < 0 || gate->filters_fd < 0)
		goto out;
	gate->next_end_ns = UINT64_MAX;
	*out = gate;
	return 0;
out:
	fx_gate_free(gate);
	return -ENOENT; /* fx_bpf_map_fd() has said which */
}

void fx_gate_free(fx_gate *gate)
{
	free(gate); /* the descriptors are the object's */
}

uint64_t fx_gate_held(const fx_gate *gate)
{
	return gate->maps[0].held + gate->maps[1].held + gate->maps[2].held;
}

uint64_t gate_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * FX_GATE_SECOND_NS + (uint64_t)now.tv_nsec;
}

int gate_map_of(const fx_gate_entry *entry)
{
	if (entry->kind != FX_GATE_PREFIX)
		return GATE_ENTRIES;
	return entry->bits >= FX_GATE_IP4_BITS && memcmp(entry->octets, gate_ip4, 12) == 0 ?
		       GATE_PREFIXES4 :
		       GATE_PREFIXES6;
}

void gate_put_key(const fx_gate_entry *entry, int map, union gate_key *key)
{
	memset(key, 0, sizeof(*key));
	switch (map) {
	case GATE_ENTRIES:
		memcpy(key->addr.octets, entry->octets, 16);
		if (entry->kind == FX_GATE_MAC) {
			memset(key->addr.octets, 0xff, 10);
			memcpy(key->addr.octets + 10, entry->octets, 6);
		}
		break;
	case GATE_PREFIXES4:
		key->prefix4.bits = entry->bits - FX_GATE_IP4_BITS;
		memcpy(&key->prefix4.addr_be, entry->octets + 12, 4);
		break;
	default:
		key->prefix.bits = entry->bits;
		memcpy(key->prefix.octets, entry->octets, 16);
	}
}

static void take_key(const union gate_key *key, int map, fx_gate_entry *entry)
{
	static const uint8_t ones[10] = { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };

	memset(entry->octets, 0, sizeof(entry->octets));
	entry->bits = FX_GATE_KEY_BITS;
	entry->kind = map == GATE_ENTRIES ? FX_GATE_ADDRESS : FX_GATE_PREFIX;
	switch (map) {
	case GATE_ENTRIES:
		memcpy(entry->octets, key->addr.octets, 16);
		if (memcmp(key->addr.octets, ones, sizeof(ones)) == 0) {
			memset(entry->octets, 0, sizeof(entry->octets));
			memcpy(entry->octets, key->addr.octets + 10, 6);
			entry->kind = FX_GATE_MAC;
		}
		break;
	case GATE_PREFIXES4:
		entry->bits = key->prefix4.bits + FX_GATE_IP4_BITS;
		memcpy(entry->octets, gate_ip4, 12);
		memcpy(entry->octets + 12, &key->prefix4.addr_be, 4);
		break;
	default:
		entry->bits = key->prefix.bits;
		memcpy(entry->octets, key->prefix.octets, 16);
	}
}

static void take_value(const struct fx_gate_value *value, fx_gate_entry *entry)
{
	entry->until_ns = value->until_ns;
	entry->hits = value->hits;
	entry->limits = value->action == FX_GATE_LIMIT;
	memcpy(entry->interval_ns, value->interval_ns, sizeof(entry->interval_ns));
}

void gate_mark(struct fx_gate_octets *filter, uint8_t octet)
{
	filter->words[octet >> 6] |= 1ull << (octet & 63);
}

int gate_write_filters(const fx_gate *gate)
{
	uint32_t first = 0;

	if (bpf_map_update_elem(gate->filters_fd, &first, &gate->filters, BPF_ANY) == 0)
		return 0;
	return fx_fail(-errno, "the gate's filters: %s", strerror(errno));
}

/* Calls visit() for each entry of a map; returns how many there were, or -errno. */
int64_t gate_each(fx_gate *gate, int map, gate_visit *visit, void *state)
{
	const struct gate_map *one = &gate->maps[map];
	uint32_t room = GATE_BATCH, size = one->key_bytes;
	uint8_t token[32] = { 0 }, *keys = NULL;
	struct fx_gate_value *values = NULL;
	int64_t seen = 0;
	int code = 0, begun = 0;

	while (code == 0) {
		LIBBPF_OPTS(bpf_map_batch_opts, options);
		uint8_t *wider = keys ? NULL : malloc((size_t)room * size);
		uint32_t count = room;

		if (!keys && (!wider || !(values = malloc(room * sizeof(*values))))) {
			free(wider);
			return -ENOMEM;
		}
		keys = keys ? keys : wider;
		if (bpf_map_lookup_batch(one->fd, begun ? token : NULL, token, keys, values, &count,
					 &options) < 0)
			code = -errno;
		if (code == -ENOSPC) { /* a bucket holds more: none of it was read */
			room *= 2;
			free(keys);
			free(values);
			keys = NULL;
			values = NULL;
			code = 0;
			continue;
		}
		if (code && code != -ENOENT)
			break;
		begun = 1;
		for (uint32_t i = 0; i < count; i++) {
			fx_gate_entry entry = { 0 };
			union gate_key key = { 0 };

			memcpy(&key, keys + (size_t)i * size, size);
			take_key(&key, map, &entry);
			take_value(&values[i], &entry);
			visit(gate, &key, &entry, state);
		}
		seen += count;
	}
	free(keys);
	free(values);
	return code == -ENOENT ? seen : code;
}

struct listing {
	fx_gate_entry *out;
	uint64_t capacity, count;
};

static void list_one(fx_gate *gate, const union gate_key *key, const fx_gate_entry *entry,
		     void *state)
{
	struct listing *listing = state;

	(void)gate;
	(void)key;
	if (listing->count < listing->capacity)
		listing->out[listing->count] = *entry;
	listing->count++;
}

int64_t fx_gate_list(fx_gate *gate, fx_gate_entry *out, uint64_t capacity)
{
	struct listing listing = { out, capacity, 0 };

	for (int map = 0; map < GATE_MAPS; map++) {
		int64_t code = gate_each(gate, map, list_one, &listing);

		if (code < 0)
			return fx_fail((int)code, "reading the gate's %s: %s", gate->maps[map].name,
				       strerror((int)-code));
	}
	return (int64_t)listing.count;
}

int fx_gate_counter_names(const fx_gate_counter **out)
{
	static const fx_gate_counter names[] = {
#define FX_GATE_ONE(name, action, meaning) { #name, #action, meaning },
		FX_GATE_OUTCOMES(FX_GATE_ONE)
#undef FX_GATE_ONE
	};

	*out = names;
	return FX_GATE_COUNTS;
}

int fx_gate_counters(const fx_gate *gate, uint64_t *out)
{
	int processors = libbpf_num_possible_cpus();
	struct fx_gate_cpu *each = calloc((size_t)(processors > 0 ? processors : 1), sizeof(*each));
	uint32_t first = 0;
	int code = 0;

	memset(out, 0, FX_GATE_COUNTS * sizeof(*out));
	if (!each || processors < 1)
		code = -ENOMEM;
	else if (bpf_map_lookup_elem(gate->cpus_fd, &first, each) < 0)
		code = -errno;
	for (int cpu = 0; !code && cpu < processors; cpu++) {
		for (int i = 0; i < FX_GATE_COUNTS; i++)
			out[i] += each[cpu].counts[i];
	}
	free(each);
	return code ? fx_fail(code, "reading the gate's counters: %s", strerror(-code)) : 0;
}
