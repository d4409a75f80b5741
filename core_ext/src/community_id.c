/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Community id v1 (github.com/corelight/community-id-spec), seed 0: base64 of the SHA-1 (FIPS 180-4) of
 * seed, lower end's address, higher end's address, protocol, padding, ports in the same order.
 */
#include <string.h>

#include "flow_columns.h"
#include "sha1.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Base64 of a digest: six whole groups of three octets and two octets left over. */
static void put_base64(const fx_u8 *octets, char *out)
{
	for (int i = 0; i < FX_SHA1_DIGEST; i += 3, out += 4) {
		int is_last = i + 2 == FX_SHA1_DIGEST;
		fx_u32 three = (fx_u32)octets[i] << 16 | (fx_u32)octets[i + 1] << 8 |
			       (is_last ? 0 : octets[i + 2]);

		out[0] = letters[three >> 18];
		out[1] = letters[three >> 12 & 63];
		out[2] = letters[three >> 6 & 63];
		out[3] = is_last ? '=' : letters[three & 63];
	}
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
	fx_sha1_short(message, length, digest);
	memset(out, 0, sizeof(*out));
	memcpy(out->text, "1:", 2);
	put_base64(digest, out->text + 2);
}
