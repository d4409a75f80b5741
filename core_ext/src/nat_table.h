/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which packet of the outside is which packet of the inside, as far as address translation changes it: one mapping for
 * each view of a connection from outside. Memory is reserved once; a full table refuses and counts.
 */
#ifndef FX_NAT_TABLE_H
#define FX_NAT_TABLE_H
#include "fx/hash.h"

enum {
	FX_NAT_MAPPINGS = 65536, /* 8 MiB when all are in use */
	FX_NAT_GRACE_NS =
		1000000000 /* a mapping that is gone still holds for packets on their way */
};

struct fx_nat_table;

/* Which view of a connection a mapping is for. */
enum fx_nat_view {
	FX_NAT_OUTSIDE,
	/* Of one that this machine leads back inside (hairpin), both of whose views are seen there: */
	FX_NAT_CLIENTS, /* as it comes from the client, */
	FX_NAT_SERVERS /* and as it goes to the server */
};

/* How a packet was translated: bits. */
enum fx_nat_how {
	FX_NAT_TRANSLATED = 1,
	FX_NAT_HAIRPIN = 2,
	FX_NAT_IS_CLIENTS = 4, /* of a hairpin: by the client's view */
	FX_NAT_ANSWERS = 8 /* against the connection's first packet */
};

/* Both views of the same packet, of which addresses, ports, proto, icmp_id and ip_version count. */
struct fx_nat_pair {
	struct fx_packet outer;
	struct fx_packet inner;
	enum fx_nat_view view;
};

struct fx_nat_counts {
	fx_u64 mappings; /* now */
	fx_u64 added, ended;
	fx_u64 refused; /* no room */
	fx_u64 hairpins; /* views of such connections, now */
};

/* NULL = no memory. The hash is the flow table's, so that a packet's probe finds its mapping. */
struct fx_nat_table *fx_nat_table_new(fx_u32 mappings, const struct fx_hash_key *key);
void fx_nat_table_free(struct fx_nat_table *t);

/* Adds the mapping, or takes its new inner view; returns whether it was not known. */
int fx_nat_put(struct fx_nat_table *t, const struct fx_nat_pair *pair);
/* The mapping ends FX_NAT_GRACE_NS after `now_ns`, or up to twice as long if it came back in between. */
void fx_nat_end(struct fx_nat_table *t, const struct fx_nat_pair *pair, fx_i64 now_ns);
/* Forgets what has ended. */
void fx_nat_expire(struct fx_nat_table *t, fx_i64 now_ns);

/* A reading of all mappings begins; those that the one before and this one have not put are ended by fx_nat_sweep(). */
void fx_nat_begin_reading(struct fx_nat_table *t);
void fx_nat_sweep(struct fx_nat_table *t, fx_i64 now_ns);

/*
 * Makes the inner packet of an outer one: bits of enum fx_nat_how, 0 = it has no mapping and stays what it is. `hash` as
 * a probe has it. A packet that was seen `inside` is translated if its connection is led back there.
 */
int fx_nat_translate(const struct fx_nat_table *t, const struct fx_flow_tail *tail, fx_u32 hash,
		     int inside, struct fx_packet *p);

void fx_nat_counts_read(const struct fx_nat_table *t, struct fx_nat_counts *out);

#endif
