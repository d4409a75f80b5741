/* SPDX-License-Identifier: Apache-2.0 */
/* Writes answers: the asker's own question, at most one record, OPT for who sent one. */
#include "dns_build.h"

#include <string.h>

enum {
	OPT_BYTES = 11,
	EDE_OPTION = 15,
	EDE_FIXED_BYTES = 6, /* code and length of the option, INFO-CODE */
	QUESTION_POINTER = 0xc000 | FX_DNS_HEADER_BYTES,
	RECORD_FIXED_BYTES = 12, /* with a pointer for its owner */
};

/* MNAME block.invalid, RNAME nobody.invalid, then serial, refresh, retry and expire of a zone that never changes. */
static const fx_u8 soa_names[] = "\5block\7invalid\0\6nobody\7invalid";
static const fx_u8 soa_numbers[16] = {
	0, 0, 0, 1, 0, 0, 0x0e, 0x10, 0, 0, 3, 0x84, 0, 9, 0x3a, 0x80
};

/* Header and question; how many octets. */
static fx_u32 begin(const fx_u8 *message, const struct fx_dns_query *query, int rcode, fx_u8 *out)
{
	fx_u32 length = query->question_end;

	if (length)
		memcpy(out, message, length);
	else
		length = FX_DNS_HEADER_BYTES;
	fx_dns_put16(out, query->id);
	fx_dns_put16(out + 2, FX_DNS_QR | FX_DNS_RA |
				      (query->flags & (FX_DNS_OPCODE | FX_DNS_RD | FX_DNS_CD)) |
				      ((fx_u32)rcode & FX_DNS_RCODE));
	fx_dns_put16(out + 4, query->question_end != 0);
	memset(out + 6, 0, 6);
	return length;
}

static fx_u32 put_record(fx_u8 *at, fx_u32 type, fx_u32 ttl, const fx_u8 *octets, fx_u32 length)
{
	fx_dns_put16(at, QUESTION_POINTER);
	fx_dns_put16(at + 2, type);
	fx_dns_put16(at + 4, FX_DNS_IN);
	fx_dns_put32(at + 6, ttl);
	fx_dns_put16(at + 10, length);
	memcpy(at + RECORD_FIXED_BYTES, octets, length);
	return RECORD_FIXED_BYTES + length;
}

static fx_u32 put_soa(fx_u8 *at, fx_u32 ttl)
{
	fx_u8 octets[sizeof(soa_names) + sizeof(soa_numbers) + 4];

	memcpy(octets, soa_names, sizeof(soa_names));
	memcpy(octets + sizeof(soa_names), soa_numbers, sizeof(soa_numbers));
	fx_dns_put32(octets + sizeof(octets) - 4, ttl);
	return put_record(at, FX_DNS_SOA, ttl, octets, sizeof(octets));
}

/* How much of UTF-8 text fits into `room` octets, whole letters. */
static fx_u32 text_that_fits(const struct fx_dns_block *block, fx_u32 room)
{
	fx_u32 length = block->text_bytes;

	if (length <= room)
		return length;
	length = room;
	while (length && ((fx_u8)block->text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

/* OPT, with an extended error if there is one (RFC 8914, 2). */
static fx_u32 put_opt(fx_u8 *at, fx_u32 room, const struct fx_dns_query *query, int rcode,
		      const struct fx_dns_block *block)
{
	fx_u32 length = 0;

	memset(at, 0, OPT_BYTES);
	fx_dns_put16(at + 1, FX_DNS_OPT);
	fx_dns_put16(at + 3, FX_DNS_UDP_MAX);
	at[5] = (fx_u8)(rcode >> 4);
	at[7] = (fx_u8)(query->wants_dnssec << 7);
	if (block && block->extended && room >= OPT_BYTES + EDE_FIXED_BYTES) {
		fx_u32 text = text_that_fits(block, room - OPT_BYTES - EDE_FIXED_BYTES);

		length = EDE_FIXED_BYTES + text;
		fx_dns_put16(at + 11, EDE_OPTION);
		fx_dns_put16(at + 13, 2 + text);
		fx_dns_put16(at + 15, block->extended);
		memcpy(at + 17, block->text, text);
	}
	fx_dns_put16(at + 9, length);
	return OPT_BYTES + length;
}

/* The address that the mode answers with, NULL for types and classes that have none. */
static const fx_u8 *address(const struct fx_dns_query *query, const struct fx_dns_block *block,
			    fx_u32 *length)
{
	static const fx_u8 zeros[16];
	int custom = block->mode == FX_DNS_MODE_CUSTOM;

	if (query->class != FX_DNS_IN || (!custom && block->mode != FX_DNS_MODE_ZERO))
		return NULL;
	*length = query->type == FX_DNS_A ? 4 : 16;
	if (query->type == FX_DNS_A)
		return custom ? block->ipv4 : zeros;
	if (query->type == FX_DNS_AAAA)
		return custom ? block->ipv6 : zeros;
	return NULL;
}

fx_u32 fx_dns_build_block(const fx_u8 *message, const struct fx_dns_query *query,
			  const struct fx_dns_block *block, fx_u8 *out, fx_u32 capacity)
{
	fx_u32 at, length = 0, room = query->udp_bytes < capacity ? query->udp_bytes : capacity;
	const fx_u8 *octets = address(query, block, &length);
	int rcode = FX_DNS_FINE;

	if (capacity < FX_DNS_UDP_PLAIN)
		return 0; /* the longest question, SOA and OPT take 12 + 259 + 66 + 11 */
	if (block->mode == FX_DNS_MODE_NXDOMAIN)
		rcode = FX_DNS_NXDOMAIN;
	else if (block->mode == FX_DNS_MODE_REFUSED)
		rcode = FX_DNS_REFUSED;
	at = begin(message, query, rcode, out);
	if (octets) {
		fx_dns_put16(out + 6, 1);
		at += put_record(out + at, query->type, block->ttl, octets, length);
	} else if (block->mode != FX_DNS_MODE_REFUSED) {
		fx_dns_put16(out + 8, 1);
		at += put_soa(out + at, block->ttl);
	}
	if (query->has_edns) {
		fx_dns_put16(out + 10, 1);
		at += put_opt(out + at, room - at, query, rcode, block);
	}
	return at;
}

fx_u32 fx_dns_build_fault(const fx_u8 *message, const struct fx_dns_query *query, int fault,
			  fx_u8 *out, fx_u32 capacity)
{
	fx_u32 at;

	if (fault == FX_DNS_DROP || capacity < FX_DNS_UDP_PLAIN)
		return 0;
	at = begin(message, query, fault, out);
	if (query->has_edns) {
		fx_dns_put16(out + 10, 1);
		at += put_opt(out + at, FX_DNS_UDP_PLAIN - at, query, fault, NULL);
	}
	return at;
}
