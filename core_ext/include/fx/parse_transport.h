/* SPDX-License-Identifier: Apache-2.0 */
/* TCP, UDP, ICMP, ICMPv6 and SCTP headers into struct fx_packet. Same source for BPF. */
#ifndef FX_PARSE_TRANSPORT_H
#define FX_PARSE_TRANSPORT_H
#include "fx/bytes.h"
#include "fx/decode.h"

enum fx_ip_proto {
	FX_PROTO_HOP_BY_HOP = 0,
	FX_PROTO_ICMP = 1,
	FX_PROTO_IP4 = 4,
	FX_PROTO_TCP = 6,
	FX_PROTO_UDP = 17,
	FX_PROTO_IP6 = 41,
	FX_PROTO_ROUTING = 43,
	FX_PROTO_FRAGMENT = 44,
	FX_PROTO_GRE = 47,
	FX_PROTO_AH = 51,
	FX_PROTO_ICMP6 = 58,
	FX_PROTO_NO_NEXT = 59,
	FX_PROTO_DESTINATION = 60,
	FX_PROTO_SCTP = 132
};

enum {
	FX_TCP_HEADER = 20,
	FX_UDP_HEADER = 8,
	FX_ICMP_HEADER = 8,
	FX_SCTP_HEADER = 12,
	FX_TCP_OPTION_STEPS = 40, /* options are at most 40 octets, a no-op is one */
	FX_ND_OPTION_STEPS = 4,
	FX_TCP_SYN = 0x02
};

/* Bits of the column tcp_options. */
enum fx_tcp_option_bits {
	FX_TCP_MSS = 1,
	FX_TCP_WSCALE = 2,
	FX_TCP_SACK_PERMITTED = 4,
	FX_TCP_TIMESTAMPS = 8,
	FX_TCP_SACK = 16,
	FX_TCP_OPTIONS_MALFORMED = 128
};

/* Both ports at once: the columns are neighbours, as they are on the wire. */
FX_INLINE void fx_put_ports(const fx_u8 *at, struct fx_packet *out)
{
	fx_u32 ports = fx_load32_be(at);

	ports = ports << 16 | ports >> 16;
	__builtin_memcpy((fx_u8 *)out + __builtin_offsetof(struct fx_packet, src_port), &ports, 4);
}

/* Sequence and acknowledgment number at once. */
FX_INLINE void fx_put_numbers(const fx_u8 *at, struct fx_packet *out)
{
	fx_u64 numbers = __builtin_bswap64(fx_load64(at));

	numbers = numbers << 32 | numbers >> 32;
	__builtin_memcpy((fx_u8 *)out + __builtin_offsetof(struct fx_packet, tcp_seq), &numbers, 8);
}

_Static_assert(__builtin_offsetof(struct fx_packet, dst_port) ==
			       __builtin_offsetof(struct fx_packet, src_port) + 2 &&
		       __builtin_offsetof(struct fx_packet, tcp_ack) ==
			       __builtin_offsetof(struct fx_packet, tcp_seq) + 4,
	       "columns that are written in pairs");

/*
 * Header octets of the transport, `wire` of them and its payload together; the frame begins at
 * `frame`.
 */
FX_INLINE void fx_put_payload(const struct fx_cursor *c, const fx_u8 *frame, fx_u32 header,
			      fx_u32 payload, struct fx_packet *out)
{
	out->header_bytes = (fx_u16)(out->header_bytes + header);
	out->payload_bytes = payload;
	if (payload && fx_has(c->at, header + 1, c->end))
		out->payload_offset = (fx_u16)((fx_u32)(c->at - frame) + header);
	else
		out->payload_offset = 0;
}

/* Walks `length` (<= 40) octets of options, all captured. */
FX_INLINE void fx_parse_tcp_options(const fx_u8 *options, fx_u32 length, const fx_u8 *end,
				    struct fx_packet *out)
{
	fx_u64 position = 0, limit = length;

	fx_settle_number(limit, 63, options, end);
	for (int step = 0; step < FX_TCP_OPTION_STEPS; step++) {
		const fx_u8 *at;
		fx_u32 size;

		fx_settle_number(position, 63, options, end);
		at = options + position;
		if (position >= limit || !fx_has(at, 1, end) || at[0] == 0)
			return;
		if (at[0] == 1) {
			position++;
			continue;
		}
		if (!fx_has(at, 2, end))
			goto malformed;
		size = at[1];
		if (size < 2 || position + size > limit)
			goto malformed;
		if (at[0] == 2 && size == 4 && fx_has(at, 4, end)) {
			out->tcp_options |= FX_TCP_MSS;
			out->tcp_mss = fx_load16_be(at + 2);
		} else if (at[0] == 3 && size == 3 && fx_has(at, 3, end)) {
			out->tcp_options |= FX_TCP_WSCALE;
			out->tcp_wscale = at[2];
		} else if (at[0] == 4 && size == 2) {
			out->tcp_options |= FX_TCP_SACK_PERMITTED;
		} else if (at[0] == 5) {
			out->tcp_options |= FX_TCP_SACK;
		} else if (at[0] == 8 && size == 10) {
			out->tcp_options |= FX_TCP_TIMESTAMPS;
		}
		position += size;
	}
	return;
malformed:
	out->tcp_options |= FX_TCP_OPTIONS_MALFORMED;
}

#ifndef __bpf__
FX_OUTLINE void fx_walk_tcp_options(const fx_u8 *at, fx_u32 length, const fx_u8 *end,
				    struct fx_packet *out)
{
	fx_parse_tcp_options(at, length, end, out);
}
#elif defined(FX_WITHOUT_OPTIONS) /* for who does not read the columns of TCP options */
#define fx_walk_tcp_options(at, length, end, out) ((void)0)
#else
#define fx_walk_tcp_options fx_parse_tcp_options
#endif

FX_INLINE fx_u32 fx_tcp_header_bytes(const fx_u8 *at)
{
	return (fx_u32)(at[12] & 0xf0) >> 2;
}

/* Fields and options of a TCP header of `header` octets; the first 20 are captured. */
FX_INLINE int fx_put_tcp(const struct fx_cursor *c, const fx_u8 *frame, fx_u32 header,
			 struct fx_packet *out)
{
	const fx_u8 *at = c->at;

	fx_put_ports(at, out);
	fx_put_numbers(at + 4, out);
	out->tcp_flags = at[13];
	out->tcp_window = fx_load16_be(at + 14);
	fx_put_payload(c, frame, header, c->wire - header, out);
	if (header == FX_TCP_HEADER)
		return FX_DECODE_OK;
	if (!fx_has(at, header, c->end))
		return FX_DECODE_CUT_OPTIONS;
	/*
	 * What nearly every segment of a Linux, BSD or Apple sender has: no-op, no-op, timestamps.
	 */
	if (header == 32 && fx_has(at, 32, c->end) && fx_load32(at + 20) == 0x0a080101u)
		out->tcp_options = FX_TCP_TIMESTAMPS;
	else
		fx_walk_tcp_options(at + FX_TCP_HEADER, header - FX_TCP_HEADER, c->end, out);
	return FX_DECODE_OK;
}

FX_INLINE void fx_put_ports_if_captured(const struct fx_cursor *c, struct fx_packet *out)
{
	if (c->wire < 4 || !fx_has(c->at, 4, c->end))
		return;
	fx_put_ports(c->at, out);
}

/* What a header of `header` octets that was not captured whole means. */
FX_INLINE int fx_short_transport(const struct fx_cursor *c, fx_u32 header)
{
	return c->wire < header ? FX_DECODE_SHORT_TRANSPORT : FX_DECODE_CUT_TRANSPORT;
}

FX_INLINE int fx_parse_tcp(const struct fx_cursor *c, const fx_u8 *frame, struct fx_packet *out)
{
	fx_u32 header;

	if (c->wire < FX_TCP_HEADER || !fx_has(c->at, FX_TCP_HEADER, c->end)) {
		fx_put_ports_if_captured(c, out);
		return fx_short_transport(c, FX_TCP_HEADER);
	}
	header = fx_tcp_header_bytes(c->at);
	if (header < FX_TCP_HEADER || header > c->wire) {
		fx_put_ports_if_captured(c, out);
		return FX_DECODE_TCP_OFFSET;
	}
	return fx_put_tcp(c, frame, header, out);
}

FX_INLINE int fx_parse_udp(const struct fx_cursor *c, const fx_u8 *frame, struct fx_packet *out)
{
	fx_u32 length;

	fx_put_ports_if_captured(c, out);
	if (c->wire < FX_UDP_HEADER || !fx_has(c->at, FX_UDP_HEADER, c->end))
		return fx_short_transport(c, FX_UDP_HEADER);
	length = fx_load16_be(c->at + 4);
	/*
	 * 0 is a jumbogram or an offloaded datagram; of a first fragment the length tells of all of
	 * them.
	 */
	if (length == 0 || out->fragment)
		length = c->wire;
	if (length < FX_UDP_HEADER || length > c->wire) {
		fx_put_payload(c, frame, FX_UDP_HEADER, c->wire - FX_UDP_HEADER, out);
		return FX_DECODE_UDP_LENGTH;
	}
	fx_put_payload(c, frame, FX_UDP_HEADER, length - FX_UDP_HEADER, out);
	return FX_DECODE_OK;
}

FX_INLINE int fx_parse_sctp(const struct fx_cursor *c, const fx_u8 *frame, struct fx_packet *out)
{
	fx_put_ports_if_captured(c, out);
	if (c->wire < FX_SCTP_HEADER || !fx_has(c->at, FX_SCTP_HEADER, c->end))
		return fx_short_transport(c, FX_SCTP_HEADER);
	fx_put_payload(c, frame, FX_SCTP_HEADER, c->wire - FX_SCTP_HEADER, out);
	return FX_DECODE_OK;
}

/*
 * The link-layer address a neighbour solicitation or advertisement claims (RFC 4861 section 4.3).
 */
FX_INLINE void fx_parse_nd(const struct fx_cursor *c, struct fx_packet *out)
{
	fx_u64 position = 24;

	out->arp_op = c->at[0];
	for (int step = 0; step < FX_ND_OPTION_STEPS; step++) {
		const fx_u8 *at;
		fx_u32 size;

		fx_settle_number(position, FX_OFFSET_MASK, c->at, c->end);
		at = c->at + position;
		if (position + 8 > c->wire || !fx_has(at, 8, c->end))
			return;
		size = (fx_u32)at[1] * 8;
		if ((at[0] == 1 || at[0] == 2) && size == 8) {
			out->arp_mac = fx_load_mac_last(at + 2);
			return;
		}
		if (size == 0)
			return;
		position += size;
	}
}

FX_INLINE int fx_parse_icmp(const struct fx_cursor *c, const fx_u8 *frame, struct fx_packet *out)
{
	fx_u8 type;
	int echo;

	if (c->wire < 4 || !fx_has(c->at, 4, c->end))
		return fx_short_transport(c, 4);
	type = c->at[0];
	out->src_port = type;
	out->dst_port = c->at[1];
	if (c->wire < FX_ICMP_HEADER || !fx_has(c->at, FX_ICMP_HEADER, c->end))
		return fx_short_transport(c, FX_ICMP_HEADER);
	if (out->proto == FX_PROTO_ICMP)
		echo = type == 8 || type == 0;
	else
		echo = type == 128 || type == 129;
	if (echo)
		out->icmp_id = fx_load16_be(c->at + 4);
	if (out->proto == FX_PROTO_ICMP6 && (type == 135 || type == 136) && c->wire >= 24 &&
	    fx_has(c->at, 24, c->end))
		fx_parse_nd(c, out);
	fx_put_payload(c, frame, FX_ICMP_HEADER, c->wire - FX_ICMP_HEADER, out);
	return FX_DECODE_OK;
}

/* The header after the IP headers; c->wire is the IP payload. */
FX_INLINE int fx_parse_transport(const struct fx_cursor *c, const fx_u8 *frame,
				 struct fx_packet *out)
{
	switch (out->proto) {
	case FX_PROTO_TCP:
		return fx_parse_tcp(c, frame, out);
	case FX_PROTO_UDP:
		return fx_parse_udp(c, frame, out);
	case FX_PROTO_ICMP:
	case FX_PROTO_ICMP6:
		return fx_parse_icmp(c, frame, out);
	case FX_PROTO_SCTP:
		return fx_parse_sctp(c, frame, out);
	default:
		fx_put_payload(c, frame, 0, c->wire, out);
		return FX_DECODE_OK;
	}
}

#endif
