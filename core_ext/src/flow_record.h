/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a flow while it lives: 488 octets. `struct fx_flow` is what nearly every packet touches, in whole
 * cache lines; `struct fx_flow_cold` is what the first packets, long gaps and the end touch.
 */
#ifndef FX_FLOW_RECORD_H
#define FX_FLOW_RECORD_H
#include "fx/abi.h"
#include "fx/columns.h"

enum { FX_ORIG = 0, FX_RESP = 1 };
#define FX_NO_SLOT 0xffffffffu

/* Set in the key of a flow that has ended, so that no packet finds it. */
#define FX_TAIL_ENDED ((fx_u64)1 << 47)

enum fx_end_reason {
	FX_END_NONE = 0,
	FX_END_IDLE = 1,
	FX_END_ACTIVE = 2,
	FX_END_FIN = 3,
	FX_END_RST = 4,
	FX_END_EVICTED = 5,
	FX_END_INPUT = 6,
	FX_END_CLOCK_STEP = 7,
	FX_END_PORT_REUSE = 8
};

enum fx_flow_bits {
	FX_FLOW_TURNED = 1, /* the responder sent the first packet */
	FX_FLOW_MIDSTREAM = 2, /* TCP without a SYN */
	FX_FLOW_DIRTY = 4, /* in the list of the tick */
	FX_FLOW_BEGUN_IN_TICK = 8, /* its first packet is of this tick */
	FX_FLOW_WAITS =
		16, /* cold.response_ns is the originator's first payload, not answered yet */
	FX_FLOW_ANSWERED = 32, /* cold.response_ns is how long it took */
	FX_FLOW_CLOSING_FIN = 64, /* FIN both ways */
	FX_FLOW_CLOSING_RST = 128 /* then without FX_FLOW_CLOSING_FIN */
};

/* How a flow is on its way to its end: what its timeout and the reason of its end are. */
enum fx_closing { FX_OPEN = 0, FX_CLOSING_FIN = 1, FX_CLOSING_RST = 2, FX_CLOSINGS };

/* Sum of squares; 96 bits hold the square of 78 hours in nanoseconds, and no flow lasts as long. */
struct fx_squares {
	fx_u64 low;
	fx_u32 high;
} __attribute__((packed, aligned(4)));

/* Gaps between packets; their sum is last minus first. */
struct fx_gaps {
	struct fx_squares squares;
	fx_f32 smallest_ns;
	fx_f32 largest_ns;
};

/*
 * What the packets of one direction change: two cache lines, the second one for TCP and for what changes seldom. Of the
 * first FX_FULL_PACKETS packets unless it is more_: of those after them, so that a plain counter is the sum of both.
 */
struct fx_side {
	fx_u64 size_squares;
	fx_u64 payload_squares;
	fx_u64 more_bytes;
	struct fx_gaps gaps;
	fx_u32 bytes;
	fx_u32 payload_bytes;
	fx_u32 more_pkts;
	fx_u16 size_min;
	fx_u16 size_max;
	fx_u8 pkts;
	fx_u8 data_pkts;
	fx_u16 payload_max;

	fx_u64 more_payload_bytes;
	fx_i64 full_last_ns; /* highest stamp of the first packets, when all of them were there */
	fx_u32 more_data_pkts;
	fx_u32 window_sum;
	union {
		fx_u32 seq_end;
		fx_u32 shunt_plus_1; /* then: its slot with the tap, 0 = none */
	};
	fx_f32 entropy;
	fx_u16 fin, syn, rst; /* of all packets */
	fx_u16 window_min;
	fx_u16 window_max;
	fx_u16 window_first;
	fx_u16 mss;
	fx_u8 urg, ece, cwr, ack, psh;
	fx_u8 retransmits;
	fx_u8 zero_windows;
	fx_u8 fragments;
	fx_u8 ttl_min;
	fx_u8 ttl_max;
	fx_u8 tcp_flags;
	fx_u8 tos;
	union {
		fx_u8 wscale;
		fx_u8 icmp_code; /* of the flow's first message, at the originator */
	};
	fx_u8 tcp_options;
};

struct fx_flow {
	/* the key as the originator sends it */
	fx_addr addr[2];
	fx_u64 tail; /* struct fx_flow_tail, and FX_TAIL_ENDED */
	fx_i64 last_ns[2];
	fx_u32 hash;
	union {
		fx_u32 next_free; /* of a free slot */
		fx_u32 is_outside; /* of a live one: its packets are counted on ports that face outside */
	};

	struct fx_gaps gaps;
	fx_u32 base_pkts[2]; /* counters when the tick began; while FX_FLOW_DIRTY */
	fx_u8 bits; /* enum fx_flow_bits */
	fx_u8 tcp_state; /* enum fx_tcp_state of the originator, << 4 of the responder */
	fx_u16 seen; /* history letters and FX_SIDE_LATE of the originator, << 8 of the responder */
	fx_u64 history; /* four bits a letter, the first one lowest */
	fx_i64 first_ns;
	fx_u64 base_bytes[2];

	struct fx_side side[2];
} __attribute__((aligned(64)));

struct fx_flow_cold {
	fx_u64 flow_id;
	fx_i64 second_first_ns; /* first packet of the side that did not send the flow's first one */
	fx_i64 response_ns;
	fx_i64 idle_sum_ns;
	fx_i64 active_since_ns;
	struct fx_squares idle_squares;
	struct fx_squares active_squares; /* of the periods that are over */
	fx_f32 idle_min_ns;
	fx_f32 active_min_ns;
	fx_f32 active_max_ns;
	fx_u32 idle_count;
	fx_f32 handshake_ns;
	fx_u16 mac[2][3]; /* lowest 16 bits first */
	fx_u16 vlan_id;
	fx_u16 iface;
	fx_u8 tunnel;
	fx_u8 end_reason;
	fx_u8 entropy_bytes[2];
};

enum { FX_SEQUENCE_PACKETS = 32 };

/* In `seen` of a side: it has sent FX_FULL_PACKETS packets, so that only plain
 * counters go on. */
enum { FX_SIDE_LATE = 128 };

struct fx_sequence {
	fx_i16x32 sizes;
	fx_u32x32 gaps_us;
};

_Static_assert(sizeof(struct fx_side) == 128, "two lines");
_Static_assert(sizeof(struct fx_flow) == 384, "six lines");
_Static_assert(sizeof(struct fx_flow_cold) <= 104, "within the budget of a flow");
_Static_assert((int)FX_FULL_PACKETS >= (int)FX_SEQUENCE_PACKETS,
	       "a sequence is of packets that are looked at");
_Static_assert(FX_FULL_PACKETS < 256 && (FX_FULL_PACKETS & (FX_FULL_PACKETS - 1)) == 0,
	       "counters of an octet");

/* Zeroes `lines` of 64 octets, in stores: what compilers make of a large memset() takes long to start. */
static inline void fx_clear_lines(void *at, int lines)
{
	for (int i = 0; i < lines; i++)
		__builtin_memset((fx_u8 *)at + 64 * i, 0, 64);
}

static inline void fx_squares_add(struct fx_squares *s, fx_u64 value)
{
	unsigned __int128 sum = (unsigned __int128)value * value + s->low;

	s->low = (fx_u64)sum;
	s->high += (fx_u32)(sum >> 64);
}

static inline fx_i64 fx_flow_last_ns(const struct fx_flow *f)
{
	return f->last_ns[0] > f->last_ns[1] ? f->last_ns[0] : f->last_ns[1];
}

static inline int fx_flow_is_late(const struct fx_flow *f, int side)
{
	return f->seen >> 8 * side & FX_SIDE_LATE;
}

static inline int fx_flow_has_late(const struct fx_flow *f)
{
	return f->seen & (FX_SIDE_LATE | FX_SIDE_LATE << 8);
}

/* Plain counters. */
static inline fx_u32 fx_side_pkts(const struct fx_side *s)
{
	return s->pkts + s->more_pkts;
}

static inline fx_u64 fx_side_bytes(const struct fx_side *s)
{
	return s->bytes + s->more_bytes;
}

static inline fx_u64 fx_side_payload_bytes(const struct fx_side *s)
{
	return s->payload_bytes + s->more_payload_bytes;
}

/* Highest stamp of the first packets of the side; fx_flow_full_last_ns(): of
 * both sides. */
static inline fx_i64 fx_side_full_last_ns(const struct fx_flow *f, int side)
{
	return fx_flow_is_late(f, side) ? f->side[side].full_last_ns : f->last_ns[side];
}

static inline fx_i64 fx_flow_full_last_ns(const struct fx_flow *f)
{
	fx_i64 orig = fx_side_full_last_ns(f, FX_ORIG), resp = fx_side_full_last_ns(f, FX_RESP);

	return orig > resp ? orig : resp;
}

static inline fx_i64 fx_flow_side_first_ns(const struct fx_flow *f, const struct fx_flow_cold *c,
					   int side)
{
	int second = side == FX_RESP ? !(f->bits & FX_FLOW_TURNED) : !!(f->bits & FX_FLOW_TURNED);

	return second ? c->second_first_ns : f->first_ns;
}

static inline int fx_flow_closing(const struct fx_flow *f)
{
	return f->bits >> 6;
}

static inline int fx_flow_has_ended(const struct fx_flow *f)
{
	return (f->tail & FX_TAIL_ENDED) != 0;
}

static inline fx_u8 fx_flow_proto(const struct fx_flow *f)
{
	return (fx_u8)(f->tail >> 32);
}

static inline fx_u8 fx_flow_ip_version(const struct fx_flow *f)
{
	return (fx_u8)(f->tail >> 40 & 0x7f);
}

#endif
