/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All flows that live: records in arenas of fixed size, an index of (hash, slot), wheels by the second last seen.
 * Memory is reserved once, by budget; nothing is allocated later.
 */
#ifndef FX_FLOW_TABLE_H
#define FX_FLOW_TABLE_H
#include <stddef.h>

#include "flow_record.h"
#include "fx/abi.h"
#include "fx/hash.h"

enum { FX_WHEELS = 3, FX_SECOND_NS = 1000000000 };

/* Open addressing, linear probing from hash * size / 2^32; slot_plus_1 0 = empty. */
struct fx_index_entry {
	fx_u32 hash;
	fx_u32 slot_plus_1;
};

struct fx_link {
	fx_u32 next;
	fx_u32 previous;
};

/*
 * Flows by the second in which they were last seen when they were put here, each second a ring through its anchor.
 * A packet moves nothing: a flow seen since goes to its true second when its bucket comes up.
 */
struct fx_wheel {
	fx_i64 timeout_ns;
	fx_i64 oldest_second; /* no flow is in a bucket before this one */
	fx_u32 buckets; /* a power of 2 that holds timeout and tick */
	fx_u32 first_anchor;
	fx_u32 flows;
	fx_u8 end_reason;
};

/* What finds a packet's flow, made once a packet. */
struct fx_probe {
	struct fx_flow_tail tail;
	fx_u32 hash;
	fx_u32 slot; /* where the flow was when the block was looked up: a guess */
};

struct fx_flow_table {
	struct fx_flow *flows;
	struct fx_flow_cold *cold;
	struct fx_sequence *sequences; /* NULL = not kept */
	struct fx_index_entry *index;
	fx_u32 *dirty; /* flows that saw a packet in this tick, in order; NULL = not kept */
	struct fx_link *anchors;
	struct fx_hash_key key;
	fx_i64 active_timeout_ns;
	int wants_entropy; /* a batch has chosen a column of it */
	fx_u64 flows_begun;
	fx_u32 index_size;
	fx_u32 capacity;
	fx_u32 flows_max; /* live ones; the slots beyond hold ended ones until they are handed out */
	fx_u32 untouched; /* slots from here on were never used */
	fx_u32 free_slot;
	fx_u32 active;
	fx_u32 peak;
	fx_u32 dirty_count;
	fx_u32 dirty_ended; /* of those, ended: their slots wait for their interval row */
	struct fx_wheel wheels[FX_WHEELS]; /* by enum fx_closing_wheel */
	void *memory;
	size_t memory_bytes;
};

enum fx_closing_wheel { FX_WHEEL_OPEN = 0, FX_WHEEL_FIN = 1, FX_WHEEL_RST = 2 };

int fx_flow_table_open(struct fx_flow_table *t, const fx_stream_options *options);
void fx_flow_table_close(struct fx_flow_table *t);

/* Slot of the packet's flow or FX_NO_SLOT. */
fx_u32 fx_flow_find(const struct fx_flow_table *t, const struct fx_packet *p,
		    const struct fx_probe *probe);

/* Whether a flow can be begun without ending another one. */
static inline int fx_flow_table_has_room(const struct fx_flow_table *t)
{
	return t->free_slot != FX_NO_SLOT || t->untouched < t->capacity;
}

/* Begins a flow with its first packet (not yet counted): its slot. There must be room. */
fx_u32 fx_flow_begin(struct fx_flow_table *t, const struct fx_packet *p,
		     const struct fx_probe *probe);

/* Takes a flow off index and wheel; its record stays until fx_flow_release(). */
void fx_flow_end(struct fx_flow_table *t, fx_u32 slot, enum fx_end_reason reason);
void fx_flow_release(struct fx_flow_table *t, fx_u32 slot);

/* The wheels (flow_expiry.c). */
fx_u32 fx_wheel_buckets(fx_i64 timeout_ns, fx_i64 tick_ns);
void fx_wheels_start(struct fx_flow_table *t, fx_i64 now_ns);
void fx_wheel_put(struct fx_flow_table *t, fx_u32 slot, int wheel);
void fx_wheel_take(struct fx_flow_table *t, fx_u32 slot);
void fx_wheel_close(struct fx_flow_table *t, fx_u32 slot, enum fx_flow_bits closing);

/* Up to `capacity` slots of flows whose timeout is over at `now_ns`, still in the table: how many. */
int fx_flows_overdue(struct fx_flow_table *t, fx_i64 now_ns, fx_u32 *slots, int capacity);

/* The flow seen longest ago (by seconds); FX_NO_SLOT if there is none. */
fx_u32 fx_flow_oldest(struct fx_flow_table *t);

static inline int fx_flow_has_ended(const struct fx_flow *f)
{
	return f->previous == FX_NO_SLOT;
}

static inline int fx_flow_wheel(const struct fx_flow *f)
{
	return f->bits & FX_FLOW_CLOSING_RST ? FX_WHEEL_RST :
	       f->bits & FX_FLOW_CLOSING_FIN ? FX_WHEEL_FIN :
					       FX_WHEEL_OPEN;
}

FX_INLINE fx_u32 fx_index_home(const struct fx_flow_table *t, fx_u32 hash)
{
	return (fx_u32)((fx_u64)hash * t->index_size >> 32);
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
