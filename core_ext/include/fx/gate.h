/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gate's kernel program and the process that loads it agree on: keys, values, counters.
 * Addresses and MACs are octets as they lie on the wire; times are of CLOCK_BOOTTIME.
 */
#ifndef FX_GATE_H
#define FX_GATE_H
#include "fx/columns.h"

/*
 * A key of the map `entries` and of the trie `never`: an address in network byte order, IPv4 as
 * ::ffff:a.b.c.d. A MAC stands behind ten octets ff: that is multicast, which is never a source.
 */
enum { FX_GATE_KEY_BITS = 128, FX_GATE_IP4_BITS = 96, FX_GATE_MAC_BITS = 80 };

struct fx_gate_prefix4 {
	fx_u32 bits;
	fx_u32 addr_be;
};

struct fx_gate_prefix {
	fx_u32 bits;
	fx_u8 octets[16];
};

enum fx_gate_action { FX_GATE_DROP = 1, FX_GATE_LIMIT = 2 };

/* What has a rate of its own in an entry that limits. */
enum fx_gate_kind {
	FX_GATE_SYN = 0, /* TCP that opens; TCP whose flags cannot be seen */
	FX_GATE_UDP = 1,
	FX_GATE_ICMP = 2,
	FX_GATE_OTHER = 3, /* its rate is never limited: a slot that stays 0 */
	FX_GATE_KINDS = 4
};

enum { FX_GATE_SECOND_NS = 1000000000 };

struct fx_gate_value {
	fx_u64 until_ns; /* 0 = without end */
	fx_u64 hits; /* frames it refused */
	fx_u32 action;
	/* Between frames of a kind: 0 = no limit, more than a second = none may pass. */
	fx_u32 interval_ns[FX_GATE_KINDS];
	fx_u64 due_ns[FX_GATE_KINDS]; /* when the bucket of a kind is full again */
};

/*
 * A bit for each value of one octet: without it a lookup cannot find anything and is not made. The
 * octet is the first of an address, the last of a MAC. Bits that are too many cost time only.
 */
struct fx_gate_octets {
	fx_u64 words[4];
};

struct fx_gate_filters {
	struct fx_gate_octets mac; /* of MACs in `entries` */
	struct fx_gate_octets never_ip4, never_ip6, never_mac;
};

/* What became of a frame; of two that fit the later one in this list. Each frame counts once. */
#define FX_GATE_OUTCOMES(ONE)                                                       \
	ONE(pass, PASS, "no entry is about it")                                     \
	ONE(pass_no_address, PASS,                                                  \
	    "not IP, or cut before its address: only its MAC was looked up")        \
	ONE(pass_expired, PASS, "its entry is over")                                \
	ONE(pass_limit, PASS, "within the rate that its entry leaves it")           \
	ONE(pass_never, PASS, "its entry is about something that is never blocked") \
	ONE(drop_limit, DROP, "beyond the rate of its entry")                       \
	ONE(drop_prefix, DROP, "its address lies in a blocked prefix")              \
	ONE(drop_address, DROP, "its address is blocked")                           \
	ONE(drop_mac, DROP, "the MAC it comes from is blocked")

enum fx_gate_outcome {
#define FX_GATE_ONE(name, action, meaning) FX_GATE_##name,
	FX_GATE_OUTCOMES(FX_GATE_ONE)
#undef FX_GATE_ONE
		FX_GATE_COUNTS,
	FX_GATE_FIRST_DROP = FX_GATE_drop_limit
};

/* What each processor has of its own. */
struct fx_gate_cpu {
	fx_u64 counts[FX_GATE_COUNTS];
	fx_u64 jiffies; /* when boot_ns was read */
	fx_u64 boot_ns;
};

#endif
