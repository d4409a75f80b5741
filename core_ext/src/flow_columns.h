/* SPDX-License-Identifier: Apache-2.0 */
/* Flow records into the columns of a batch. */
#ifndef FX_FLOW_COLUMNS_H
#define FX_FLOW_COLUMNS_H
#include "batch.h"
#include "flow_table.h"

/* Numbers of the columns: FX_FLOW_COLUMN_name. */
enum fx_flow_column_number {
#define FX_COLUMN(type, name, unit, meaning) FX_FLOW_COLUMN_##name,
#include "fx/flow_columns.def"
#undef FX_COLUMN
};

enum {
	FX_CHUNK_ROWS = 64
}; /* records written at once, column by column, while they are in the cache */

/* Appends the flows in `slots` (at most FX_CHUNK_ROWS, for which there is room) to the chosen columns. */
void fx_flow_rows_put(fx_batch *batch, const struct fx_flow_table *t, const fx_u32 *slots,
		      fx_u32 count);

/* Appends what the flows in `slots` did since their tick began, likewise. */
void fx_interval_rows_put(fx_batch *batch, const struct fx_flow_table *t, const fx_u32 *slots,
			  fx_u32 count);

/* Community ids (v1, seed 0) of the flows in `slots` (at most FX_CHUNK_ROWS): "1:" and base64 of a SHA-1. */
void fx_community_ids(const struct fx_flow_table *t, const fx_u32 *slots, fx_u32 count,
		      fx_s32 *out);

#endif
