/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of our own: to what is blocked, and to what cannot be answered. */
#ifndef FX_DNS_BUILD_H
#define FX_DNS_BUILD_H
#include "dns_wire.h"

/* What the owner of a blocked name is told. */
enum fx_dns_mode {
	FX_DNS_MODE_ZERO, /* 0.0.0.0, :: */
	FX_DNS_MODE_NXDOMAIN,
	FX_DNS_MODE_NODATA,
	FX_DNS_MODE_REFUSED, /* not behind dnsmasq: it asks another server then */
	FX_DNS_MODE_CUSTOM,
};

/* Extended errors (RFC 8914). */
enum fx_dns_extended { FX_DNS_BLOCKED = 15, FX_DNS_CENSORED = 16, FX_DNS_FILTERED = 17 };

struct fx_dns_block {
	enum fx_dns_mode mode;
	fx_u32 ttl;
	fx_u16 extended; /* an INFO-CODE, or 0 with no extended error */
	fx_u16 text_bytes;
	const char *
		text; /* UTF-8: the list's title; cut, between letters, where the answer would be too long */
	fx_u8 ipv4[4], ipv6[16]; /* of FX_DNS_MODE_CUSTOM */
};

/*
 * Write the answer to a query that was read without fault from `message`; how many octets, or 0 if `capacity` is below
 * FX_DNS_UDP_PLAIN. Never more than the asker can take.
 */
fx_u32 fx_dns_build_block(const fx_u8 *message, const struct fx_dns_query *query,
			  const struct fx_dns_block *block, fx_u8 *out, fx_u32 capacity);
/*
 * The answer to a message that was refused with an rcode of enum fx_dns_fault; its question stands in it if it was
 * read. 0 for FX_DNS_DROP.
 */
fx_u32 fx_dns_build_fault(const fx_u8 *message, const struct fx_dns_query *query, int fault,
			  fx_u8 *out, fx_u32 capacity);

#endif
