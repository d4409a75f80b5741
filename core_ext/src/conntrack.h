/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's table of connections as ctnetlink tells it: events from now on, and the whole table now and then. */
#ifndef FX_CONNTRACK_H
#define FX_CONNTRACK_H
#include "fx/abi.h"
#include "inside.h"
#include "nat_table.h"

struct fx_conntrack;

/* Takes a copy of the descriptor, asks for the whole table and reads it. -errno with words. `inside` is kept. */
int fx_conntrack_new(int fd, const struct fx_hash_key *key, const struct fx_inside *inside,
		     struct fx_conntrack **out);
void fx_conntrack_free(struct fx_conntrack *c);
/* Goes on with another socket; mappings stay. */
int fx_conntrack_replace(struct fx_conntrack *c, int fd);

/* Takes what the kernel has told since the last call, without waiting. */
void fx_conntrack_read(struct fx_conntrack *c);
const struct fx_nat_table *fx_conntrack_mappings(const struct fx_conntrack *c);
/* Has the whole table read again soon: what is inside has changed. */
void fx_conntrack_again(struct fx_conntrack *c);
/* How many views of connections there are that this machine leads back inside. */
fx_u64 fx_conntrack_hairpins(const struct fx_conntrack *c);
/* Fills what it knows of fx_nat_stats. */
void fx_conntrack_stats(const struct fx_conntrack *c, fx_nat_stats *out);

#endif
