/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4, IPv6 with extension headers, and ARP into struct fx_packet. Same source for BPF. */
#ifndef FX_PARSE_NETWORK_H
#define FX_PARSE_NETWORK_H
#include "fx/bytes.h"
#include "fx/decode.h"
#include "fx/parse_transport.h"

enum {
	FX_IP4_HEADER = 20,
	FX_IP6_HEADER = 40,
	FX_IP6_EXTENSIONS = 8, /* more than that is no traffic but an attempt to hide something */
	FX_ARP_PACKET = 28 /* for Ethernet and IPv4 */
};

/* What a header of `header` octets that was not captured whole means. */
FX_INLINE int fx_short_network(const struct fx_cursor *c, fx_u32 header)
{
	return c->wire < header ? FX_DECODE_SHORT_NETWORK : FX_DECODE_CUT_NETWORK;
}

/*
 * An IPv4 header; *c moves to its payload. Nothing is written unless the addresses are known
 * (out->ip_version). A total length of 0 is a segment that the sender's card will cut (TSO): its
 * length is the wire's.
 */
FX_INLINE int fx_parse_ip4(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	fx_u32 header, total, fragment;

	if (c->wire < FX_IP4_HEADER || !fx_has(at, FX_IP4_HEADER, c->end))
		return fx_short_network(c, FX_IP4_HEADER);
	if (at[0] >> 4 != 4)
		return FX_DECODE_IP_VERSION;
	header = (fx_u32)(at[0] & 15) * 4;
	if (header < FX_IP4_HEADER)
		return FX_DECODE_IP_HEADER_LENGTH;
	total = fx_load16_be(at + 2);
	if (total == 0)
		total = c->wire;
	if (total < header)
		return FX_DECODE_IP_LENGTH;

	fragment = fx_load16_be(at + 6) & 0x3fff;
	out->ip_version = 4;
	out->ip_bytes = total;
	out->header_bytes = (fx_u16)header;
	out->tos = at[1];
	out->ttl = at[8];
	out->proto = at[9];
	out->fragment = !fragment ? 0 : fragment & 0x1fff ? 2 : 1;
	fx_addr_put4(&out->src_addr, at + 12);
	fx_addr_put4(&out->dst_addr, at + 16);
	out->decode = total > c->wire ? FX_DECODE_IP_LENGTH : FX_DECODE_OK;
	c->at = at + header;
	c->wire = total - header;
	return FX_DECODE_OK;
}

/* Steps over extension headers; *c moves to the upper layer, whose number becomes out->proto. */
FX_INLINE int fx_skip_extensions(struct fx_cursor *c, const fx_u8 *frame, struct fx_packet *out)
{
	for (int step = 0; step < FX_IP6_EXTENSIONS; step++) {
		fx_u32 size;
		fx_u8 kind = out->proto;

		fx_settle(c, frame);
		if (kind != FX_PROTO_HOP_BY_HOP && kind != FX_PROTO_ROUTING &&
		    kind != FX_PROTO_FRAGMENT && kind != FX_PROTO_DESTINATION &&
		    kind != FX_PROTO_AH)
			return FX_DECODE_OK;
		if (c->wire < 8)
			return FX_DECODE_IP_EXTENSION;
		if (!fx_has(c->at, 8, c->end))
			return FX_DECODE_CUT_TRANSPORT;
		size = (fx_u32)c->at[1] * 8 + 8;
		if (kind == FX_PROTO_AH)
			size = (fx_u32)c->at[1] * 4 + 8;
		if (kind == FX_PROTO_FRAGMENT) {
			fx_u32 fragment = fx_load16_be(c->at + 2);

			size = 8;
			if (fragment & 0xfff9)
				out->fragment = fragment & 0xfff8 ? 2 : 1;
		}
		if (size > c->wire || (fx_u64)(c->at - frame) + size > FX_OFFSET_MAX)
			return FX_DECODE_IP_EXTENSION;
		out->proto = c->at[0];
		out->header_bytes = (fx_u16)(out->header_bytes + size);
		c->at += size;
		c->wire -= size;
		if (out->fragment == 2)
			return FX_DECODE_OK;
	}
	return FX_DECODE_IP_EXTENSION;
}

/* An IPv6 header; as fx_parse_ip4. Extension headers are stepped over by fx_skip_extensions(). */
FX_INLINE int fx_parse_ip6(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	fx_u32 total;

	if (c->wire < FX_IP6_HEADER || !fx_has(at, FX_IP6_HEADER, c->end))
		return fx_short_network(c, FX_IP6_HEADER);
	if (at[0] >> 4 != 6)
		return FX_DECODE_IP_VERSION;
	total = FX_IP6_HEADER + fx_load16_be(at + 4);
	/* Length 0 is a jumbogram or a segment that the sender's card will cut. */
	if (total == FX_IP6_HEADER && (at[6] == FX_PROTO_TCP || at[6] == FX_PROTO_HOP_BY_HOP))
		total = c->wire;

	out->ip_version = 6;
	out->ip_bytes = total;
	out->header_bytes = FX_IP6_HEADER;
	out->tos = (fx_u8)(fx_load16_be(at) >> 4);
	out->proto = at[6];
	out->ttl = at[7];
	out->fragment = 0;
	fx_addr_put6(&out->src_addr, at + 8);
	fx_addr_put6(&out->dst_addr, at + 24);
	out->decode = total > c->wire ? FX_DECODE_IP_LENGTH : FX_DECODE_OK;
	c->at = at + FX_IP6_HEADER;
	c->wire = total - FX_IP6_HEADER;
	return FX_DECODE_OK;
}

FX_INLINE int fx_parse_arp(const struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	fx_u16 hardware;

	if (c->wire < FX_ARP_PACKET || !fx_has(at, FX_ARP_PACKET, c->end))
		return fx_short_network(c, FX_ARP_PACKET);
	/*
	 * Protocol IPv4, address lengths 6 and 4, operation below 256; hardware Ethernet or IEEE
	 * 802.
	 */
	hardware = fx_load16_be(at);
	if ((hardware != 1 && hardware != 6) || fx_load32(at + 2) != 0x04060008u || at[6] != 0)
		return FX_DECODE_ARP;
	out->arp_op = at[7];
	out->arp_mac = fx_load_mac(at + 8);
	fx_addr_put4(&out->src_addr, at + 14);
	fx_addr_put4(&out->dst_addr, at + 24);
	return FX_DECODE_OK;
}

#endif
