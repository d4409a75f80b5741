/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a stream: source -> block of frames -> packets -> flow table -> batch. */
#ifndef FX_STREAM_H
#define FX_STREAM_H
#include "flow_columns.h"
#include "flow_table.h"
#include "fx/source.h"

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

struct fx_stream {
	fx_source *source;
	fx_stream_options options;
	struct fx_flow_table table;
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
	fx_stream_stats stats;
	struct fx_frame frames[FX_BLOCK_FRAMES];
	struct fx_packet packets[FX_BLOCK_FRAMES];
	struct fx_probe probes[FX_BLOCK_FRAMES];
};

#endif
