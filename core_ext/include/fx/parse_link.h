/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Link layers down to the EtherType of the network layer: addresses, VLAN tags, PPPoE. Same source
 * for BPF.
 */
#ifndef FX_PARSE_LINK_H
#define FX_PARSE_LINK_H
#include "fx/bytes.h"
#include "fx/decode.h"

/* Numbers of the pcap link type registry that are understood. */
enum fx_linktype {
	FX_LINKTYPE_NULL = 0,
	FX_LINKTYPE_ETHERNET = 1,
	FX_LINKTYPE_PPP = 9,
	FX_LINKTYPE_RAW_BSD = 12,
	FX_LINKTYPE_RAW_OPENBSD = 14,
	FX_LINKTYPE_RAW = 101,
	FX_LINKTYPE_CISCO_HDLC = 104,
	FX_LINKTYPE_LOOP = 108,
	FX_LINKTYPE_LINUX_SLL = 113,
	FX_LINKTYPE_IPV4 = 228,
	FX_LINKTYPE_IPV6 = 229,
	FX_LINKTYPE_LINUX_SLL2 = 276
};

enum fx_ethertype {
	FX_ETHERTYPE_IP4 = 0x0800,
	FX_ETHERTYPE_ARP = 0x0806,
	FX_ETHERTYPE_BRIDGED = 0x6558, /* Ethernet within GRE */
	FX_ETHERTYPE_VLAN = 0x8100,
	FX_ETHERTYPE_IP6 = 0x86dd,
	FX_ETHERTYPE_PPPOE = 0x8864,
	FX_ETHERTYPE_QINQ = 0x88a8,
	FX_ETHERTYPE_QINQ_OLD = 0x9100,
	FX_ETHERTYPE_SMALLEST = 0x0600 /* below it the field is an IEEE 802.3 length */
};

/* Values of the column `tunnel`. */
enum fx_tunnel {
	FX_TUNNEL_NONE = 0,
	FX_TUNNEL_GRE = 1,
	FX_TUNNEL_VXLAN = 2,
	FX_TUNNEL_IPIP = 3,
	FX_TUNNEL_PPPOE = 4
};

enum {
	FX_ETHERNET_HEADER = 14,
	FX_SLL_HEADER = 16,
	FX_SLL2_HEADER = 20,
	FX_NULL_HEADER = 4,
	FX_VLAN_TAG = 4,
	FX_VLAN_TAGS = 4, /* followed; the columns tell of the first two */
	FX_SNAP_HEADER = 8,
	FX_PPPOE_HEADER = 6,
	FX_PPP_HEADER = 2, /* the protocol number alone */
	FX_HDLC_HEADER = 4 /* address, control, then PPP's number or an EtherType */
};

FX_INLINE int fx_is_vlan(fx_u16 ethertype)
{
	return ethertype == FX_ETHERTYPE_VLAN || ethertype == FX_ETHERTYPE_QINQ ||
	       ethertype == FX_ETHERTYPE_QINQ_OLD;
}

/* Takes `size` octets of link header off, or says why it cannot. */
FX_INLINE int fx_take_link(struct fx_cursor *c, fx_u32 size)
{
	if (c->wire < size)
		return FX_DECODE_SHORT_LINK;
	if (!fx_has(c->at, size, c->end))
		return FX_DECODE_CUT_LINK;
	c->at += size;
	c->wire -= size;
	return FX_DECODE_OK;
}

/* Steps over VLAN tags; of a tunnelled frame the ids are not kept (out == NULL). */
FX_INLINE int fx_skip_vlans(struct fx_cursor *c, fx_u16 *ethertype, struct fx_packet *out)
{
	for (int tag = 0; tag < FX_VLAN_TAGS && fx_is_vlan(*ethertype); tag++) {
		const fx_u8 *at = c->at;
		int code = fx_take_link(c, FX_VLAN_TAG);

		if (code)
			return code;
		if (out && tag == 0)
			out->vlan_id = fx_load16_be(at) & 0x0fff;
		if (out && tag == 1)
			out->inner_vlan_id = fx_load16_be(at) & 0x0fff;
		*ethertype = fx_load16_be(at + 2);
	}
	return FX_DECODE_OK;
}

/* The EtherType of a PPP protocol number (RFC 1661), 0 if it carries no IP. */
FX_INLINE fx_u16 fx_ppp_ethertype(fx_u16 number)
{
	switch (number) {
	case 0x0021:
		return FX_ETHERTYPE_IP4;
	case 0x0057:
		return FX_ETHERTYPE_IP6;
	default:
		return 0;
	}
}

/* A PPPoE session header (RFC 2516): an EtherType again where PPP carries IP. */
FX_INLINE int fx_parse_pppoe(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	fx_u32 length;
	fx_u16 ethertype;
	int code = fx_take_link(c, FX_PPPOE_HEADER + FX_PPP_HEADER);

	if (code)
		return code;
	length = fx_load16_be(at + 4);
	if (at[0] != 0x11 || at[1] != 0 || length < FX_PPP_HEADER)
		return FX_DECODE_OK;
	if (length - FX_PPP_HEADER < c->wire)
		c->wire = length - FX_PPP_HEADER;
	ethertype = fx_ppp_ethertype(fx_load16_be(at + FX_PPPOE_HEADER));
	if (ethertype) {
		out->ethertype = ethertype;
		out->tunnel = FX_TUNNEL_PPPOE;
	}
	return FX_DECODE_OK;
}

/* PPP bare or in HDLC-like framing (RFC 1662), and Cisco's HDLC, told by address and control. */
FX_INLINE int fx_parse_ppp(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;

	if (c->wire < FX_HDLC_HEADER || !fx_has(at, FX_HDLC_HEADER, c->end))
		return fx_take_link(c, FX_HDLC_HEADER);
	if (at[0] == 0xff && at[1] == 0x03) {
		out->ethertype = fx_ppp_ethertype(fx_load16_be(at + 2));
	} else if ((at[0] == 0x0f || at[0] == 0x8f) && at[1] == 0x00) {
		out->ethertype = fx_load16_be(at + 2);
	} else {
		out->ethertype = fx_ppp_ethertype(fx_load16_be(at));
		return fx_take_link(c, FX_PPP_HEADER);
	}
	return fx_take_link(c, FX_HDLC_HEADER);
}

/* From the EtherType field on: tags, IEEE 802.3 with SNAP, PPPoE. */
FX_INLINE int fx_parse_ethertype(struct fx_cursor *c, fx_u16 ethertype, struct fx_packet *out)
{
	int code = fx_skip_vlans(c, &ethertype, out);

	if (code)
		return code;
	if (ethertype < FX_ETHERTYPE_SMALLEST) {
		const fx_u8 *at = c->at;

		ethertype = 0;
		if (fx_has(at, FX_SNAP_HEADER, c->end) && fx_load32(at) == 0x0003aaaau &&
		    fx_load16(at + 4) == 0 && fx_take_link(c, FX_SNAP_HEADER) == FX_DECODE_OK)
			ethertype = fx_load16_be(at + 6);
	}
	out->ethertype = ethertype;
	if (ethertype == FX_ETHERTYPE_PPPOE)
		return fx_parse_pppoe(c, out);
	return FX_DECODE_OK;
}

FX_INLINE int fx_parse_ethernet(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	int code = fx_take_link(c, FX_ETHERNET_HEADER);

	if (code)
		return code;
	out->dst_mac = fx_load_mac(at);
	out->src_mac = fx_load_mac(at + 6);
	return fx_parse_ethertype(c, fx_load16_be(at + 12), out);
}

/* Linux "cooked" capture, first and second version: only the sender's address is there. */
FX_INLINE int fx_parse_sll(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	int code = fx_take_link(c, FX_SLL_HEADER);

	if (code)
		return code;
	if (fx_load16_be(at + 4) == 6)
		out->src_mac = fx_load_mac(at + 6);
	return fx_parse_ethertype(c, fx_load16_be(at + 14), out);
}

FX_INLINE int fx_parse_sll2(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	int code = fx_take_link(c, FX_SLL2_HEADER);

	if (code)
		return code;
	if (at[11] == 6)
		out->src_mac = fx_load_mac(at + 12);
	return fx_parse_ethertype(c, fx_load16_be(at), out);
}

/* BSD loopback: an address family in the byte order of the machine that captured. */
FX_INLINE int fx_parse_null(struct fx_cursor *c, struct fx_packet *out)
{
	const fx_u8 *at = c->at;
	fx_u32 family;
	int code = fx_take_link(c, FX_NULL_HEADER);

	if (code)
		return code;
	family = fx_load32(at);
	if (family > 0xffff)
		family = __builtin_bswap32(family);
	if (family == 2)
		out->ethertype = FX_ETHERTYPE_IP4;
	else if (family == 10 || family == 24 || family == 28 || family == 30)
		out->ethertype = FX_ETHERTYPE_IP6;
	return FX_DECODE_OK;
}

FX_INLINE int fx_parse_raw(const struct fx_cursor *c, struct fx_packet *out)
{
	if (!fx_has(c->at, 1, c->end))
		return c->wire ? FX_DECODE_CUT_NETWORK : FX_DECODE_SHORT_NETWORK;
	out->ethertype = c->at[0] >> 4 == 6 ? FX_ETHERTYPE_IP6 : FX_ETHERTYPE_IP4;
	return FX_DECODE_OK;
}

/* The link header of any type; out->ethertype says what c->at is at, 0 = unknown. */
FX_INLINE int fx_parse_link(struct fx_cursor *c, fx_u16 linktype, struct fx_packet *out)
{
	switch (linktype) {
	case FX_LINKTYPE_ETHERNET:
		return fx_parse_ethernet(c, out);
	case FX_LINKTYPE_LINUX_SLL:
		return fx_parse_sll(c, out);
	case FX_LINKTYPE_LINUX_SLL2:
		return fx_parse_sll2(c, out);
	case FX_LINKTYPE_NULL:
	case FX_LINKTYPE_LOOP:
		return fx_parse_null(c, out);
	case FX_LINKTYPE_PPP:
	case FX_LINKTYPE_CISCO_HDLC:
		return fx_parse_ppp(c, out);
	case FX_LINKTYPE_RAW:
	case FX_LINKTYPE_RAW_BSD:
	case FX_LINKTYPE_RAW_OPENBSD:
	case FX_LINKTYPE_IPV4:
	case FX_LINKTYPE_IPV6:
		return fx_parse_raw(c, out);
	default:
		return FX_DECODE_LINKTYPE;
	}
}

FX_INLINE int fx_linktype_is_known(fx_u32 linktype)
{
	switch (linktype) {
	case FX_LINKTYPE_NULL:
	case FX_LINKTYPE_ETHERNET:
	case FX_LINKTYPE_PPP:
	case FX_LINKTYPE_CISCO_HDLC:
	case FX_LINKTYPE_RAW_BSD:
	case FX_LINKTYPE_RAW_OPENBSD:
	case FX_LINKTYPE_RAW:
	case FX_LINKTYPE_LOOP:
	case FX_LINKTYPE_LINUX_SLL:
	case FX_LINKTYPE_IPV4:
	case FX_LINKTYPE_IPV6:
	case FX_LINKTYPE_LINUX_SLL2:
		return 1;
	default:
		return 0;
	}
}

#endif
