/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a stream: source -> block of frames -> packets -> flow table -> batch. */
#ifndef FX_STREAM_H
#define FX_STREAM_H
#include "flow_columns.h"
#include "flow_table.h"
#include "fx/source.h"
#include "inside.h"

/* What fx_stream_next() does when it is called again. */
enum fx_stream_phase {
	FX_TAKE_PACKETS,
	FX_OPEN_TICK, /* flows that ended in skipped ticks */
	FX_FORCED_ROWS, /* interval rows before their time: the table is full of this tick's flows */
	FX_CLOSE_TICK, /* flows whose timeout is over at the end of the tick */
	FX_SWEEP, /* all flows: end of input, or the clock was set back */
	FX_TICK_ROWS, /* interval rows of the tick */
	FX_DONE
};

/* How a step of a phase ended. */
enum fx_step { FX_STEP_GO_ON, FX_STEP_BATCH_FULL, FX_STEP_SEEN_TWICE /* of a packet */ };

#define FX_TIME_MAX ((fx_i64)1 << 62) /* stamps beyond are absurd */
#define FX_TIME_END (FX_TIME_MAX + ((fx_i64)1 << 61)) /* when every timeout is over */

/* Why a flow ends when its timeout is over. */
static const enum fx_end_reason fx_timeout_reasons[FX_CLOSINGS] = { FX_END_IDLE, FX_END_FIN,
								    FX_END_RST };

struct fx_stream {
	fx_source *source;
	fx_stream_options options;
	struct fx_flow_table table;
	fx_i64 folds_by_ns; /* a stamp less CLOCK_MONOTONIC, as it was before a clock step */
	enum fx_stream_phase phase;
	fx_i64 now_ns; /* the highest stamp since the clock was last set back */
	fx_i64 tick_ns;
	fx_i64 tick_end_ns;
	fx_i64 limit_ns; /* tick_end_ns while a tick is open, else before every stamp */
	int is_tick_open;
	int has_begun; /* tick_end_ns is of a tick before */
	enum fx_end_reason sweep; /* why all flows end after this tick; FX_END_NONE = they do not */
	fx_u32 dirty_at; /* interval rows handed out of the tick's list */
	fx_u32 ended_count;
	fx_u32 unread; /* of those, in slots that are free already */
	fx_u32 ended[FX_CHUNK_ROWS];
	fx_u32 block_count;
	fx_u32 block_at;
	fx_u32 row_count;
	fx_u8 rows[FX_BLOCK_FRAMES]; /* packets of the block that become rows */
	int has_segments; /* there are super-frames in the block */
	fx_u32 sample_max; /* flows with a higher rank are left out (stream_packets.c) */
	struct fx_sides *sides; /* NULL = ports of one side alone */
	fx_stream_stats stats;
	struct fx_frame frames[FX_BLOCK_FRAMES];
	struct fx_packet packets[FX_BLOCK_FRAMES];
	struct fx_probe probes[FX_BLOCK_FRAMES];
};

/* In (stream_packets.c). */

/* The next block, parsed and looked up: frames in it, or what else fx_source_ops.next() says. */
int fx_stream_refill(struct fx_stream *s);
/* Packets of the block until it is through, the batch is full, or the phase is another one. */
enum fx_step fx_stream_take_packets(struct fx_stream *s, fx_batch *b);
/* No packet is to come from before `time_ns`: ticks begin and end without one. */
void fx_stream_pass_time(struct fx_stream *s, fx_batch *b, fx_i64 time_ns);

/* Out (stream_rows.c). */

void fx_stream_put_packets(struct fx_stream *s, fx_batch *b);
void fx_stream_put_ended(struct fx_stream *s, fx_batch *b);
/* There must be room for its row. */
void fx_stream_end_flow(struct fx_stream *s, fx_batch *b, fx_u32 slot, enum fx_end_reason reason);
/* Ends the flows whose timeout is over at `now_ns`, because of `reason` or of their timeout. */
enum fx_step fx_stream_end_overdue(struct fx_stream *s, fx_batch *b, fx_i64 now_ns,
				   enum fx_end_reason reason);
/* Shunting (stream_shunt.c), where table.shunt is not NULL. */

/* Adds what the tap counted to the flows. */
void fx_stream_fold(struct fx_stream *s);
/* The flow is about to end: what the tap counted is added, and its packets are
 * nobody's from now on. */
void fx_stream_unshunt(struct fx_stream *s, fx_u32 slot);
/* Input is over: lets everything pass and adds what was counted. */
void fx_stream_unshunt_all(struct fx_stream *s);

/* Both sides of a gateway (stream_sides.c), where sides is not NULL. */

enum { FX_FRAGMENTED = 64, FX_SIDES_PORTS = 64 };

/* Addresses of a datagram whose first fragment was translated: later ones have no ports to be found by. */
struct fx_fragmented {
	fx_addr outer[2];
	fx_addr inner[2];
	fx_i64 time_ns;
	fx_u8 proto;
	fx_u8 how; /* bits of enum fx_nat_how */
};

/* The packets of a block that ..., a bit each. */
struct fx_block_sides {
	fx_u64 forged; /* came from outside in the name of an address that is inside */
	fx_u64 far; /* show the connection as the outside does */
	fx_u64 hairpin; /* of a connection that this machine leads back inside */
	fx_u64 knows_sender; /* of these: the sender's MAC is the device's own, else the receiver's is */
};

struct fx_sides {
	fx_u64 outside; /* bits of the ports' numbers */
	struct fx_conntrack *conntrack; /* NULL = nothing is translated */
	fx_u64 seen_twice, translated;
	struct fx_block_sides block;
	struct fx_inside inside;
	fx_forged forged[FX_SIDES_PORTS];
	struct fx_fragmented fragmented[FX_FRAGMENTED];
};

static inline int fx_is_among(fx_u64 ports, fx_u32 number)
{
	return number < FX_SIDES_PORTS && ports >> number & 1;
}

/* What the block's packets of the outside are inside: before they are looked up. */
void fx_stream_translate(struct fx_stream *s);
/* Whether a packet of a flow was, or will be, counted on the other side; takes from it what only that side knows. */
int fx_stream_is_seen_twice(struct fx_stream *s, fx_u32 slot, int side, fx_u32 i);
/* A flow has begun with this packet. */
void fx_stream_choose_side(struct fx_stream *s, fx_u32 slot, fx_u32 i);
void fx_stream_close_sides(struct fx_stream *s);

/* Interval rows of the tick's list. */
enum fx_step fx_stream_put_intervals(struct fx_stream *s, fx_batch *b);

/* Whether one more flow may end: its row has a place. */
static inline int fx_stream_has_flow_room(const struct fx_stream *s, const fx_batch *b)
{
	return fx_batch_room(b, FX_FLOWS) > s->ended_count;
}

#endif
