/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Community id v1 (github.com/corelight/community-id-spec), seed 0: base64 of the SHA-1 (FIPS 180-4) of
 * seed, lower end's address, higher end's address, protocol, padding, ports in the same order.
 */
#include <string.h>

#include "flow_columns.h"
#include "sha1.h"

/* Two groups of 48 bits, and the sixteen letters that they become. */
typedef fx_u64 groups __attribute__((vector_size(16)));
typedef signed char letters __attribute__((vector_size(16)));

/* An address as two numbers, to compare and to shift. */
struct end {
	fx_u64 high, low;
};

static inline struct end end_of(const fx_addr *addr)
{
	return (struct end){ __builtin_bswap64(fx_load64(addr->octets)),
			     __builtin_bswap64(fx_load64(addr->octets + 8)) };
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

static void put_message(const struct fx_flow *f, struct fx_sha1_block *block)
{
	struct end ends[2] = { end_of(&f->addr[0]), end_of(&f->addr[1]) }, a, b;
	fx_u32 ports[2] = { (fx_u16)f->tail, (fx_u16)(f->tail >> 16) }, *w = block->words;
	fx_u8 proto = fx_flow_proto(f);
	int first, words;

	if (ends[0].high != ends[1].high)
		first = ends[0].high > ends[1].high;
	else if (ends[0].low != ends[1].low)
		first = ends[0].low > ends[1].low;
	else
		first = ports[0] > ports[1];
	if (fx_unlikely(is_one_way(proto, (fx_u16)ports[0])))
		first = 0;
	a = ends[first];
	b = ends[!first];
	memset(block, 0, sizeof(*block));
	if (fx_flow_ip_version(f) == 4) {
		w[0] = (fx_u32)a.low >> 16;
		w[1] = (fx_u32)a.low << 16 | (fx_u32)b.low >> 16;
		w[2] = (fx_u32)b.low << 16 | (fx_u32)proto << 8;
		words = 3;
	} else {
		w[0] = (fx_u32)(a.high >> 48);
		w[1] = (fx_u32)(a.high >> 16);
		w[2] = (fx_u32)(a.high << 16 | a.low >> 48);
		w[3] = (fx_u32)(a.low >> 16);
		w[4] = (fx_u32)(a.low << 16 | b.high >> 48);
		w[5] = (fx_u32)(b.high >> 16);
		w[6] = (fx_u32)(b.high << 16 | b.low >> 48);
		w[7] = (fx_u32)(b.low >> 16);
		w[8] = (fx_u32)b.low << 16 | (fx_u32)proto << 8;
		words = 9;
	}
	if (has_ports(proto))
		w[words++] = ports[first] << 16 | ports[!first];
	w[words] = 0x80000000;
	w[FX_SHA1_WORDS - 1] = (fx_u32)words * 32;
}

/* Base64: a group is taken apart into eight sextets, the first one in the lowest octet. */
static inline letters letters_of(groups g)
{
	letters v;

	g = g >> 24 | (g & 0xffffff) << 32;
	g = (g >> 12 & 0x00000fff00000fff) | (g & 0x00000fff00000fff) << 16;
	g = (g >> 6 & 0x003f003f003f003f) | (g & 0x003f003f003f003f) << 8;
	v = (letters)g;
	return v + 'A' + ((v > 25) & ('a' - 'Z' - 1)) - ((v > 51) & ('z' - '0' + 1)) -
	       ((v > 61) & ('9' - '+' + 1)) + ((v > 62) & ('/' - '+' - 1));
}

/* 160 bits: 27 letters and one of padding. */
static void put_id(const struct fx_sha1_digest *digest, fx_s32 *out)
{
	const fx_u32 *h = digest->words;
	letters first = letters_of(
		(groups){ (fx_u64)h[0] << 16 | h[1] >> 16, (fx_u64)(h[1] & 0xffff) << 32 | h[2] });
	letters second = letters_of(
		(groups){ (fx_u64)h[3] << 16 | h[4] >> 16, (fx_u64)(h[4] & 0xffff) << 32 });

	*out = (fx_s32){ "1:" };
	memcpy(out->text + 2, &first, 16);
	memcpy(out->text + 18, &second, 11);
	out->text[29] = '=';
}

void fx_community_ids(const struct fx_flow_table *t, const fx_u32 *slots, fx_u32 count, fx_s32 *out)
{
	struct fx_sha1_block blocks[FX_CHUNK_ROWS];
	struct fx_sha1_digest digests[FX_CHUNK_ROWS];

	if (count == 0)
		return;
	for (fx_u32 i = 0; i < count; i++)
		put_message(&t->flows[slots[i]], &blocks[i]);
	fx_sha1(blocks, count, digests);
	for (fx_u32 i = 0; i < count; i++)
		put_id(&digests[i], &out[i]);
}
