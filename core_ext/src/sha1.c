/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 of one block, with the processor's SHA instructions where it has them: 160 instructions against 1,000. */
#include "sha1.h"

#include <string.h>

#include "fx/bytes.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const fx_u32 start[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };

static void pad(fx_u8 *block, fx_u32 length)
{
	memset(block + length, 0, FX_SHA1_BLOCK - length);
	block[length] = 0x80;
	block[62] = (fx_u8)(length >> 5);
	block[63] = (fx_u8)(length << 3);
}

static void put_digest(const fx_u32 words[5], fx_u8 *digest)
{
	for (int i = 0; i < 5; i++) {
		fx_u32 word = __builtin_bswap32(words[i]);

		memcpy(digest + 4 * i, &word, sizeof(word));
	}
}

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

void fx_sha1_short_plain(fx_u8 *block, fx_u32 length, fx_u8 *digest)
{
	fx_u32 a = start[0], b = start[1], c = start[2], d = start[3], e = start[4], w[80];

	pad(block, length);
	for (int i = 0; i < 16; i++)
		w[i] = fx_load32_be(block + 4 * i);
	for (int i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	ROUNDS(0, d ^ (b & (c ^ d)), 0x5a827999)
	ROUNDS(20, b ^ c ^ d, 0x6ed9eba1)
	ROUNDS(40, (b & c) | (d & (b | c)), 0x8f1bbcdc)
	ROUNDS(60, b ^ c ^ d, 0xca62c1d6)
	put_digest((const fx_u32[]){ start[0] + a, start[1] + b, start[2] + c, start[3] + d,
				     start[4] + e },
		   digest);
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

__attribute__((target("sha,sse4.1"))) static void sha1_short_sha(fx_u8 *block, fx_u32 length,
								 fx_u8 *digest)
{
	const __m128i turn = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
	const __m128i begin =
		_mm_set_epi32((int)start[0], (int)start[1], (int)start[2], (int)start[3]);
	__m128i w[20], abcd = begin, before, e;
	fx_u32 words[5];

	pad(block, length);
	for (int i = 0; i < 4; i++)
		w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), turn);
	for (int i = 4; i < 20; i++)
		w[i] = _mm_sha1msg2_epu32(
			_mm_xor_si128(_mm_sha1msg1_epu32(w[i - 4], w[i - 3]), w[i - 2]), w[i - 1]);
	e = _mm_add_epi32(_mm_set_epi32((int)start[4], 0, 0, 0), w[0]);
	TWENTY_ROUNDS(0)
	TWENTY_ROUNDS(1)
	TWENTY_ROUNDS(2)
	TWENTY_ROUNDS(3)
	_mm_storeu_si128((__m128i *)words, _mm_shuffle_epi32(_mm_add_epi32(abcd, begin), 0x1b));
	words[4] = start[4] + (fx_u32)_mm_extract_epi32(e, 3);
	put_digest(words, digest);
}

static int has_sha;

__attribute__((constructor)) static void look_at_processor(void)
{
	unsigned int a, b, c, d;

	has_sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 &&
		  __builtin_cpu_supports("sse4.1");
}

void fx_sha1_short(fx_u8 *block, fx_u32 length, fx_u8 *digest)
{
	if (has_sha)
		sha1_short_sha(block, length, digest);
	else
		fx_sha1_short_plain(block, length, digest);
}
#else
void fx_sha1_short(fx_u8 *block, fx_u32 length, fx_u8 *digest)
{
	fx_sha1_short_plain(block, length, digest);
}
#endif
