/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame into struct fx_packet: link layer, network layers (tunnels followed inwards), transport.
 * Same source for BPF: no calls, constant loop bounds, fx_has() the only bounds check.
 * Sizes come from the headers and the wire length, never from how much was captured.
 */
#ifndef FX_PARSE_H
#define FX_PARSE_H
#include "fx/parse_link.h"
#include "fx/parse_network.h"
#include "fx/parse_transport.h"

enum {
	FX_IP_LAYERS = 3, /* the outermost and two tunnelled ones; what is deeper stays payload */
	FX_GRE_HEADER = 4,
	FX_GRE_CHECKSUM = 0x8000,
	FX_GRE_KEY = 0x2000,
	FX_GRE_SEQUENCE = 0x1000,
	FX_VXLAN_HEADER = 8,
	FX_VXLAN_PORT = 4789,
	FX_WIRE_UNKNOWN =
		0x20000 /* beyond any IP length: of a first fragment the rest is elsewhere */
};

/*
 * The EtherType inside GRE version 0 (RFC 2784, 2890), 0 = nothing we follow; *c moves behind the
 * header.
 */
FX_INLINE fx_u16 fx_enter_gre(struct fx_cursor *c)
{
	struct fx_cursor inside = *c;
	fx_u16 flags;
	fx_u16 ethertype;

	if (fx_take_link(&inside, FX_GRE_HEADER))
		return 0;
	flags = fx_load16_be(c->at);
	ethertype = fx_load16_be(c->at + 2);
	if (flags & 0x4fff) /* source routing, reserved bits or another version */
		return 0;
	/* One constant size at a time: Linux 6.1's verifier loses its way in a sum of them. */
	if (flags & FX_GRE_CHECKSUM && fx_take_link(&inside, 4))
		return 0;
	if (flags & FX_GRE_KEY && fx_take_link(&inside, 4))
		return 0;
	if (flags & FX_GRE_SEQUENCE && fx_take_link(&inside, 4))
		return 0;
	*c = inside;
	return ethertype;
}

/* The EtherType inside a tunnelled Ethernet frame; 0 if it is cut. */
FX_INLINE fx_u16 fx_enter_ethernet(struct fx_cursor *c)
{
	const fx_u8 *at = c->at;
	fx_u16 ethertype;

	if (fx_take_link(c, FX_ETHERNET_HEADER))
		return 0;
	ethertype = fx_load16_be(at + 12);
	return fx_skip_vlans(c, &ethertype, (struct fx_packet *)0) ? 0 : ethertype;
}

/*
 * What the packet in `out` carries, if it is a tunnel: its EtherType, *tunnel and *c inside it;
 * else 0.
 */
FX_INLINE fx_u16 fx_enter_tunnel(struct fx_cursor *c, const struct fx_packet *out, fx_u8 *tunnel)
{
	fx_u16 ethertype;

	if (out->fragment == 2)
		return 0;
	if (out->fragment)
		c->wire = FX_WIRE_UNKNOWN;
	switch (out->proto) {
	case FX_PROTO_IP4:
		*tunnel = FX_TUNNEL_IPIP;
		return FX_ETHERTYPE_IP4;
	case FX_PROTO_IP6:
		*tunnel = FX_TUNNEL_IPIP;
		return FX_ETHERTYPE_IP6;
	case FX_PROTO_GRE:
		*tunnel = FX_TUNNEL_GRE;
		ethertype = fx_enter_gre(c);
		return ethertype == FX_ETHERTYPE_BRIDGED ? fx_enter_ethernet(c) : ethertype;
	case FX_PROTO_UDP:
		*tunnel = FX_TUNNEL_VXLAN;
		if (out->dst_port != FX_VXLAN_PORT || fx_take_link(c, FX_UDP_HEADER) ||
		    !fx_has(c->at, FX_VXLAN_HEADER, c->end) || !(c->at[0] & 0x08) ||
		    fx_take_link(c, FX_VXLAN_HEADER))
			return 0;
		return fx_enter_ethernet(c);
	default:
		return 0;
	}
}

/*
 * IP at c->at and what it carries. A tunnelled packet takes the place of the one around it as soon
 * as its addresses are known; one that is not understood leaves the outer packet as it was.
 */
FX_INLINE int fx_parse_ip(struct fx_cursor *c, fx_u16 ethertype, const fx_u8 *frame,
			  struct fx_packet *out)
{
	fx_u8 tunnel = out->tunnel;
	int code = FX_DECODE_OK;

	for (int layer = 0; layer < FX_IP_LAYERS; layer++) {
		int inner;

		fx_settle(c, frame);
		if (ethertype == FX_ETHERTYPE_IP4)
			inner = fx_parse_ip4(c, out);
		else
			inner = fx_parse_ip6(c, out);
		if (inner != FX_DECODE_OK)
			return layer == 0 ? inner : code;
		out->tunnel = tunnel;
		out->src_port = 0;
		out->dst_port = 0;
		out->payload_bytes = 0;
		out->payload_offset = 0;
		code = out->decode;
		if (out->ip_version == 6) {
			inner = fx_skip_extensions(c, frame, out);
			if (inner != FX_DECODE_OK)
				return inner;
		}
		if (out->fragment == 2) {
			fx_put_payload(c, frame, 0, c->wire, out);
			return code;
		}
		fx_settle(c, frame);
		inner = fx_parse_transport(c, frame, out);
		if (inner != FX_DECODE_OK)
			return code ? code : inner;
		ethertype = fx_enter_tunnel(c, out, &tunnel);
		if (ethertype != FX_ETHERTYPE_IP4 && ethertype != FX_ETHERTYPE_IP6)
			return code;
	}
	return code;
}

/* What every frame has; the rest is 0 but for what parsers put there. */
FX_INLINE void fx_put_frame(fx_u32 captured, fx_u32 wire_bytes, struct fx_packet *out)
{
	out->tcp_wscale = 255;
	out->wire_segments = 1;
	out->wire_bytes = wire_bytes;
	out->captured_bytes = captured;
}

/* Every frame, of any link type. */
FX_OUTLINE int fx_parse_any(const fx_u8 *bytes, const fx_u8 *end, fx_u32 wire_bytes,
			    fx_u16 linktype, struct fx_packet *out)
{
	struct fx_cursor c = { bytes, end, wire_bytes };
	fx_i64 time_ns = out->time_ns;
	fx_u16 iface = out->iface;
	int code;

	/* In halves, which compilers turn into a few stores where they would call for the whole. */
	__builtin_memset(out, 0, sizeof(*out) / 2);
	__builtin_memset((fx_u8 *)out + sizeof(*out) / 2, 0, sizeof(*out) / 2);
	out->time_ns = time_ns;
	out->iface = iface;
	fx_put_frame((fx_u32)(end - bytes), wire_bytes, out);
	fx_settle(&c, bytes);
	code = fx_parse_link(&c, linktype, out);
	if (code == FX_DECODE_OK) {
		if (out->ethertype == FX_ETHERTYPE_IP4 || out->ethertype == FX_ETHERTYPE_IP6)
			code = fx_parse_ip(&c, out->ethertype, bytes, out);
		else if (out->ethertype == FX_ETHERTYPE_ARP)
			code = fx_parse_arp(&c, out);
	}
	out->decode = (fx_u8)code;
	return code;
}

/*
 * Zeroes what fx_parse_common() does not set anyway: all from tcp_seq to the end but iface, and
 * arp_mac.
 */
FX_INLINE void fx_clear_common(struct fx_packet *out)
{
	fx_u8 *octets = (fx_u8 *)out;

	out->arp_mac = 0;
	__builtin_memset(octets + __builtin_offsetof(struct fx_packet, tcp_seq), 0,
			 __builtin_offsetof(struct fx_packet, iface) -
				 __builtin_offsetof(struct fx_packet, tcp_seq));
	out->tcp_flags = 0;
	__builtin_memset(octets + __builtin_offsetof(struct fx_packet, tcp_options), 0,
			 sizeof(*out) - __builtin_offsetof(struct fx_packet, tcp_options));
}

/*
 * What most frames are: Ethernet, IPv4 without options or fragments, TCP or UDP, ports and flags
 * captured, no contradiction, no tunnel. Whether it was one; then the result is fx_parse_any()'s.
 */
FX_INLINE int fx_parse_common(const fx_u8 *bytes, const fx_u8 *end, fx_u32 wire_bytes,
			      struct fx_packet *out)
{
	const fx_u8 *ip = bytes + FX_ETHERNET_HEADER;
	struct fx_cursor c = { ip + FX_IP4_HEADER, end, 0 };
	fx_u32 total;

	if (fx_unlikely(!fx_has(bytes, FX_ETHERNET_HEADER + FX_IP4_HEADER + FX_UDP_HEADER, end)))
		return 0;
	total = fx_load16_be(ip + 2);
	/* EtherType 0x0800 and the octet 0x45 after it; neither offset nor "more fragments". */
	if (fx_unlikely((fx_load32(bytes + 12) & 0xffffff) != 0x450008 ||
			(fx_load16(ip + 6) & 0xff3f) != 0 ||
			total + FX_ETHERNET_HEADER > wire_bytes))
		return 0;
	c.wire = total - FX_IP4_HEADER;
	if (fx_likely(ip[9] == FX_PROTO_TCP)) {
		fx_u32 header;

		if (fx_unlikely(!fx_has(c.at, FX_TCP_HEADER, end)))
			return 0;
		header = fx_tcp_header_bytes(c.at);
		if (fx_unlikely(header < FX_TCP_HEADER || total < FX_IP4_HEADER + header))
			return 0;
		fx_clear_common(out);
		fx_put_frame((fx_u32)(end - bytes), wire_bytes, out);
		out->header_bytes = FX_IP4_HEADER;
		out->decode = (fx_u8)fx_put_tcp(&c, bytes, header, out);
	} else if (ip[9] == FX_PROTO_UDP) {
		fx_u32 length = fx_load16_be(c.at + 4);

		if (fx_unlikely(length < FX_UDP_HEADER || total < FX_IP4_HEADER + length ||
				fx_load16_be(c.at + 2) == FX_VXLAN_PORT))
			return 0;
		fx_clear_common(out);
		fx_put_frame((fx_u32)(end - bytes), wire_bytes, out);
		out->header_bytes = FX_IP4_HEADER;
		fx_put_ports(c.at, out);
		fx_put_payload(&c, bytes, FX_UDP_HEADER, length - FX_UDP_HEADER, out);
	} else {
		return 0;
	}
	out->dst_mac = fx_load_mac(bytes);
	out->src_mac = fx_load_mac(bytes + 6);
	out->ethertype = FX_ETHERTYPE_IP4;
	out->ip_version = 4;
	out->ip_bytes = total;
	out->tos = ip[1];
	out->ttl = ip[8];
	out->proto = ip[9];
	fx_addr_put4(&out->src_addr, ip + 12);
	fx_addr_put4(&out->dst_addr, ip + 16);
	return 1;
}

/*
 * Reads one frame of `wire_bytes` on the wire, captured from `bytes` up to `end`: 0 or the reason
 * why it is not fully understood (enum fx_decode, also in out->decode). Fills every field but
 * time_ns and iface, which it leaves alone.
 */
FX_INLINE int fx_parse_frame(const fx_u8 *bytes, const fx_u8 *end, fx_u32 wire_bytes,
			     fx_u16 linktype, struct fx_packet *out)
{
	if (fx_unlikely(wire_bytes < (fx_u32)(end - bytes)))
		wire_bytes = (fx_u32)(end - bytes);
#ifndef __bpf__ /* where programs are to be short */
	if (fx_likely(linktype == FX_LINKTYPE_ETHERNET) &&
	    fx_likely(fx_parse_common(bytes, end, wire_bytes, out)))
		return out->decode;
#endif
	return fx_parse_any(bytes, end, wire_bytes, linktype, out);
}

#endif
