/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a gateway in one stream. A connection through it is on two ports, outside perhaps with other addresses:
 * these are made the inner ones first (stream_translate.c), and then a flow is counted on the side where its first packet
 * was seen, and what the other side shows of it is left out. So no packet counts twice, in whatever order they come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conntrack.h"
#include "fx/error.h"
#include "stream.h"

enum { LINK_LOCAL4 = 0xa9fe, MULTICAST4 = 0xe0, LINK_LOCAL6 = 0xfe80 };

static int is_shunted(const struct fx_flow *f, int side)
{
	return fx_flow_is_late(f, side) && f->side[side].shunt_plus_1;
}

/* Flows whose port faces another way from now on go on to be counted there. What the tap counts, it counts inside. */
static void count_elsewhere(struct fx_stream *s, fx_u64 come, fx_u64 gone)
{
	for (fx_u32 slot = 0; slot < s->table.untouched; slot++) {
		struct fx_flow *f = &s->table.flows[slot];
		fx_u32 port = s->table.cold[slot].iface;

		if (fx_flow_has_ended(f))
			continue;
		if (fx_is_among(come, port) && !is_shunted(f, FX_ORIG) && !is_shunted(f, FX_RESP))
			f->is_outside = 1;
		else if (fx_is_among(gone, port))
			f->is_outside = 0;
	}
}

int fx_stream_outside(fx_stream *s, uint64_t ports, int conntrack_fd)
{
	struct fx_sides *sides = s->sides ? s->sides : calloc(1, sizeof(*sides));
	int code = 0;

	if (!sides)
		return fx_fail(-ENOMEM, "outside: no memory");
	if (conntrack_fd >= 0 && sides->conntrack)
		code = fx_conntrack_replace(sides->conntrack, conntrack_fd);
	else if (conntrack_fd >= 0)
		code = fx_conntrack_new(conntrack_fd, &s->table.key, &sides->inside,
					&sides->conntrack);
	if (code) {
		if (!s->sides)
			free(sides);
		return code;
	}
	count_elsewhere(s, ports & ~sides->outside, sides->outside & ~ports);
	sides->outside = ports;
	s->sides = sides;
	return 0;
}

int fx_stream_inside(fx_stream *s, const fx_network *networks, int count)
{
	int code;

	if (!s->sides)
		return fx_fail(-EINVAL, "inside: tell first which ports face outside");
	code = fx_inside_set(&s->sides->inside, networks, count);
	if (!code && s->sides->conntrack)
		fx_conntrack_again(s->sides->conntrack);
	return code;
}

void fx_stream_forged(const fx_stream *s, int port, fx_forged *out)
{
	memset(out, 0, sizeof(*out));
	if (s->sides && port >= 0 && port < FX_SIDES_PORTS)
		*out = s->sides->forged[port];
}

int fx_stream_conntrack(fx_stream *s, int conntrack_fd)
{
	if (!s->sides || !s->sides->conntrack)
		return fx_fail(-EINVAL, "conntrack: this stream does not translate");
	return fx_conntrack_replace(s->sides->conntrack, conntrack_fd);
}

void fx_stream_nat_read(const fx_stream *s, fx_nat_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->is_complete = 1;
	if (!s->sides)
		return;
	if (s->sides->conntrack)
		fx_conntrack_stats(s->sides->conntrack, out);
	out->seen_twice = s->sides->seen_twice;
	out->translated = s->sides->translated;
}

void fx_stream_close_sides(struct fx_stream *s)
{
	if (s->sides)
		fx_conntrack_free(s->sides->conntrack);
	free(s->sides);
	s->sides = NULL;
}

static int is_for_one_link4(const fx_u8 *octets)
{
	return octets[0] >= MULTICAST4 || (octets[0] << 8 | octets[1]) == LINK_LOCAL4 ||
	       fx_load32(octets) == 0;
}

static int is_for_one_link6(const fx_u8 *octets)
{
	return octets[0] == 0xff || (fx_load16_be(octets) & 0xffc0) == LINK_LOCAL6 ||
	       !(fx_load64(octets) | fx_load64(octets + 8));
}

/* Whether a gateway may forward the packet. Others with the same addresses on both sides are different ones. */
static int goes_through(const struct fx_packet *p)
{
	if (p->ip_version == 4)
		return !is_for_one_link4(p->src_addr.octets + 12) &&
		       !is_for_one_link4(p->dst_addr.octets + 12);
	return !is_for_one_link6(p->src_addr.octets) && !is_for_one_link6(p->dst_addr.octets);
}

static void put_mac(struct fx_flow_cold *c, int side, fx_u64 mac)
{
	for (int i = 0; i < 3; i++)
		c->mac[side][i] = (fx_u16)(mac >> 16 * i);
}

static fx_u64 mac_of(const fx_u16 words[3])
{
	return (fx_u64)words[2] << 32 | (fx_u64)words[1] << 16 | words[0];
}

/* What only the inside knows of a flow that is counted outside: the devices' addresses, and where they are. */
static void attribute(struct fx_flow_cold *c, int side, const struct fx_packet *p)
{
	put_mac(c, side, p->src_mac);
	put_mac(c, !side, p->dst_mac);
	c->iface = p->iface;
	c->vlan_id = p->vlan_id;
	c->tunnel = p->tunnel;
}

/* Each view of a connection that is led back inside shows one of its devices, and the gateway in the other's place. */
static void attribute_hairpin(struct fx_flow_cold *c, int side, const struct fx_packet *p,
			      int knows_sender)
{
	if (knows_sender)
		put_mac(c, side, p->src_mac);
	else
		put_mac(c, !side, p->dst_mac);
}

int fx_stream_is_seen_twice(struct fx_stream *s, fx_u32 slot, int side, fx_u32 i)
{
	const struct fx_block_sides *block = &s->sides->block;
	const struct fx_flow *f = &s->table.flows[slot];
	struct fx_flow_cold *c = &s->table.cold[slot];
	struct fx_packet *p = &s->packets[i];
	fx_u32 here = block->far >> i & 1;
	int hairpin = block->hairpin >> i & 1, knows_sender = block->knows_sender >> i & 1;

	if (here == f->is_outside || !goes_through(p)) {
		int is_gateways = hairpin ? !knows_sender :
					    here && !fx_is_among(s->sides->outside, c->iface);

		if (is_gateways && f->side[side].pkts == 0)
			p->src_mac = mac_of(c->mac[side]); /* what the other side has shown */
		return 0;
	}
	if (hairpin)
		attribute_hairpin(c, side, p, knows_sender);
	else if (f->is_outside)
		attribute(c, side, p);
	s->sides->seen_twice += p->wire_segments;
	return 1;
}

void fx_stream_choose_side(struct fx_stream *s, fx_u32 slot, fx_u32 i)
{
	s->table.flows[slot].is_outside = s->sides->block.far >> i & 1;
}
