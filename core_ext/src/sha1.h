/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 (FIPS 180-4) of one short message: all that a community id needs. */
#ifndef FX_SHA1_H
#define FX_SHA1_H
#include "fx/columns.h"

enum { FX_SHA1_BLOCK = 64, FX_SHA1_DIGEST = 20, FX_SHA1_MESSAGE_MAX = 55 };

/* Digest (FX_SHA1_DIGEST) of `length` (at most FX_SHA1_MESSAGE_MAX) octets in a block of FX_SHA1_BLOCK, which it pads. */
void fx_sha1_short(fx_u8 *block, fx_u32 length, fx_u8 *digest);

/* The same without the processor's SHA instructions. */
void fx_sha1_short_plain(fx_u8 *block, fx_u32 length, fx_u8 *digest);

#endif
