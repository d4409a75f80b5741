/* SPDX-License-Identifier: Apache-2.0 */
/* The table of flows: memory, index, begin and end of a flow. */
#include "flow_table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "flow_state.h"
#include "fx/error.h"

enum {
	FX_PORT_WELL_KNOWN = 1024,
	FX_CAPACITY_MIN = 16,
	FX_CAPACITY_MAX = 1 << 26,
	FX_ENDED_SLOTS = 64, /* at most a quarter of the table */
	FX_ALIGN = 64
};

/* Index entries for a number of flows: three of five are used when the table is full. */
static fx_u64 index_entries(fx_u64 flows)
{
	return flows * 5 / 3 + 1;
}

/* Deadlines for a number of flows: the last group is a whole one. */
static fx_u64 whole_looks(fx_u64 flows)
{
	return (flows + FX_LOOK_SLOTS - 1) / FX_LOOK_SLOTS * FX_LOOK_SLOTS;
}

/* The same for the lowest of each group. */
static fx_u64 looks_of_looks(fx_u64 flows)
{
	return whole_looks(whole_looks(flows) / FX_LOOK_SLOTS);
}

static size_t take(size_t *used, fx_u64 count, size_t size)
{
	size_t at = *used;

	*used = (at + count * size + FX_ALIGN - 1) & ~(size_t)(FX_ALIGN - 1);
	return at;
}

/* Places the arenas for `capacity` flows behind `base`: how many octets they take. */
static size_t lay_out(struct fx_flow_table *t, fx_u64 capacity, const fx_stream_options *o,
		      unsigned char *base)
{
	size_t used = 0, flows, cold, index, dirty, deadlines, floors, sequences;

	flows = take(&used, capacity, sizeof(struct fx_flow));
	cold = take(&used, capacity, sizeof(struct fx_flow_cold));
	index = take(&used, index_entries(capacity), sizeof(struct fx_index_entry));
	dirty = take(&used, o->keep_intervals ? capacity : 0, sizeof(fx_u32));
	deadlines = take(&used, whole_looks(capacity), sizeof(fx_u16));
	floors = take(&used, looks_of_looks(capacity), sizeof(fx_u16));
	sequences = used; /* in a budget of their own */
	take(&used, o->keep_sequences ? capacity : 0, sizeof(struct fx_sequence));
	if (base) {
		t->flows = (struct fx_flow *)(base + flows);
		t->cold = (struct fx_flow_cold *)(base + cold);
		t->index = (struct fx_index_entry *)(base + index);
		t->dirty = o->keep_intervals ? (fx_u32 *)(base + dirty) : NULL;
		t->deadlines = (fx_u16 *)(base + deadlines);
		t->floors = (fx_u16 *)(base + floors);
		t->sequences = o->keep_sequences ? (struct fx_sequence *)(base + sequences) : NULL;
		return used;
	}
	return sequences;
}

int fx_flow_table_open(struct fx_flow_table *t, const fx_stream_options *o)
{
	fx_u64 per_flow = sizeof(struct fx_flow) + sizeof(struct fx_flow_cold) +
			  (o->keep_intervals ? sizeof(fx_u32) : 0);
	const fx_i64 closing_ns[FX_CLOSINGS] = { (fx_i64)o->idle_timeout_ns, 5LL * FX_SECOND_NS,
						 1LL * FX_SECOND_NS };
	fx_u64 capacity;

	memset(t, 0, sizeof(*t));
	capacity = o->flow_budget_bytes / per_flow;
	if (capacity > FX_CAPACITY_MAX)
		capacity = FX_CAPACITY_MAX;
	while (capacity >= FX_CAPACITY_MIN && lay_out(t, capacity, o, NULL) > o->flow_budget_bytes)
		capacity -= capacity / 64 + 1;
	if (capacity < FX_CAPACITY_MIN)
		return fx_fail(-EINVAL,
			       "flow_budget_bytes: %" PRIu64 " is too small, %d flows need %zu",
			       o->flow_budget_bytes, FX_CAPACITY_MIN,
			       lay_out(t, FX_CAPACITY_MIN, o, NULL));
	t->memory_bytes = lay_out(t, capacity, o, (unsigned char *)FX_ALIGN);
	t->memory = mmap(NULL, t->memory_bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->memory == MAP_FAILED) {
		t->memory = NULL;
		return fx_fail(-ENOMEM, "flow table: no memory for %zu bytes", t->memory_bytes);
	}
	madvise(t->memory, t->memory_bytes, MADV_HUGEPAGE); /* only a hint */
	lay_out(t, capacity, o, t->memory);
	t->capacity = (fx_u32)capacity;
	t->flows_max =
		t->capacity - (t->capacity < 4 * FX_ENDED_SLOTS ? t->capacity / 4 : FX_ENDED_SLOTS);
	t->index_size = (fx_u32)index_entries(capacity);
	memset(t->deadlines, 0xff, whole_looks(capacity) * sizeof(*t->deadlines));
	memset(t->floors, 0xff, looks_of_looks(capacity) * sizeof(*t->floors));
	for (int i = 0; i < FX_CLOSINGS; i++)
		t->timeouts_ns[i] = closing_ns[i] < closing_ns[0] ? closing_ns[i] : closing_ns[0];
	t->active_timeout_ns = (fx_i64)o->active_timeout_ns;
	t->key = fx_hash_key_make(o->hash_key);
	return 0;
}

void fx_flow_table_close(struct fx_flow_table *t)
{
	if (t->memory)
		munmap(t->memory, t->memory_bytes);
	t->memory = NULL;
}

static fx_u32 index_next(const struct fx_flow_table *t, fx_u32 at)
{
	return at + 1 == t->index_size ? 0 : at + 1;
}

fx_u32 fx_flow_find(const struct fx_flow_table *t, const struct fx_packet *p,
		    const struct fx_probe *probe)
{
	for (fx_u32 at = fx_index_home(t, probe->hash);; at = index_next(t, at)) {
		struct fx_index_entry entry = t->index[at];

		if (entry.slot_plus_1 == 0)
			return FX_NO_SLOT;
		if (fx_hash_is_same(entry.hash, probe->hash) &&
		    fx_flow_side(&t->flows[entry.slot_plus_1 - 1], p, &probe->tail) >= 0)
			return entry.slot_plus_1 - 1;
	}
}

static void index_put(struct fx_flow_table *t, fx_u32 hash, fx_u32 slot)
{
	fx_u32 at = fx_index_home(t, hash);

	while (t->index[at].slot_plus_1)
		at = index_next(t, at);
	t->index[at] = (struct fx_index_entry){ hash, slot + 1 };
}

/* Steps from `from` forward to `to`, around the end. */
static fx_u32 index_distance(const struct fx_flow_table *t, fx_u32 from, fx_u32 to)
{
	return to >= from ? to - from : to + t->index_size - from;
}

/* Empties the slot's entry and moves later ones of its cluster up, so that no search ends early. */
static void index_drop(struct fx_flow_table *t, fx_u32 hash, fx_u32 slot)
{
	fx_u32 hole = fx_index_home(t, hash), at;

	while (t->index[hole].slot_plus_1 != slot + 1)
		hole = index_next(t, hole);
	for (at = index_next(t, hole); t->index[at].slot_plus_1; at = index_next(t, at)) {
		fx_u32 home = fx_index_home(t, t->index[at].hash);

		if (index_distance(t, home, at) >= index_distance(t, hole, at)) {
			t->index[hole] = t->index[at];
			hole = at;
		}
	}
	t->index[hole] = (struct fx_index_entry){ 0, 0 };
}

/* Whether the first packet is an answer: SYN+ACK, or TCP in midstream from a well-known port to another one. */
static int is_answer(const struct fx_packet *p)
{
	if (p->proto != FX_PROTO_TCP)
		return 0;
	if (p->tcp_flags & FX_SYN)
		return !!(p->tcp_flags & FX_ACK);
	return p->src_port < FX_PORT_WELL_KNOWN && p->dst_port >= FX_PORT_WELL_KNOWN &&
	       p->src_port != 0;
}

static void put_mac(struct fx_flow_cold *c, int side, fx_u64 mac)
{
	for (int i = 0; i < 3; i++)
		c->mac[side][i] = (fx_u16)(mac >> 16 * i);
}

static void init_side(struct fx_side *s)
{
	s->gaps.smallest_ns = INFINITY;
	s->size_min = 0xffff;
	s->window_min = 0xffff;
	s->ttl_min = 0xff;
	s->wscale = 0xff;
	s->entropy = NAN;
}

/* Asks for the memory of the slot that the next flow gets. */
static void prefetch_slot(const struct fx_flow_table *t, fx_u32 slot)
{
	const char *flow = (const char *)&t->flows[slot];

	for (size_t at = 0; at < sizeof(struct fx_flow); at += 64)
		__builtin_prefetch(flow + at, 1);
	__builtin_prefetch(&t->cold[slot], 1);
}

fx_u32 fx_flow_slot_take(struct fx_flow_table *t, fx_u32 unread)
{
	fx_u32 slot = t->free_first;

	/* As long as there are slots that were never used, as many as may be unread stay free. */
	if (t->free_count <= FX_ENDED_SLOTS && t->untouched < t->capacity)
		return t->untouched++;
	if (t->free_count <= unread)
		return FX_NO_SLOT;
	t->free_first = t->flows[slot].next_free;
	if (--t->free_count)
		prefetch_slot(t, t->free_first);
	return slot;
}

void fx_flow_begin(struct fx_flow_table *t, fx_u32 slot, const struct fx_packet *p,
		   const struct fx_probe *probe)
{
	struct fx_flow *f = &t->flows[slot];
	struct fx_flow_cold *c = &t->cold[slot];
	int turned = is_answer(p);

	fx_clear_lines(f, (int)(sizeof(*f) / 64));
	fx_clear_lines(c, 1);
	memset((fx_u8 *)c + 64, 0, sizeof(*c) - 64);
	f->addr[turned] = p->src_addr;
	f->addr[!turned] = p->dst_addr;
	f->tail = turned ? probe->tail.backward : probe->tail.forward;
	f->hash = probe->hash ^ (fx_u32)fx_flow_side(f, p, &probe->tail);
	f->last_ns[0] = f->last_ns[1] = f->first_ns = p->time_ns;
	f->gaps.smallest_ns = INFINITY;
	f->bits = turned ? FX_FLOW_TURNED : 0;
	f->history = turned ? FX_HISTORY_TURNED : 0;
	if (p->proto == FX_PROTO_TCP && !(p->tcp_flags & FX_SYN))
		f->bits |= FX_FLOW_MIDSTREAM;
	init_side(&f->side[0]);
	init_side(&f->side[1]);
	if (p->proto == FX_PROTO_ICMP || p->proto == FX_PROTO_ICMP6)
		f->side[FX_ORIG].icmp_code = (fx_u8)p->dst_port;
	c->flow_id = ++t->flows_begun;
	c->active_since_ns = p->time_ns;
	c->idle_min_ns = c->active_min_ns = INFINITY;
	c->handshake_ns = NAN;
	c->vlan_id = p->vlan_id;
	c->iface = p->iface;
	c->tunnel = p->tunnel;
	put_mac(c, turned, p->src_mac);
	put_mac(c, !turned, p->dst_mac);
	index_put(t, f->hash, slot);
	if (++t->active > t->peak)
		t->peak = t->active;
}

void fx_flow_prefetch_end(const struct fx_flow_table *t, fx_u32 slot)
{
	__builtin_prefetch(&t->index[fx_index_home(t, t->flows[slot].hash)], 1);
}

void fx_flow_end(struct fx_flow_table *t, fx_u32 slot, enum fx_end_reason reason)
{
	struct fx_flow *f = &t->flows[slot];

	index_drop(t, f->hash, slot);
	f->tail |= FX_TAIL_ENDED;
	t->deadlines[slot] = FX_NO_DEADLINE;
	t->cold[slot].end_reason = (fx_u8)reason;
	t->active--;
	if (f->bits & FX_FLOW_DIRTY)
		t->dirty_ended++;
	else
		fx_flow_slot_free(t, slot);
}

void fx_flow_slot_free(struct fx_flow_table *t, fx_u32 slot)
{
	if (t->free_count++)
		t->flows[t->free_last].next_free = slot;
	else
		t->free_first = slot;
	t->free_last = slot;
}
