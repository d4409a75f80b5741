/* SPDX-License-Identifier: Apache-2.0 */
/* The column tables as data. */
#include <errno.h>

#include "fx/abi.h"
#include "fx/columns.h"
#include "fx/error.h"

enum { FX_ABI_VERSION = 1 };

#define FX_COLUMN(type, name, unit, meaning) { #name, #type, unit, meaning, sizeof(fx_##type) },
static const fx_column packet_columns[] = {
#include "fx/packet_columns.def"
};
static const fx_column flow_columns[] = {
#include "fx/flow_columns.def"
};
static const fx_column interval_columns[] = {
#include "fx/interval_columns.def"
};
#undef FX_COLUMN

int fx_abi_version(void)
{
	return FX_ABI_VERSION;
}

int fx_table_columns(int table, const fx_column **columns)
{
	switch (table) {
	case FX_PACKETS:
		*columns = packet_columns;
		return sizeof(packet_columns) / sizeof(*packet_columns);
	case FX_FLOWS:
		*columns = flow_columns;
		return sizeof(flow_columns) / sizeof(*flow_columns);
	case FX_INTERVALS:
		*columns = interval_columns;
		return sizeof(interval_columns) / sizeof(*interval_columns);
	default:
		*columns = 0;
		return fx_fail(-EINVAL, "no table %d", table);
	}
}
