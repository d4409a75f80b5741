/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Community id v1 (github.com/corelight/community-id-spec), seed 0: base64 of the SHA-1 (FIPS 180-4) of
 * seed, lower end's address, higher end's address, protocol, padding, ports in the same order.
 */
#include <string.h>

#include "flow_columns.h"

enum { FX_SHA1_BLOCK = 64, FX_SHA1_DIGEST = 20 };

static fx_u32 rotate(fx_u32 x, int bits)
{
	return x << bits | x >> (32 - bits);
}

/* SHA-1 of a message that fits one block with its padding (at most 55 octets). */
static void sha1_short(const fx_u8 *message, fx_u32 length, fx_u8 digest[FX_SHA1_DIGEST])
{
	fx_u32 h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	fx_u32 a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], w[16];
	fx_u8 block[FX_SHA1_BLOCK] = { 0 };

	memcpy(block, message, length);
	block[length] = 0x80;
	block[62] = (fx_u8)(length >> 5);
	block[63] = (fx_u8)(length << 3);
	for (int i = 0; i < 16; i++)
		w[i] = fx_load32_be(block + 4 * i);
	for (int i = 0; i < 80; i++) {
		fx_u32 f, k, next;

		if (i >= 16)
			w[i & 15] = rotate(w[(i + 13) & 15] ^ w[(i + 8) & 15] ^ w[(i + 2) & 15] ^ w[i & 15], 1);
		if (i < 20) {
			f = d ^ (b & (c ^ d));
			k = 0x5a827999;
		} else if (i < 40) {
			f = b ^ c ^ d;
			k = 0x6ed9eba1;
		} else if (i < 60) {
			f = (b & c) | (d & (b | c));
			k = 0x8f1bbcdc;
		} else {
			f = b ^ c ^ d;
			k = 0xca62c1d6;
		}
		next = rotate(a, 5) + f + e + k + w[i & 15];
		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
	for (int i = 0; i < 5; i++) {
		fx_u32 word = __builtin_bswap32(h[i]);

		memcpy(digest + 4 * i, &word, sizeof(word));
	}
}

static char *base64(const fx_u8 *octets, fx_u32 length, char *out)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (fx_u32 i = 0; i < length; i += 3) {
		fx_u32 three = (fx_u32)octets[i] << 16;

		three |= i + 1 < length ? (fx_u32)octets[i + 1] << 8 : 0;
		three |= i + 2 < length ? octets[i + 2] : 0;
		*out++ = letters[three >> 18];
		*out++ = letters[three >> 12 & 63];
		*out++ = i + 1 < length ? letters[three >> 6 & 63] : '=';
		*out++ = i + 2 < length ? letters[three & 63] : '=';
	}
	return out;
}

/* Protocols whose ports belong to the id. */
static int has_ports(fx_u8 proto)
{
	return proto == FX_PROTO_TCP || proto == FX_PROTO_UDP || proto == FX_PROTO_SCTP ||
	       proto == FX_PROTO_ICMP || proto == FX_PROTO_ICMP6;
}

static int is_one_way(fx_u8 proto, fx_u16 type)
{
	return (proto == FX_PROTO_ICMP || proto == FX_PROTO_ICMP6) &&
	       fx_icmp_answer(proto, (fx_u8)type) < 0;
}

static fx_u32 put16(fx_u8 *out, fx_u16 value)
{
	out[0] = (fx_u8)(value >> 8);
	out[1] = (fx_u8)value;
	return 2;
}

void fx_community_id(const struct fx_flow *f, fx_s32 *out)
{
	fx_u8 message[FX_SHA1_BLOCK], digest[FX_SHA1_DIGEST], proto = fx_flow_proto(f);
	fx_u16 ports[2] = { (fx_u16)f->tail, (fx_u16)(f->tail >> 16) };
	fx_u32 skip = fx_flow_ip_version(f) == 4 ? 12 : 0, length = 0;
	int order = memcmp(f->addr[0].octets + skip, f->addr[1].octets + skip, 16 - skip);
	int first = order > 0 || (order == 0 && ports[0] > ports[1]);

	if (is_one_way(proto, ports[0]))
		first = 0;
	length += put16(message, 0);
	for (int i = 0; i < 2; i++) {
		memcpy(message + length, f->addr[first ^ i].octets + skip, 16 - skip);
		length += 16 - skip;
	}
	message[length++] = proto;
	message[length++] = 0;
	if (has_ports(proto)) {
		length += put16(message + length, ports[first]);
		length += put16(message + length, ports[!first]);
	}
	sha1_short(message, length, digest);
	memset(out, 0, sizeof(*out));
	memcpy(out->text, "1:", 2);
	base64(digest, FX_SHA1_DIGEST, out->text + 2);
}
