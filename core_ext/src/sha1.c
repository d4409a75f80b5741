/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-1 with the processor's SHA instructions where it has them: 110 instructions a block against 1,000. Each waits for
 * the one before, so blocks come many at once: a processor works on the next one meanwhile.
 */
#include "sha1.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const fx_u32 start[FX_SHA1_DIGEST_WORDS] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
						    0xc3d2e1f0 };

static inline fx_u32 rotate(fx_u32 x, int bits)
{
	return x << bits | x >> (32 - bits);
}

#define ROUNDS(from, function, constant)                                         \
	for (int i = from; i < (from) + 20; i++) {                               \
		fx_u32 next = rotate(a, 5) + (function) + e + (constant) + w[i]; \
                                                                                 \
		e = d;                                                           \
		d = c;                                                           \
		c = rotate(b, 30);                                               \
		b = a;                                                           \
		a = next;                                                        \
	}

static void digest_plain(const struct fx_sha1_block *block, struct fx_sha1_digest *digest)
{
	fx_u32 a = start[0], b = start[1], c = start[2], d = start[3], e = start[4], w[80];

	for (int i = 0; i < FX_SHA1_WORDS; i++)
		w[i] = block->words[i];
	for (int i = FX_SHA1_WORDS; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	ROUNDS(0, d ^ (b & (c ^ d)), 0x5a827999)
	ROUNDS(20, b ^ c ^ d, 0x6ed9eba1)
	ROUNDS(40, (b & c) | (d & (b | c)), 0x8f1bbcdc)
	ROUNDS(60, b ^ c ^ d, 0xca62c1d6)
	*digest = (struct fx_sha1_digest){ { start[0] + a, start[1] + b, start[2] + c, start[3] + d,
					     start[4] + e } };
}

void fx_sha1_plain(const struct fx_sha1_block *blocks, fx_u32 count, struct fx_sha1_digest *digests)
{
	for (fx_u32 i = 0; i < count; i++)
		digest_plain(&blocks[i], &digests[i]);
}

#if defined(__x86_64__)
#define FOUR_ROUNDS(i, function)                       \
	before = abcd;                                 \
	abcd = _mm_sha1rnds4_epu32(abcd, e, function); \
	e = _mm_sha1nexte_epu32(before, (i) < 19 ? w[(i) + 1] : _mm_setzero_si128());
#define TWENTY_ROUNDS(function)                   \
	FOUR_ROUNDS(5 * (function), function)     \
	FOUR_ROUNDS(5 * (function) + 1, function) \
	FOUR_ROUNDS(5 * (function) + 2, function) \
	FOUR_ROUNDS(5 * (function) + 3, function) \
	FOUR_ROUNDS(5 * (function) + 4, function)

__attribute__((target("sha,sse4.1"))) static void digests_sha(const struct fx_sha1_block *blocks,
							      fx_u32 count,
							      struct fx_sha1_digest *digests)
{
	const __m128i begin =
		_mm_set_epi32((int)start[0], (int)start[1], (int)start[2], (int)start[3]);

	for (fx_u32 n = 0; n < count; n++) {
		const __m128i *words = (const __m128i *)blocks[n].words;
		__m128i w[20], abcd = begin, before, e;

		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi32(_mm_load_si128(&words[i]), 0x1b);
		for (int i = 4; i < 20; i++)
			w[i] = _mm_sha1msg2_epu32(
				_mm_xor_si128(_mm_sha1msg1_epu32(w[i - 4], w[i - 3]), w[i - 2]),
				w[i - 1]);
		e = _mm_add_epi32(_mm_set_epi32((int)start[4], 0, 0, 0), w[0]);
		TWENTY_ROUNDS(0)
		TWENTY_ROUNDS(1)
		TWENTY_ROUNDS(2)
		TWENTY_ROUNDS(3)
		_mm_storeu_si128((__m128i *)digests[n].words,
				 _mm_shuffle_epi32(_mm_add_epi32(abcd, begin), 0x1b));
		digests[n].words[4] = start[4] + (fx_u32)_mm_extract_epi32(e, 3);
	}
}

static int has_sha;

__attribute__((constructor)) static void look_at_processor(void)
{
	unsigned int a, b, c, d;

	has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 &&
		  __builtin_cpu_supports("sse4.1");
}

void fx_sha1(const struct fx_sha1_block *blocks, fx_u32 count, struct fx_sha1_digest *digests)
{
	if (has_sha)
		digests_sha(blocks, count, digests);
	else
		fx_sha1_plain(blocks, count, digests);
}
#else
void fx_sha1(const struct fx_sha1_block *blocks, fx_u32 count, struct fx_sha1_digest *digests)
{
	fx_sha1_plain(blocks, count, digests);
}
#endif
