/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages as they come (RFC 1035, 6891): bounded readers that allocate nothing. */
#ifndef FX_DNS_WIRE_H
#define FX_DNS_WIRE_H
#include "fx/bytes.h"

enum {
	FX_DNS_HEADER_BYTES = 12,
	FX_DNS_NAME_MAX = 255, /* octets of a name, lengths and root included (RFC 1035, 2.3.4) */
	FX_DNS_LABEL_MAX = 63,
	FX_DNS_LABELS_MAX = 127,
	FX_DNS_RECORDS_MAX = 48, /* of an answer whose places of TTLs are kept */
	FX_DNS_UDP_PLAIN = 512, /* what an asker without EDNS can take */
	FX_DNS_UDP_MAX = 1232, /* what we send and take (DNS flag day 2020) */
};

enum fx_dns_flags {
	FX_DNS_QR = 0x8000,
	FX_DNS_OPCODE = 0x7800,
	FX_DNS_AA = 0x0400,
	FX_DNS_TC = 0x0200,
	FX_DNS_RD = 0x0100,
	FX_DNS_RA = 0x0080,
	FX_DNS_AD = 0x0020,
	FX_DNS_CD = 0x0010,
	FX_DNS_RCODE = 0x000f,
};

enum fx_dns_types {
	FX_DNS_A = 1,
	FX_DNS_CNAME = 5,
	FX_DNS_SOA = 6,
	FX_DNS_AAAA = 28,
	FX_DNS_OPT = 41,
	FX_DNS_ANY = 255,
	FX_DNS_IN = 1,
};

/* What is to be done with a message: an rcode for its sender, or no reply at all. */
enum fx_dns_fault {
	FX_DNS_FINE = 0,
	FX_DNS_FORMERR = 1,
	FX_DNS_SERVFAIL = 2,
	FX_DNS_NXDOMAIN = 3,
	FX_DNS_NOTIMP = 4,
	FX_DNS_REFUSED = 5,
	FX_DNS_BADVERS = 16,
	FX_DNS_DROP = -1, /* too short for a header, or not what was waited for */
};

/* A name in lower case as on the wire, without pointers, its root label included. */
struct fx_dns_name {
	fx_u8 octets[FX_DNS_NAME_MAX + 9]; /* zeros behind the name: it may be read by eights */
	fx_u8 length; /* 1 = the root */
	fx_u8 labels; /* without the root */
	fx_u8 starts[FX_DNS_LABELS_MAX]; /* of each label */
};

struct fx_dns_query {
	fx_u16 id, flags, type, class;
	fx_u16 question_end; /* where the question ends: it begins behind the header */
	fx_u16 udp_bytes; /* what the asker can take, 512 to 1232 */
	fx_u8 has_edns;
	fx_u8 wants_dnssec; /* DO */
	struct fx_dns_name name;
};

struct fx_dns_answer {
	fx_u16 id, flags;
	fx_u16 type, class;
	fx_u16 question_end;
	fx_u16 plain_end; /* where the message ends without its OPT */
	fx_u16 records; /* without OPT */
	fx_u16 ttl_places; /* 0 with records: more than are kept, or OPT is not the last one */
	fx_u16 ttl_at[FX_DNS_RECORDS_MAX];
	fx_u16 counts[3]; /* answer, authority, additional without OPT */
	fx_u16 rcode; /* with the upper bits of OPT */
	fx_u32 ttl; /* least of all records */
	fx_u32 negative_ttl; /* least of the SOA's TTL and minimum (RFC 2308); ~0 = no SOA in authority */
};

/*
 * Reads a name at *offset, which moves behind it. `pointers`: whether it may be compressed. -1 if it is too long, leaves
 * the message, or points forward.
 */
int fx_dns_name_read(const fx_u8 *message, fx_u32 length, fx_u32 *offset, int pointers,
		     struct fx_dns_name *out);
/* Moves *offset behind a name without reading where it points; -1 as above. */
int fx_dns_name_skip(const fx_u8 *message, fx_u32 length, fx_u32 *offset);

/* Reads a query: an enum fx_dns_fault. What is set of `out` when that is not 0: id, flags. */
int fx_dns_query_read(const fx_u8 *message, fx_u32 length, struct fx_dns_query *out);
/* Reads an answer with one question: 0, or FX_DNS_DROP. Its records are all looked at. */
int fx_dns_answer_read(const fx_u8 *message, fx_u32 length, struct fx_dns_answer *out);

FX_INLINE void fx_dns_put16(fx_u8 *at, fx_u32 value)
{
	at[0] = (fx_u8)(value >> 8);
	at[1] = (fx_u8)value;
}

FX_INLINE void fx_dns_put32(fx_u8 *at, fx_u32 value)
{
	fx_dns_put16(at, value >> 16);
	fx_dns_put16(at + 2, value);
}

#endif
