/* SPDX-License-Identifier: Apache-2.0 */
/* Packets into the columns of a batch. */
#ifndef FX_PACKET_ROWS_H
#define FX_PACKET_ROWS_H
#include "batch.h"

/* Appends the packets numbered in `at`, for which there is room. */
void fx_packet_rows_put(fx_batch *batch, const struct fx_packet *packets, const fx_u8 *at,
			fx_u32 count);

#endif
