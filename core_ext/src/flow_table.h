/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All flows that live: records in arenas of fixed size, an index of (hash, slot), deadlines by slot.
 * Memory is reserved once, by budget; nothing is allocated later.
 */
#ifndef FX_FLOW_TABLE_H
#define FX_FLOW_TABLE_H
#include <stddef.h>

#include "flow_record.h"
#include "fx/abi.h"
#include "fx/hash.h"

enum {
	FX_SECOND_NS = 1000000000,
	FX_LOOK_SLOTS = 64, /* deadlines are looked at in groups of so many */
	FX_OLDEST_SLOTS = 64,
	FX_DEADLINE_SLACK_S = 4, /* stamps may run backwards by a second */
	FX_NO_DEADLINE = 0xffff /* no flow here */
};

/*
 * Open addressing, linear probing from hash * size / 2^32; slot_plus_1 0 = empty. The lowest bit of a hash is not of
 * the key: it tells a packet from its answer, and of a flow it is that of the originator's packets.
 */
struct fx_index_entry {
	fx_u32 hash;
	fx_u32 slot_plus_1;
};

/* What finds a packet's flow, made once a packet. */
struct fx_probe {
	struct fx_flow_tail tail;
	fx_u32 hash;
	fx_u32 slot; /* where the flow was when the block was looked up: a guess, ... */
	fx_u32 side; /* ... and which end would have sent the packet */
};

struct fx_flow_table {
	struct fx_flow *flows;
	struct fx_flow_cold *cold;
	struct fx_sequence *sequences; /* NULL = not kept */
	struct fx_index_entry *index;
	fx_u32 *dirty; /* flows that saw a packet in this tick, in order; NULL = not kept */
	fx_u16 *deadlines; /* second after deadline_base_s in which a flow's timeout is over */
	fx_u16 *floors; /* a number a group of FX_LOOK_SLOTS deadlines: none of them is below */
	struct fx_hash_key key;
	fx_i64 active_timeout_ns;
	int wants_entropy; /* a batch has chosen a column of it */
	struct fx_shunt *shunt; /* NULL = the tap counts nothing for us */
	fx_u64 flows_begun;
	fx_u32 index_size;
	fx_u32 capacity;
	fx_u32 flows_max; /* live ones; the slots beyond hold ended ones until they are handed out */
	fx_u32 untouched; /* slots from here on were never used */
	fx_u32 free_first; /* free slots are reused in the order in which they became free */
	fx_u32 free_last;
	fx_u32 free_count;
	fx_u32 active;
	fx_u32 peak;
	fx_u32 dirty_count;
	fx_u32 dirty_ended; /* of those, ended: their slots wait for their interval row */
	fx_i64 timeouts_ns[FX_CLOSINGS];
	fx_i64 deadline_base_s;
	fx_u32 look_at; /* where fx_flows_overdue() goes on */
	fx_u32 oldest[FX_OLDEST_SLOTS]; /* flows that have oldest_deadline if they still have it */
	fx_u32 oldest_at;
	fx_u32 oldest_count;
	fx_u16 oldest_deadline;
	void *memory;
	size_t memory_bytes;
};

int fx_flow_table_open(struct fx_flow_table *t, const fx_stream_options *options);
void fx_flow_table_close(struct fx_flow_table *t);

/* Slot of the packet's flow or FX_NO_SLOT. */
fx_u32 fx_flow_find(const struct fx_flow_table *t, const struct fx_packet *p,
		    const struct fx_probe *probe);

/*
 * A slot for a new flow, or FX_NO_SLOT. Of the free ones the last `unread` still hold rows to be handed out: then it is
 * FX_NO_SLOT until they are. Which slot it is depends on the packets only, not on when rows were handed out.
 */
fx_u32 fx_flow_slot_take(struct fx_flow_table *t, fx_u32 unread);

/* Begins a flow in the slot with its first packet (not yet counted). */
void fx_flow_begin(struct fx_flow_table *t, fx_u32 slot, const struct fx_packet *p,
		   const struct fx_probe *probe);

/* Asks for the part of the index that the end of a flow touches. */
void fx_flow_prefetch_end(const struct fx_flow_table *t, fx_u32 slot);
/* Takes a flow off the index. Its slot is free at once unless it waits for its interval row. */
void fx_flow_end(struct fx_flow_table *t, fx_u32 slot, enum fx_end_reason reason);
void fx_flow_slot_free(struct fx_flow_table *t, fx_u32 slot);

/* Deadlines (flow_expiry.c). */
void fx_deadlines_start(struct fx_flow_table *t, fx_i64 now_ns);
void fx_deadlines_advance(struct fx_flow_table *t, fx_i64 now_ns);

/*
 * Up to `capacity` flows whose timeout is over at `now_ns`, in order of their slots: how many. To be ended before the
 * next call, which goes on behind them; 0 = that was all.
 */
int fx_flows_overdue(struct fx_flow_table *t, fx_i64 now_ns, fx_u32 *slots, int capacity);

/* The flow that would end first (by seconds): of open ones the one seen longest ago. There must be one. */
fx_u32 fx_flow_oldest(struct fx_flow_table *t);

FX_INLINE void fx_deadline_lower(struct fx_flow_table *t, fx_u32 slot, fx_u16 deadline)
{
	fx_u16 *lowest = &t->floors[slot / FX_LOOK_SLOTS];

	*lowest = deadline < *lowest ? deadline : *lowest;
}

/* The second in which a flow's timeout is over whose highest stamp is `last_ns`. */
FX_INLINE fx_u16 fx_deadline(const struct fx_flow_table *t, fx_i64 last_ns, int closing)
{
	fx_i64 deadline_ns = last_ns + t->timeouts_ns[closing];

	return (fx_u16)((fx_u64)deadline_ns / FX_SECOND_NS - (fx_u64)t->deadline_base_s);
}

/* A packet was seen: the highest stamp of the flow is `last_ns`. */
FX_INLINE void fx_deadline_put(struct fx_flow_table *t, fx_u32 slot, const struct fx_flow *f,
			       fx_i64 last_ns)
{
	fx_u16 deadline = fx_deadline(t, last_ns, fx_flow_closing(f));

	/* A new flow, or one that begins to close: all else puts it off. */
	if (fx_unlikely(deadline < t->deadlines[slot]))
		fx_deadline_lower(t, slot, deadline);
	t->deadlines[slot] = deadline;
}

FX_INLINE fx_u32 fx_index_home(const struct fx_flow_table *t, fx_u32 hash)
{
	return (fx_u32)((fx_u64)(hash >> 1) * t->index_size >> 31);
}

/* Whether hashes are of the same key, of a packet or its answer. */
FX_INLINE int fx_hash_is_same(fx_u32 a, fx_u32 b)
{
	return (a ^ b) < 2;
}

/* Whether this end of the flow sent the packet. */
FX_INLINE int fx_flow_is_side(const struct fx_flow *f, const struct fx_packet *p,
			      const struct fx_flow_tail *tail, fx_u32 side)
{
	const fx_u8 *a = f->addr[side].octets, *b = f->addr[side ^ 1].octets;
	const fx_u8 *from = p->src_addr.octets, *to = p->dst_addr.octets;

	return !((fx_load64(a) ^ fx_load64(from)) | (fx_load64(a + 8) ^ fx_load64(from + 8)) |
		 (fx_load64(b) ^ fx_load64(to)) | (fx_load64(b + 8) ^ fx_load64(to + 8)) |
		 (f->tail ^ (side ? tail->backward : tail->forward)));
}

/* Which end sent the packet, or -1: another flow's packet. */
FX_INLINE int fx_flow_side(const struct fx_flow *f, const struct fx_packet *p,
			   const struct fx_flow_tail *tail)
{
	fx_u64 a0 = fx_load64(f->addr[0].octets), a1 = fx_load64(f->addr[0].octets + 8);
	fx_u64 b0 = fx_load64(f->addr[1].octets), b1 = fx_load64(f->addr[1].octets + 8);
	fx_u64 s0 = fx_load64(p->src_addr.octets), s1 = fx_load64(p->src_addr.octets + 8);
	fx_u64 d0 = fx_load64(p->dst_addr.octets), d1 = fx_load64(p->dst_addr.octets + 8);
	fx_u64 forward = (a0 ^ s0) | (a1 ^ s1) | (b0 ^ d0) | (b1 ^ d1) | (f->tail ^ tail->forward);
	fx_u64 backward = (a0 ^ d0) | (a1 ^ d1) | (b0 ^ s0) | (b1 ^ s1) |
			  (f->tail ^ tail->backward);

	if (fx_unlikely(forward && backward))
		return -1;
	return forward != 0;
}

#endif
