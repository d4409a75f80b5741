/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of a packet by name and as text, for tests. */
#ifndef COLUMNS_TEXT_H
#define COLUMNS_TEXT_H
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fx/columns.h"

static inline void text_fx_u8(char *out, size_t size, fx_u8 value)
{
	snprintf(out, size, "%u", value);
}

static inline void text_fx_u16(char *out, size_t size, fx_u16 value)
{
	snprintf(out, size, "%u", value);
}

static inline void text_fx_u32(char *out, size_t size, fx_u32 value)
{
	snprintf(out, size, "%u", value);
}

static inline void text_fx_u64(char *out, size_t size, fx_u64 value)
{
	snprintf(out, size, "%" PRIu64, value);
}

static inline void text_fx_i64(char *out, size_t size, fx_i64 value)
{
	snprintf(out, size, "%" PRId64, value);
}

static inline void text_fx_addr(char *out, size_t size, fx_addr value)
{
	for (size_t i = 0; i < 16 && 2 * i + 2 < size; i++)
		snprintf(out + 2 * i, size - 2 * i, "%02x", value.octets[i]);
}

/* Whether there is a column of that name; its text goes to `out`. */
static inline int column_text(const struct fx_packet *packet, const char *wanted, char *out,
			      size_t size)
{
#define FX_COLUMN(type, name, unit, meaning)             \
	if (strcmp(wanted, #name) == 0) {                \
		text_fx_##type(out, size, packet->name); \
		return 1;                                \
	}
#include "fx/packet_columns.def"
#undef FX_COLUMN
	return 0;
}

#endif
