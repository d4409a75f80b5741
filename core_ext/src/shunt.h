/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directions of flows that the tap counts instead of copying: user space's side of include/fx/shunt.h. Maps are worked
 * by their descriptors, which needs no capability (Linux 5.19).
 */
#ifndef FX_SHUNT_TABLE_H
#define FX_SHUNT_TABLE_H
#include "fx/abi.h"
#include "fx/shunt.h"

enum {
	FX_SHUNT_QUIET_NS = 100000000 /* two block timeouts and more: no program runs as long */
};
#define FX_NO_SHUNT 0xffffffffu

struct fx_shunt;

/* What came to a slot since it was read the last time. */
struct fx_shunt_counts {
	fx_u64 bytes;
	fx_u64 payload_bytes;
	fx_u32 pkts;
	fx_u32 data_pkts;
	fx_i64 last_ns; /* CLOCK_MONOTONIC */
};

/*
 * Takes copies of the descriptors; what becomes of the packets of shunted directions is one for all of them. -EINVAL with
 * words if they are not the tap's maps.
 */
int fx_shunt_open(int shunted_fd, int slots_fd, enum fx_shunt_mode mode, struct fx_shunt **out);
/* Drops all keys. */
void fx_shunt_close(struct fx_shunt *h);

/* Shunts a direction, in the name of `owner`: the number of its slot, FX_NO_SHUNT = there is no room. */
fx_u32 fx_shunt_add(struct fx_shunt *h, const struct fx_shunt_key *key, fx_u32 owner);
/* Lets the packets of the direction pass again; counts stay to be read. */
void fx_shunt_pass(struct fx_shunt *h, fx_u32 slot);
/* Lets them pass, and gives the slot back; what comes to it until then is counted as lost. */
void fx_shunt_release(struct fx_shunt *h, fx_u32 slot);

/* Waits until no program runs that may still count into a slot that passes. */
void fx_shunt_settle(void);

/* Whether there is something new in the slot; then what. */
int fx_shunt_read(struct fx_shunt *h, fx_u32 slot, struct fx_shunt_counts *out);
/* The slots in use: their numbers, in no order; the owner of one. */
fx_u32 fx_shunt_used(const struct fx_shunt *h, const fx_u32 **slots);
fx_u32 fx_shunt_owner(const struct fx_shunt *h, fx_u32 slot);

/* Whether new directions are taken; those that there are stay. */
void fx_shunt_switch(struct fx_shunt *h, int takes_new);
void fx_shunt_stats_read(const struct fx_shunt *h, fx_shunt_stats *out);

#endif
