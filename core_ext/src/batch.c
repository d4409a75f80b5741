/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: one allocation that holds the chosen columns. */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>

#include "fx/error.h"

enum { FX_COLUMN_ALIGN = 64 };

static size_t aligned(size_t size)
{
	return (size + FX_COLUMN_ALIGN - 1) & ~(size_t)(FX_COLUMN_ALIGN - 1);
}

/* Gives each chosen column its place behind `base`, which may be NULL: how many octets they take. */
static size_t place_columns(fx_batch *batch, int table, const uint8_t *chosen, unsigned char *base)
{
	struct fx_batch_table *t = &batch->tables[table];
	const fx_column *columns;
	size_t used = 0;

	fx_table_columns(table, &columns);
	for (int i = 0; i < t->column_count; i++) {
		if (chosen && !chosen[i])
			continue;
		if (base)
			t->columns[i] = base + used;
		used += aligned((size_t)columns[i].size_bytes * t->capacity);
	}
	return used;
}

int fx_batch_new(uint32_t packet_rows, uint32_t flow_rows, uint32_t interval_rows,
		 const uint8_t *packet_columns, const uint8_t *flow_columns,
		 const uint8_t *interval_columns, fx_batch **out)
{
	const uint32_t rows[FX_TABLES] = { packet_rows, flow_rows, interval_rows };
	const uint8_t *chosen[FX_TABLES] = { packet_columns, flow_columns, interval_columns };
	fx_batch *batch = calloc(1, sizeof(*batch));
	unsigned char *at;

	*out = NULL;
	if (!batch)
		return fx_fail(-ENOMEM, "batch: no memory");
	for (int i = 0; i < FX_TABLES; i++) {
		const fx_column *columns;
		int count = fx_table_columns(i, &columns);

		if (rows[i] == 0) {
			fx_batch_free(batch);
			return fx_fail(-EINVAL, "batch: a table needs room for at least one row");
		}
		batch->tables[i].capacity = rows[i];
		batch->tables[i].column_count = count;
		batch->tables[i].columns = calloc((size_t)count, sizeof(void *));
		if (!batch->tables[i].columns)
			goto no_memory;
		batch->memory_bytes += place_columns(batch, i, chosen[i], NULL);
	}
	batch->memory_bytes += FX_COLUMN_ALIGN;
	batch->memory = aligned_alloc(FX_COLUMN_ALIGN, batch->memory_bytes);
	if (!batch->memory)
		goto no_memory;
	at = batch->memory;
	for (int i = 0; i < FX_TABLES; i++)
		at += place_columns(batch, i, chosen[i], at);
	*out = batch;
	return 0;
no_memory:
	fx_fail(-ENOMEM, "batch: no memory for %zu bytes of columns", batch->memory_bytes);
	fx_batch_free(batch);
	return -ENOMEM;
}

void *fx_batch_column(fx_batch *batch, int table, int column)
{
	if (table < 0 || table >= FX_TABLES || column < 0 ||
	    column >= batch->tables[table].column_count)
		return NULL;
	return batch->tables[table].columns[column];
}

uint32_t fx_batch_capacity(const fx_batch *batch, int table)
{
	return table < 0 || table >= FX_TABLES ? 0 : batch->tables[table].capacity;
}

const fx_batch_state *fx_batch_state_of(const fx_batch *batch)
{
	return &batch->state;
}

void fx_batch_free(fx_batch *batch)
{
	if (!batch)
		return;
	for (int i = 0; i < FX_TABLES; i++)
		free(batch->tables[i].columns);
	free(batch->memory);
	free(batch);
}
