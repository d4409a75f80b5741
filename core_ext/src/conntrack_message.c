/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of conntrack entries (linux/netfilter/nfnetlink_conntrack.h), read without trust in any length. */
#include "conntrack_message.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "fx/bytes.h"

enum { FIELDS_MAX = 16, HEADER_BYTES = 4, TYPE_BITS = 0x3fff /* NLA_TYPE_MASK */ };

/* Attributes of a nest by their type. */
struct fields {
	const fx_u8 *at[FIELDS_MAX];
	fx_u32 bytes[FIELDS_MAX];
};

/* 0, or -1 when the lengths contradict themselves. */
static int split(const fx_u8 *at, const fx_u8 *end, struct fields *out)
{
	memset(out, 0, sizeof(*out));
	while (end - at >= HEADER_BYTES) {
		fx_u32 length = fx_load16(at), type = fx_load16(at + 2) & TYPE_BITS;
		fx_u32 step = (length + 3) & ~3u;

		if (length < HEADER_BYTES || length > end - at)
			return -1;
		if (type < FIELDS_MAX) {
			out->at[type] = at + HEADER_BYTES;
			out->bytes[type] = length - HEADER_BYTES;
		}
		if (step >= (fx_u32)(end - at))
			return 0;
		at += step;
	}
	return 0;
}

static int split_nest(const struct fields *of, int type, struct fields *out)
{
	if (!of->at[type])
		return -1;
	return split(of->at[type], of->at[type] + of->bytes[type], out);
}

static fx_u16 word(const struct fields *f, int type)
{
	return f->bytes[type] >= 2 ? fx_load16_be(f->at[type]) : 0;
}

static fx_u8 octet(const struct fields *f, int type)
{
	return f->bytes[type] >= 1 ? f->at[type][0] : 0;
}

static int read_addresses(const struct fields *ip, struct fx_packet *out)
{
	if (ip->bytes[CTA_IP_V4_SRC] == 4 && ip->bytes[CTA_IP_V4_DST] == 4) {
		fx_addr_put4(&out->src_addr, ip->at[CTA_IP_V4_SRC]);
		fx_addr_put4(&out->dst_addr, ip->at[CTA_IP_V4_DST]);
		out->ip_version = 4;
		return 0;
	}
	if (ip->bytes[CTA_IP_V6_SRC] == 16 && ip->bytes[CTA_IP_V6_DST] == 16) {
		fx_addr_put6(&out->src_addr, ip->at[CTA_IP_V6_SRC]);
		fx_addr_put6(&out->dst_addr, ip->at[CTA_IP_V6_DST]);
		out->ip_version = 6;
		return 0;
	}
	return -1;
}

/* The packet that a tuple is of, as the parser would show it. */
static int read_tuple(const struct fields *entry, int type, struct fx_packet *out)
{
	struct fields tuple, ip, proto;

	if (split_nest(entry, type, &tuple) || split_nest(&tuple, CTA_TUPLE_IP, &ip) ||
	    split_nest(&tuple, CTA_TUPLE_PROTO, &proto) || proto.bytes[CTA_PROTO_NUM] != 1)
		return -1;
	memset(out, 0, sizeof(*out));
	out->proto = octet(&proto, CTA_PROTO_NUM);
	switch (out->proto) {
	case FX_PROTO_TCP:
	case FX_PROTO_UDP:
	case FX_PROTO_SCTP:
		out->src_port = word(&proto, CTA_PROTO_SRC_PORT);
		out->dst_port = word(&proto, CTA_PROTO_DST_PORT);
		break;
	case FX_PROTO_ICMP:
		out->src_port = octet(&proto, CTA_PROTO_ICMP_TYPE);
		out->dst_port = octet(&proto, CTA_PROTO_ICMP_CODE);
		out->icmp_id = word(&proto, CTA_PROTO_ICMP_ID);
		break;
	case FX_PROTO_ICMP6:
		out->src_port = octet(&proto, CTA_PROTO_ICMPV6_TYPE);
		out->dst_port = octet(&proto, CTA_PROTO_ICMPV6_CODE);
		out->icmp_id = word(&proto, CTA_PROTO_ICMPV6_ID);
		break;
	default:
		break;
	}
	return read_addresses(&ip, out);
}

/* The packet that the other one answers; 0, or -1 = it answers none. */
static int turn(struct fx_packet *p)
{
	fx_addr source = p->src_addr;
	fx_u16 port = p->src_port;
	int asks;

	p->src_addr = p->dst_addr;
	p->dst_addr = source;
	if (p->proto == FX_PROTO_ICMP || p->proto == FX_PROTO_ICMP6) {
		asks = fx_icmp_answer(p->proto, (fx_u8)port);
		p->src_port = (fx_u16)asks;
		p->dst_port = 0;
		return asks < 0 ? -1 : 0;
	}
	p->src_port = p->dst_port;
	p->dst_port = port;
	return 0;
}

static int is_same_end(const fx_addr *a, fx_u16 port_a, const fx_addr *b, fx_u16 port_b)
{
	return port_a == port_b && !memcmp(a, b, sizeof(*a));
}

/*
 * Both ends are inside, and neither sees the other's address: each view becomes a packet from one device to the other,
 * which is on no wire.
 */
static int hairpin(const struct fx_packet *before, const struct fx_packet *after,
		   struct fx_nat_pair *out)
{
	struct fx_packet direct = *before;

	direct.dst_addr = after->dst_addr;
	direct.dst_port = after->dst_port;
	out[0] = (struct fx_nat_pair){ *after, direct, FX_NAT_SERVERS };
	out[1] = (struct fx_nat_pair){ *before, direct, FX_NAT_CLIENTS };
	return 2;
}

int fx_conntrack_pairs(const fx_u8 *at, const fx_u8 *end, const struct fx_inside *inside,
		       struct fx_nat_pair *out)
{
	struct fx_packet before, after; /* the first packet as it comes and as it goes */
	struct fields entry;
	int is_source, is_target;

	if (split(at, end, &entry) || read_tuple(&entry, CTA_TUPLE_ORIG, &before) ||
	    read_tuple(&entry, CTA_TUPLE_REPLY, &after) || turn(&after) ||
	    before.proto != after.proto || before.ip_version != after.ip_version)
		return -1;
	is_source =
		!is_same_end(&before.src_addr, before.src_port, &after.src_addr, after.src_port) ||
		before.icmp_id != after.icmp_id;
	is_target =
		!is_same_end(&before.dst_addr, before.dst_port, &after.dst_addr, after.dst_port);
	if (!is_source && !is_target)
		return 0;
	if (is_source && is_target && fx_inside_has(inside, &before.src_addr) &&
	    fx_inside_has(inside, &after.dst_addr))
		return hairpin(&before, &after, out);
	out[0] = (struct fx_nat_pair){ .outer = after, .inner = before };
	if (!is_target) /* masquerading: outside is where it goes */
		return 1;
	out[1] = (struct fx_nat_pair){ .outer = before, .inner = after };
	return 2;
}
