/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1 of short messages: the standard's example, and both ways of computing it agree on every length. */
#include <stdio.h>
#include <string.h>

#include "sha1.h"

int main(void)
{
	static const fx_u8 abc[] = { 0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e,
				     0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d };
	fx_u8 block[FX_SHA1_BLOCK] = "abc", other[FX_SHA1_BLOCK], digest[FX_SHA1_DIGEST];
	fx_u8 plain[FX_SHA1_DIGEST];

	fx_sha1_short(block, 3, digest);
	if (memcmp(digest, abc, sizeof(abc))) {
		fprintf(stderr, "not the digest of abc (FIPS 180-4)\n");
		return 1;
	}
	for (fx_u32 length = 0; length <= FX_SHA1_MESSAGE_MAX; length++) {
		for (fx_u32 i = 0; i < length; i++)
			block[i] = (fx_u8)(i * 37 + length);
		memcpy(other, block, sizeof(block));
		fx_sha1_short(block, length, digest);
		fx_sha1_short_plain(other, length, plain);
		if (memcmp(digest, plain, sizeof(plain))) {
			fprintf(stderr, "two digests of a message of %u octets\n", length);
			return 1;
		}
	}
	puts("sha1: ok");
	return 0;
}
