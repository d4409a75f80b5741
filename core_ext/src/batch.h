/* SPDX-License-Identifier: Apache-2.0 */
/* A batch: the columns that were chosen of the three tables, each an array. */
#ifndef FX_BATCH_H
#define FX_BATCH_H
#include "fx/abi.h"
#include "fx/columns.h"

enum { FX_TABLES = 3 };

struct fx_batch_table {
	void **columns; /* by number of the column; NULL = not chosen */
	uint32_t rows;
	uint32_t capacity;
	int column_count;
};

struct fx_batch {
	fx_batch_state state;
	struct fx_batch_table tables[FX_TABLES];
	void *memory;
	size_t memory_bytes;
};

static inline uint32_t fx_batch_room(const fx_batch *batch, int table)
{
	return batch->tables[table].capacity - batch->tables[table].rows;
}

#endif
