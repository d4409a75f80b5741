/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 of short messages: the standard's example, and both ways of computing it agree on every length. */
#include <stdio.h>
#include <string.h>

#include "sha1.h"

/* Pads a message of `length` octets (FIPS 180-4, 5.1.1). */
static void put_block(const fx_u8 *message, fx_u32 length, struct fx_sha1_block *block)
{
	memset(block, 0, sizeof(*block));
	for (fx_u32 i = 0; i <= length; i++) {
		fx_u32 octet = i == length ? 0x80 : message[i];

		block->words[i / 4] |= octet << (24 - 8 * (i % 4));
	}
	block->words[15] = length * 8;
}

int main(void)
{
	static const fx_u32 abc[] = { 0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d };
	static struct fx_sha1_block blocks[FX_SHA1_MESSAGE_MAX + 1];
	static struct fx_sha1_digest digests[FX_SHA1_MESSAGE_MAX + 1];
	static struct fx_sha1_digest plain[FX_SHA1_MESSAGE_MAX + 1];
	fx_u8 message[FX_SHA1_MESSAGE_MAX];

	put_block((const fx_u8 *)"abc", 3, blocks);
	fx_sha1(blocks, 1, digests);
	if (memcmp(digests, abc, sizeof(abc))) {
		fprintf(stderr, "not the digest of abc (FIPS 180-4)\n");
		return 1;
	}
	for (fx_u32 length = 0; length <= FX_SHA1_MESSAGE_MAX; length++) {
		for (fx_u32 i = 0; i < length; i++)
			message[i] = (fx_u8)(i * 37 + length);
		put_block(message, length, &blocks[length]);
	}
	fx_sha1(blocks, FX_SHA1_MESSAGE_MAX + 1, digests);
	fx_sha1_plain(blocks, FX_SHA1_MESSAGE_MAX + 1, plain);
	for (fx_u32 length = 0; length <= FX_SHA1_MESSAGE_MAX; length++) {
		if (memcmp(&digests[length], &plain[length], sizeof(*plain))) {
			fprintf(stderr, "two digests of a message of %u octets\n", length);
			return 1;
		}
	}
	puts("sha1: ok");
	return 0;
}
