/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of translated connections: slots, an index of (hash, slot) as the flow table's, a queue of those that end. */
#include "nat_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NO_SLOT 0xffffffffu

struct mapping {
	fx_addr outer[2]; /* as the connection's first packet has them */
	fx_addr inner[2];
	fx_u64 outer_tail; /* fx_flow_tail.forward of that packet */
	fx_u64 inner_tail;
	fx_i64 ends_ns; /* 0 = it holds */
	fx_i64 due_ns; /* ends_ns when it came into the queue; 0 = it is not there */
	fx_u32 hash;
	fx_u32 next; /* of a free one or of the queue */
	fx_u32 reading; /* the last one that has put it */
	fx_u8 is_used;
	fx_u8 view; /* enum fx_nat_view */
};

struct index_entry {
	fx_u32 hash;
	fx_u32 slot_plus_1;
};

struct fx_nat_table {
	struct mapping *mappings;
	struct index_entry *index;
	struct fx_hash_key key;
	fx_u32 size, index_size, untouched;
	fx_u32 free_first;
	fx_u32 queue_first, queue_last;
	fx_u32 reading;
	struct fx_nat_counts counts;
};

static void *lazy_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

struct fx_nat_table *fx_nat_table_new(fx_u32 mappings, const struct fx_hash_key *key)
{
	struct fx_nat_table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->size = mappings;
	t->index_size = mappings * 2;
	t->key = *key;
	t->free_first = t->queue_first = t->queue_last = NO_SLOT;
	t->mappings = lazy_memory(t->size * sizeof(*t->mappings));
	t->index = lazy_memory(t->index_size * sizeof(*t->index));
	if (!t->mappings || !t->index) {
		fx_nat_table_free(t);
		return NULL;
	}
	return t;
}

void fx_nat_table_free(struct fx_nat_table *t)
{
	if (!t)
		return;
	if (t->mappings)
		munmap(t->mappings, t->size * sizeof(*t->mappings));
	if (t->index)
		munmap(t->index, t->index_size * sizeof(*t->index));
	free(t);
}

static fx_u32 home_of(const struct fx_nat_table *t, fx_u32 hash)
{
	return (fx_u32)((fx_u64)(hash >> 1) * t->index_size >> 31);
}

static fx_u32 behind(const struct fx_nat_table *t, fx_u32 at)
{
	return at + 1 == t->index_size ? 0 : at + 1;
}

/* Whether the packet is the mapping's, and which end sent it: 0, 1, or -1. */
static int end_of(const struct mapping *m, const struct fx_packet *p,
		  const struct fx_flow_tail *tail)
{
	if (m->outer_tail == tail->forward &&
	    !memcmp(&m->outer[0], &p->src_addr, sizeof(fx_addr)) &&
	    !memcmp(&m->outer[1], &p->dst_addr, sizeof(fx_addr)))
		return 0;
	if (m->outer_tail == tail->backward &&
	    !memcmp(&m->outer[1], &p->src_addr, sizeof(fx_addr)) &&
	    !memcmp(&m->outer[0], &p->dst_addr, sizeof(fx_addr)))
		return 1;
	return -1;
}

/* The place in the index of the packet's mapping, or of the end of the search. */
static fx_u32 find(const struct fx_nat_table *t, const struct fx_packet *p,
		   const struct fx_flow_tail *tail, fx_u32 hash, int *end)
{
	fx_u32 at = home_of(t, hash);

	for (*end = -1; t->index[at].slot_plus_1; at = behind(t, at)) {
		if ((t->index[at].hash ^ hash) >= 2)
			continue;
		*end = end_of(&t->mappings[t->index[at].slot_plus_1 - 1], p, tail);
		if (*end >= 0)
			break;
	}
	return at;
}

static fx_u32 hash_of(const struct fx_nat_table *t, const struct fx_packet *p, fx_u64 tail)
{
	return (fx_u32)(fx_flow_hash(&p->src_addr, &p->dst_addr, tail, &t->key) >> 32);
}

static fx_u32 take_slot(struct fx_nat_table *t)
{
	fx_u32 slot = t->free_first;

	if (slot != NO_SLOT)
		t->free_first = t->mappings[slot].next;
	else if (t->untouched < t->size)
		slot = t->untouched++;
	return slot;
}

int fx_nat_put(struct fx_nat_table *t, const struct fx_nat_pair *pair)
{
	struct fx_flow_tail tail = fx_flow_tail_make(&pair->outer);
	fx_u32 hash = hash_of(t, &pair->outer, tail.forward), at, slot;
	struct mapping *m;
	int end, is_new;

	at = find(t, &pair->outer, &tail, hash, &end);
	is_new = end < 0;
	slot = is_new ? take_slot(t) : t->index[at].slot_plus_1 - 1;
	if (slot == NO_SLOT) {
		t->counts.refused++;
		return 1;
	}
	m = &t->mappings[slot];
	if (is_new) {
		*m = (struct mapping){ .hash = hash };
		t->index[at] = (struct index_entry){ hash, slot + 1 };
		t->counts.added++;
		t->counts.mappings++;
	}
	m->is_used = 1;
	t->counts.hairpins += (fx_u64)(pair->view != FX_NAT_OUTSIDE) - (m->view != FX_NAT_OUTSIDE);
	m->view = (fx_u8)pair->view;
	m->outer[0] = pair->outer.src_addr;
	m->outer[1] = pair->outer.dst_addr;
	m->outer_tail = tail.forward;
	m->inner[0] = pair->inner.src_addr;
	m->inner[1] = pair->inner.dst_addr;
	m->inner_tail = fx_flow_tail_make(&pair->inner).forward;
	m->ends_ns = 0;
	m->reading = t->reading;
	return is_new;
}

static void enqueue(struct fx_nat_table *t, fx_u32 slot)
{
	t->mappings[slot].due_ns = t->mappings[slot].ends_ns;
	t->mappings[slot].next = NO_SLOT;
	if (t->queue_first == NO_SLOT)
		t->queue_first = slot;
	else
		t->mappings[t->queue_last].next = slot;
	t->queue_last = slot;
}

static void end_slot(struct fx_nat_table *t, fx_u32 slot, fx_i64 now_ns)
{
	if (t->mappings[slot].ends_ns)
		return;
	t->mappings[slot].ends_ns = now_ns + FX_NAT_GRACE_NS;
	if (!t->mappings[slot].due_ns)
		enqueue(t, slot);
}

void fx_nat_end(struct fx_nat_table *t, const struct fx_nat_pair *pair, fx_i64 now_ns)
{
	struct fx_flow_tail tail = fx_flow_tail_make(&pair->outer);
	int end;
	fx_u32 at = find(t, &pair->outer, &tail, hash_of(t, &pair->outer, tail.forward), &end);

	if (end >= 0)
		end_slot(t, t->index[at].slot_plus_1 - 1, now_ns);
}

/* Empties the slot's place in the index and moves later ones of its cluster up, so that no search ends early. */
static void drop(struct fx_nat_table *t, fx_u32 slot)
{
	fx_u32 hole = home_of(t, t->mappings[slot].hash), at;

	while (t->index[hole].slot_plus_1 != slot + 1)
		hole = behind(t, hole);
	for (at = behind(t, hole); t->index[at].slot_plus_1; at = behind(t, at)) {
		fx_u32 home = home_of(t, t->index[at].hash);

		if ((at + t->index_size - home) % t->index_size >=
		    (at + t->index_size - hole) % t->index_size) {
			t->index[hole] = t->index[at];
			hole = at;
		}
	}
	t->index[hole] = (struct index_entry){ 0, 0 };
	t->counts.hairpins -= t->mappings[slot].view != FX_NAT_OUTSIDE;
	t->mappings[slot].is_used = 0;
	t->mappings[slot].next = t->free_first;
	t->free_first = slot;
	t->counts.ended++;
	t->counts.mappings--;
}

void fx_nat_expire(struct fx_nat_table *t, fx_i64 now_ns)
{
	while (t->queue_first != NO_SLOT) {
		fx_u32 slot = t->queue_first;
		struct mapping *m = &t->mappings[slot];

		if (m->due_ns > now_ns)
			return;
		t->queue_first = m->next;
		m->due_ns = 0;
		if (m->ends_ns > now_ns) /* it came back meanwhile, and ended anew */
			enqueue(t, slot);
		else if (m->ends_ns)
			drop(t, slot);
	}
}

void fx_nat_begin_reading(struct fx_nat_table *t)
{
	t->reading++;
}

void fx_nat_sweep(struct fx_nat_table *t, fx_i64 now_ns)
{
	for (fx_u32 slot = 0; slot < t->untouched; slot++) {
		const struct mapping *m = &t->mappings[slot];

		if (m->is_used && !m->ends_ns && t->reading - m->reading > 1)
			end_slot(t, slot, now_ns);
	}
}

int fx_nat_translate(const struct fx_nat_table *t, const struct fx_flow_tail *tail, fx_u32 hash,
		     int inside, struct fx_packet *p)
{
	const struct mapping *m;
	int end;
	fx_u32 at = find(t, p, tail, hash, &end);

	if (end < 0)
		return 0;
	m = &t->mappings[t->index[at].slot_plus_1 - 1];
	if (inside && m->view == FX_NAT_OUTSIDE)
		return 0;
	p->src_addr = m->inner[end];
	p->dst_addr = m->inner[!end];
	if (p->proto == FX_PROTO_ICMP || p->proto == FX_PROTO_ICMP6) {
		p->icmp_id = (fx_u16)(m->inner_tail >> 48);
	} else {
		p->src_port = (fx_u16)(m->inner_tail >> (end ? 16 : 0));
		p->dst_port = (fx_u16)(m->inner_tail >> (end ? 0 : 16));
	}
	return FX_NAT_TRANSLATED | (end ? FX_NAT_ANSWERS : 0) |
	       (m->view == FX_NAT_OUTSIDE ? 0 : FX_NAT_HAIRPIN) |
	       (m->view == FX_NAT_CLIENTS ? FX_NAT_IS_CLIENTS : 0);
}

void fx_nat_counts_read(const struct fx_nat_table *t, struct fx_nat_counts *out)
{
	*out = t->counts;
}
