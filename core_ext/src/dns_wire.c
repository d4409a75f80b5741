/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of DNS messages: every length is checked before what it counts is read, and every loop is bounded. */
#include "dns_wire.h"

#include <string.h>

enum { POINTER = 0xc0, OPT_FIXED_BYTES = 10, SOA_NUMBERS_BYTES = 20 };

struct record {
	fx_u16 type;
	fx_u32 ttl, ttl_at; /* of OPT the TTL is flags */
	fx_u32 class;
	fx_u32 begin, rdata, end;
};

/* Upper-case letters become lower-case ones, eight octets at a time; others stay. */
FX_INLINE fx_u64 lower(fx_u64 octets)
{
	const fx_u64 ones = 0x0101010101010101u;
	fx_u64 low = octets & (0x7f * ones);
	fx_u64 from_a = low + (0x80 - 'A') * ones;
	fx_u64 after_z = low + (0x80 - 'Z' - 1) * ones;

	return octets | ((from_a & ~after_z & ~octets & (0x80 * ones)) >> 2);
}

static void copy_lower(fx_u8 *to, fx_u32 length)
{
	for (fx_u32 i = 0; i < length; i += 8) { /* behind the name are nine octets of ours */
		fx_u64 octets = lower(fx_load64(to + i));

		memcpy(to + i, &octets, sizeof(octets));
	}
}

int fx_dns_name_read(const fx_u8 *message, fx_u32 length, fx_u32 *offset, int pointers,
		     struct fx_dns_name *out)
{
	fx_u32 at = *offset, bound = at, used = 0, labels = 0, behind = 0;

	for (;;) { /* each turn adds a label, or goes backwards */
		fx_u32 octet;

		if (at >= length)
			return -1;
		octet = message[at];
		if (octet == 0)
			break;
		if (octet >= POINTER) {
			fx_u32 to;

			if (!pointers || at + 2 > length)
				return -1;
			to = fx_load16_be(message + at) & 0x3fff;
			if (to >= bound || to < FX_DNS_HEADER_BYTES)
				return -1;
			if (!behind)
				behind = at + 2;
			at = bound = to;
			continue;
		}
		if (octet > FX_DNS_LABEL_MAX || at + 1 + octet > length ||
		    used + 1 + octet >= FX_DNS_NAME_MAX)
			return -1;
		out->starts[labels++] = (fx_u8)used;
		memcpy(out->octets + used, message + at, octet + 1);
		used += octet + 1;
		at += octet + 1;
	}
	memset(out->octets + used, 0, 9);
	copy_lower(out->octets, used); /* lengths are below 'A' */
	out->length = (fx_u8)(used + 1);
	out->labels = (fx_u8)labels;
	*offset = behind ? behind : at + 1;
	return 0;
}

int fx_dns_name_skip(const fx_u8 *message, fx_u32 length, fx_u32 *offset)
{
	fx_u32 at = *offset, used = 0;

	while (at < length) {
		fx_u32 octet = message[at];

		if (octet >= POINTER) {
			if (at + 2 > length)
				return -1;
			*offset = at + 2;
			return 0;
		}
		used += octet + 1;
		at += octet + 1;
		if (octet > FX_DNS_LABEL_MAX || used > FX_DNS_NAME_MAX)
			return -1;
		if (octet == 0) {
			*offset = at;
			return 0;
		}
	}
	return -1;
}

/* Reads all of a record but its data, and moves *offset behind it. */
static int record_read(const fx_u8 *message, fx_u32 length, fx_u32 *offset, struct record *out)
{
	fx_u32 at = *offset;

	out->begin = at;
	if (fx_dns_name_skip(message, length, &at) < 0 || at + OPT_FIXED_BYTES > length)
		return -1;
	out->type = fx_load16_be(message + at);
	out->class = fx_load16_be(message + at + 2);
	out->ttl_at = at + 4;
	out->ttl = fx_load32_be(message + at + 4);
	out->rdata = at + OPT_FIXED_BYTES;
	out->end = out->rdata + fx_load16_be(message + at + 8);
	if (out->end > length)
		return -1;
	*offset = out->end;
	return 0;
}

/* Whether the options of an OPT record fill its data. */
static int options_fit(const fx_u8 *message, const struct record *opt)
{
	fx_u32 at = opt->rdata;

	while (at + 4 <= opt->end)
		at += 4u + fx_load16_be(message + at + 2);
	return at == opt->end;
}

static int take_edns(const fx_u8 *message, const struct record *opt, struct fx_dns_query *out)
{
	fx_u32 udp_bytes = opt->class;

	if (out->has_edns || message[opt->begin] != 0 || !options_fit(message, opt))
		return FX_DNS_FORMERR; /* a second one, or not of the root (RFC 6891, 6.1.1) */
	out->has_edns = 1;
	out->wants_dnssec = (opt->ttl & 0x8000) != 0;
	if (udp_bytes > FX_DNS_UDP_MAX)
		udp_bytes = FX_DNS_UDP_MAX;
	out->udp_bytes = (fx_u16)(udp_bytes < FX_DNS_UDP_PLAIN ? FX_DNS_UDP_PLAIN : udp_bytes);
	return opt->ttl >> 16 & 0xff ? FX_DNS_BADVERS : FX_DNS_FINE;
}

int fx_dns_query_read(const fx_u8 *message, fx_u32 length, struct fx_dns_query *out)
{
	fx_u32 offset = FX_DNS_HEADER_BYTES, additional;
	int fault = FX_DNS_FINE;

	if (length < FX_DNS_HEADER_BYTES)
		return FX_DNS_DROP;
	out->id = fx_load16_be(message);
	out->flags = fx_load16_be(message + 2);
	out->udp_bytes = FX_DNS_UDP_PLAIN;
	out->has_edns = out->wants_dnssec = 0;
	out->question_end = 0;
	if (out->flags & FX_DNS_QR)
		return FX_DNS_DROP; /* two servers would answer each other for ever */
	if (out->flags & FX_DNS_OPCODE)
		return FX_DNS_NOTIMP;
	if (fx_load32(message + 6))
		return FX_DNS_FORMERR; /* records in answer or authority */
	additional = fx_load16_be(message + 10);
	if (fx_load16_be(message + 4) != 1 ||
	    fx_dns_name_read(message, length, &offset, 0, &out->name) < 0 || offset + 4 > length)
		return FX_DNS_FORMERR;
	out->type = fx_load16_be(message + offset);
	out->class = fx_load16_be(message + offset + 2);
	offset += 4;
	out->question_end = (fx_u16)offset;
	for (fx_u32 i = 0; i < additional; i++) { /* each takes octets: bounded by them */
		struct record record;

		if (record_read(message, length, &offset, &record) < 0)
			return FX_DNS_FORMERR;
		if (record.type == FX_DNS_OPT) {
			int wrong = take_edns(message, &record, out);

			if (wrong == FX_DNS_FORMERR)
				return wrong;
			fault = wrong;
		}
	}
	return offset == length ? fault : FX_DNS_FORMERR;
}

/* The least of TTL and minimum of a SOA; ~0 if its data is not one. */
static fx_u32 soa_ttl(const fx_u8 *message, const struct record *soa)
{
	fx_u32 at = soa->rdata, minimum;

	if (fx_dns_name_skip(message, soa->end, &at) < 0 ||
	    fx_dns_name_skip(message, soa->end, &at) < 0 || at + SOA_NUMBERS_BYTES != soa->end)
		return ~0u;
	minimum = fx_load32_be(message + at + 16);
	return minimum < soa->ttl ? minimum : soa->ttl;
}

static void take_record(const fx_u8 *message, const struct record *record, fx_u32 section,
			struct fx_dns_answer *out)
{
	/* the upper bit of a TTL is to be taken as 0 seconds (RFC 2181, 8) */
	fx_u32 ttl = record->ttl >> 31 ? 0 : record->ttl;

	if (ttl < out->ttl)
		out->ttl = ttl;
	if (section == 1 && record->type == FX_DNS_SOA) {
		fx_u32 negative = soa_ttl(message, record);

		if (negative >> 31 && negative != ~0u)
			negative = 0;
		if (negative < out->negative_ttl)
			out->negative_ttl = negative;
	}
	if (out->records < FX_DNS_RECORDS_MAX)
		out->ttl_at[out->records] = (fx_u16)record->ttl_at;
	out->records++;
}

int fx_dns_answer_read(const fx_u8 *message, fx_u32 length, struct fx_dns_answer *out)
{
	fx_u32 offset = FX_DNS_HEADER_BYTES, opt_end = 0, opts = 0;

	if (length < FX_DNS_HEADER_BYTES || length > 0xffff)
		return FX_DNS_DROP;
	memset(out, 0, sizeof(*out));
	out->id = fx_load16_be(message);
	out->flags = fx_load16_be(message + 2);
	out->rcode = out->flags & FX_DNS_RCODE;
	out->ttl = out->negative_ttl = ~0u;
	if (!(out->flags & FX_DNS_QR) || fx_load16_be(message + 4) != 1 ||
	    fx_dns_name_skip(message, length, &offset) < 0 || offset + 4 > length)
		return FX_DNS_DROP;
	out->type = fx_load16_be(message + offset);
	out->class = fx_load16_be(message + offset + 2);
	offset += 4;
	out->question_end = out->plain_end = (fx_u16)offset;
	for (fx_u32 section = 0; section < 3; section++) {
		fx_u32 count = fx_load16_be(message + 6 + 2 * section);

		for (fx_u32 i = 0; i < count; i++) {
			struct record record;

			if (record_read(message, length, &offset, &record) < 0)
				return FX_DNS_DROP;
			if (record.type == FX_DNS_OPT) {
				if (section != 2 || opts++)
					return FX_DNS_DROP;
				out->rcode |= (fx_u16)(record.ttl >> 24 << 4);
				out->plain_end = (fx_u16)record.begin;
				opt_end = offset;
				continue;
			}
			out->counts[section]++;
			take_record(message, &record, section, out);
		}
	}
	if (offset != length)
		return FX_DNS_DROP;
	if (!opts)
		out->plain_end = (fx_u16)length;
	out->ttl_places = out->records <= FX_DNS_RECORDS_MAX && (!opts || opt_end == length) ?
				  out->records :
				  0;
	return FX_DNS_FINE;
}
