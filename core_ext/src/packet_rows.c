/* SPDX-License-Identifier: Apache-2.0 */
/* Packets into the columns of a batch. */
#include "packet_rows.h"

#define FX_COLUMN(type, name, unit, meaning)                                                   \
	static void put_##name(const struct fx_packet *packets, const fx_u8 *at, fx_u32 count, \
			       void *column)                                                   \
	{                                                                                      \
		fx_##type *out = column;                                                       \
		for (fx_u32 i = 0; i < count; i++)                                             \
			out[i] = packets[at[i]].name;                                          \
	}
#include "fx/packet_columns.def"
#undef FX_COLUMN

struct fx_packet_column {
	void (*put)(const struct fx_packet *packets, const fx_u8 *at, fx_u32 count, void *column);
	fx_u32 size;
};

#define FX_COLUMN(type, name, unit, meaning) { put_##name, sizeof(fx_##type) },
static const struct fx_packet_column packet_columns[] = {
#include "fx/packet_columns.def"
};
#undef FX_COLUMN

void fx_packet_rows_put(fx_batch *batch, const struct fx_packet *packets, const fx_u8 *at,
			fx_u32 count)
{
	struct fx_batch_table *table = &batch->tables[FX_PACKETS];

	for (int i = 0; i < table->column_count; i++) {
		if (table->columns[i])
			packet_columns[i].put(packets, at, count,
					      (fx_u8 *)table->columns[i] +
						      (size_t)table->rows * packet_columns[i].size);
	}
	table->rows += count;
}
