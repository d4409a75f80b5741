/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 (FIPS 180-4) of many short messages, a block each: all that community ids need. */
#ifndef FX_SHA1_H
#define FX_SHA1_H
#include "fx/columns.h"

enum { FX_SHA1_WORDS = 16, FX_SHA1_DIGEST_WORDS = 5, FX_SHA1_MESSAGE_MAX = 55 };

/* Words are numbers, the octets that come first highest. */
struct fx_sha1_block {
	fx_u32 words[FX_SHA1_WORDS];
} __attribute__((aligned(16)));

struct fx_sha1_digest {
	fx_u32 words[FX_SHA1_DIGEST_WORDS];
};

/* Digests of messages that are padded already. */
void fx_sha1(const struct fx_sha1_block *blocks, fx_u32 count, struct fx_sha1_digest *digests);

/* The same without the processor's SHA instructions. */
void fx_sha1_plain(const struct fx_sha1_block *blocks, fx_u32 count,
		   struct fx_sha1_digest *digests);

#endif
