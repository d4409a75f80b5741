/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of shunted directions: taken, read, given back. A slot that was given back rests until no program can still be
 * counting into it, and is used again before one that never was, so that few are ever touched.
 */
#include "shunt.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fx/error.h"

enum place_state { PLACE_FREE = 0, PLACE_USED, PLACE_PASSES };

/* What is kept of a slot beside the kernel's part of it. */
struct place {
	struct fx_shunt_key key;
	fx_u64 packets, bytes, payload_bytes; /* as read the last time */
	fx_i64 freed_ns;
	fx_u32 owner;
	fx_u32 at; /* in `used`; of a free one the next free one */
	fx_u32 state; /* enum place_state */
};

struct fx_shunt {
	int shunted_fd, slots_fd;
	struct fx_shunt_slot *slots;
	struct place *places;
	fx_u32 *used;
	fx_u32 size, used_count, untouched;
	fx_u32 free_first, free_last, free_count;
	int takes_new;
	enum fx_shunt_mode mode;
	fx_shunt_stats stats;
};

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes)) < 0 ? -errno : 0;
}

static fx_i64 monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (fx_i64)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Checks what kind of map a descriptor is of: how many entries it has, or -errno. */
static fx_i64 look_at_map(int fd, fx_u32 type, fx_u32 key_bytes, fx_u32 value_bytes,
			  const char *name)
{
	struct bpf_map_info info = { 0 };
	union bpf_attr a = { 0 };
	int code;

	a.info.bpf_fd = (fx_u32)fd;
	a.info.info_len = sizeof(info);
	a.info.info = (fx_u64)(uintptr_t)&info;
	code = bpf(BPF_OBJ_GET_INFO_BY_FD, &a);
	if (code)
		return fx_fail(code, "shunting: descriptor %d is not the tap's map %s: %s", fd,
			       name, strerror(-code));
	if (info.type != type || info.key_size != key_bytes || info.value_size != value_bytes)
		return fx_fail(-EINVAL, "shunting: descriptor %d is another map than the tap's %s",
			       fd, name);
	return info.max_entries;
}

static void *lazy_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static size_t slots_bytes(const struct fx_shunt *h)
{
	return h->size * sizeof(struct fx_shunt_slot);
}

static void drop_key(struct fx_shunt *h, const struct fx_shunt_key *key)
{
	union bpf_attr a = { 0 };

	a.map_fd = (fx_u32)h->shunted_fd;
	a.key = (fx_u64)(uintptr_t)key;
	bpf(BPF_MAP_DELETE_ELEM, &a);
}

/* Drops what a reader before us left behind. */
static void drop_all_keys(struct fx_shunt *h)
{
	struct fx_shunt_key key;
	union bpf_attr a = { 0 };

	for (fx_u32 i = 0; i <= h->size; i++) {
		a.map_fd = (fx_u32)h->shunted_fd;
		a.next_key = (fx_u64)(uintptr_t)&key;
		if (bpf(BPF_MAP_GET_NEXT_KEY, &a))
			return;
		drop_key(h, &key);
	}
}

int fx_shunt_open(int shunted_fd, int slots_fd, enum fx_shunt_mode mode, struct fx_shunt **out)
{
	struct fx_shunt *h = calloc(1, sizeof(*h));
	fx_i64 keys, size;

	*out = NULL;
	if (!h)
		return fx_fail(-ENOMEM, "shunting: no memory");
	h->shunted_fd = h->slots_fd = -1;
	keys = look_at_map(shunted_fd, BPF_MAP_TYPE_HASH, sizeof(struct fx_shunt_key),
			   sizeof(fx_u32), "shunted");
	size = keys < 0 ? keys :
			  look_at_map(slots_fd, BPF_MAP_TYPE_ARRAY, sizeof(fx_u32),
				      sizeof(struct fx_shunt_slot), "slots");
	if (size < 0) {
		fx_shunt_close(h);
		return (int)size;
	}
	h->size = (fx_u32)(keys < size ? keys : size);
	h->shunted_fd = dup(shunted_fd);
	h->slots_fd = dup(slots_fd);
	h->slots = mmap(NULL, slots_bytes(h), PROT_READ | PROT_WRITE, MAP_SHARED, slots_fd, 0);
	h->slots = h->slots == MAP_FAILED ? NULL : h->slots;
	h->places = lazy_memory(h->size * sizeof(*h->places));
	h->used = lazy_memory(h->size * sizeof(*h->used));
	h->takes_new = 1;
	h->mode = mode;
	if (h->shunted_fd < 0 || h->slots_fd < 0 || !h->slots || !h->places || !h->used) {
		int code = -errno;

		fx_shunt_close(h);
		return fx_fail(code, "shunting: cannot map the slots: %s", strerror(-code));
	}
	drop_all_keys(h);
	*out = h;
	return 0;
}

void fx_shunt_close(struct fx_shunt *h)
{
	if (!h)
		return;
	while (h->used_count)
		fx_shunt_release(h, h->used[h->used_count - 1]);
	if (h->slots)
		munmap(h->slots, slots_bytes(h));
	if (h->places)
		munmap(h->places, h->size * sizeof(*h->places));
	if (h->used)
		munmap(h->used, h->size * sizeof(*h->used));
	if (h->shunted_fd >= 0)
		close(h->shunted_fd);
	if (h->slots_fd >= 0)
		close(h->slots_fd);
	free(h);
}

static int put_key(struct fx_shunt *h, const struct fx_shunt_key *key, fx_u32 slot)
{
	union bpf_attr a = { 0 };

	a.map_fd = (fx_u32)h->shunted_fd;
	a.key = (fx_u64)(uintptr_t)key;
	a.value = (fx_u64)(uintptr_t)&slot;
	a.flags = BPF_NOEXIST;
	return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

static void put_mode(struct fx_shunt *h, fx_u32 slot, fx_u64 mode)
{
	__atomic_store_n(&h->slots[slot].mode, mode, __ATOMIC_RELEASE);
}

/* A slot that nobody counts into, or FX_NO_SHUNT. */
static fx_u32 take_slot(struct fx_shunt *h)
{
	fx_u32 slot = h->free_first;

	if (h->free_count && monotonic_ns() - h->places[slot].freed_ns > FX_SHUNT_QUIET_NS) {
		struct fx_shunt_counts late;

		h->free_first = h->places[slot].at;
		h->free_count--;
		if (fx_shunt_read(h, slot, &late))
			h->stats.lost_packets += late.pkts;
		return slot;
	}
	if (h->untouched == h->size)
		return FX_NO_SHUNT;
	slot = h->untouched++;
	h->places[slot].packets = h->slots[slot].packets; /* of a reader before us */
	h->places[slot].bytes = h->slots[slot].bytes;
	h->places[slot].payload_bytes = h->slots[slot].payload_bytes;
	return slot;
}

static void give_back(struct fx_shunt *h, fx_u32 slot, fx_i64 now_ns)
{
	h->places[slot].state = PLACE_FREE;
	h->places[slot].freed_ns = now_ns;
	if (h->free_count++)
		h->places[h->free_last].at = slot;
	else
		h->free_first = slot;
	h->free_last = slot;
}

fx_u32 fx_shunt_add(struct fx_shunt *h, const struct fx_shunt_key *key, fx_u32 owner)
{
	struct place *place;
	fx_u32 slot;

	if (!h->takes_new)
		return FX_NO_SHUNT;
	slot = take_slot(h);
	if (slot == FX_NO_SHUNT) {
		h->stats.refused++;
		return FX_NO_SHUNT;
	}
	place = &h->places[slot];
	put_mode(h, slot, h->mode);
	if (put_key(h, key, slot)) {
		/* Nobody has seen the number: it may be used at once, but so it is simplest. */
		h->stats.refused++;
		put_mode(h, slot, FX_SHUNT_PASS);
		give_back(h, slot, monotonic_ns());
		return FX_NO_SHUNT;
	}
	place->key = *key;
	place->owner = owner;
	place->state = PLACE_USED;
	place->at = h->used_count;
	h->used[h->used_count++] = slot;
	h->stats.added++;
	h->stats.directions = h->used_count;
	return slot;
}

void fx_shunt_pass(struct fx_shunt *h, fx_u32 slot)
{
	if (h->places[slot].state != PLACE_USED)
		return;
	put_mode(h, slot, FX_SHUNT_PASS);
	drop_key(h, &h->places[slot].key);
	h->places[slot].state = PLACE_PASSES;
}

void fx_shunt_release(struct fx_shunt *h, fx_u32 slot)
{
	fx_u32 at = h->places[slot].at, last = h->used[h->used_count - 1];

	fx_shunt_pass(h, slot);
	h->used[at] = last;
	h->places[last].at = at;
	h->used_count--;
	h->stats.directions = h->used_count;
	give_back(h, slot, monotonic_ns());
}

void fx_shunt_settle(void)
{
	const struct timespec quiet = { .tv_nsec = FX_SHUNT_QUIET_NS };

	/* A grace period of RCU, under which filters run; where there is no such call, time enough. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
		nanosleep(&quiet, NULL);
}

int fx_shunt_read(struct fx_shunt *h, fx_u32 slot, struct fx_shunt_counts *out)
{
	const struct fx_shunt_slot *s = &h->slots[slot];
	struct place *place = &h->places[slot];
	/* The filter adds to `packets` last, so what goes with a packet that is seen here is there. */
	fx_u64 packets = __atomic_load_n(&s->packets, __ATOMIC_ACQUIRE), bytes, payload_bytes;

	if (packets == place->packets)
		return 0;
	bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);
	payload_bytes = __atomic_load_n(&s->payload_bytes, __ATOMIC_RELAXED);
	out->pkts = (fx_u32)(packets - place->packets);
	out->data_pkts = (fx_u32)((packets - place->packets) >> 32);
	out->bytes = bytes - place->bytes;
	out->payload_bytes = payload_bytes - place->payload_bytes;
	out->last_ns = (fx_i64)__atomic_load_n(&s->last_ns, __ATOMIC_RELAXED);
	place->packets = packets;
	place->bytes = bytes;
	place->payload_bytes = payload_bytes;
	h->stats.packets += out->pkts;
	h->stats.bytes += out->bytes;
	return 1;
}

fx_u32 fx_shunt_used(const struct fx_shunt *h, const fx_u32 **slots)
{
	*slots = h->used;
	return h->used_count;
}

fx_u32 fx_shunt_owner(const struct fx_shunt *h, fx_u32 slot)
{
	return h->places[slot].owner;
}

void fx_shunt_switch(struct fx_shunt *h, int takes_new)
{
	h->takes_new = takes_new;
}

void fx_shunt_stats_read(const struct fx_shunt *h, fx_shunt_stats *out)
{
	*out = h->stats;
}
