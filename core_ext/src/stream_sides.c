/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a gateway in one stream. A connection through it is on two ports, outside perhaps with other addresses:
 * these are made the inner ones first, and then a flow is counted on the side where its first packet was seen, and what
 * the other side shows of it is left out. So no packet counts twice, in whatever order they come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conntrack.h"
#include "fx/error.h"
#include "fx/parse.h"
#include "stream.h"

enum { LINK_LOCAL4 = 0xa9fe, MULTICAST4 = 0xe0, LINK_LOCAL6 = 0xfe80 };

#define FRAGMENTS_NS ((fx_i64)FX_SECOND_NS) /* later fragments follow the first one at once */

int fx_stream_outside(fx_stream *s, uint64_t ports, int conntrack_fd)
{
	struct fx_sides *sides;
	int code;

	if (s->sides)
		return fx_fail(-EALREADY, "outside: this stream knows its sides already");
	if (s->stats.packets)
		return fx_fail(-EBUSY, "outside: this stream has been read already");
	sides = calloc(1, sizeof(*sides));
	if (!sides)
		return fx_fail(-ENOMEM, "outside: no memory");
	sides->outside = ports;
	if (conntrack_fd >= 0) {
		code = fx_conntrack_new(conntrack_fd, &s->table.key, &sides->conntrack);
		if (code) {
			free(sides);
			return code;
		}
	}
	s->sides = sides;
	return 0;
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

static int is_outside_port(const struct fx_sides *sides, fx_u32 number)
{
	return number < 64 && sides->outside >> number & 1;
}

static int is_outside(const struct fx_sides *sides, const struct fx_packet *p)
{
	return is_outside_port(sides, p->iface);
}

static fx_u32 hash_of(const struct fx_stream *s, const struct fx_packet *p, fx_u64 tail)
{
	fx_u32 order;
	fx_u64 hash = fx_flow_hash_order(&p->src_addr, &p->dst_addr, tail, &s->table.key, &order);

	return ((fx_u32)(hash >> 32) & ~1u) | order;
}

/* Whether the message tells of a packet, which it holds the begin of (RFC 792, RFC 4443). */
static int is_about_a_packet(const struct fx_packet *p)
{
	if (p->payload_offset == 0 || p->fragment == 2)
		return 0;
	if (p->proto == FX_PROTO_ICMP)
		return p->src_port == 3 || p->src_port == 4 || p->src_port == 5 ||
		       p->src_port == 11 || p->src_port == 12;
	return p->proto == FX_PROTO_ICMP6 && p->src_port >= 1 && p->src_port <= 4;
}

/* An error message: the end that is translated is the one that the packet in it came from or went to. */
static int translate_about(const struct fx_stream *s, const struct fx_frame *frame,
			   struct fx_packet *p)
{
	const fx_u8 *at = frame->bytes + p->payload_offset;
	const fx_u8 *end = frame->bytes + frame->captured_bytes;
	struct fx_packet about = { 0 }, inner;
	struct fx_flow_tail tail;

	if (at >= end)
		return 0;
	fx_parse_frame(at, end, p->payload_bytes, FX_LINKTYPE_RAW, &about);
	if (!about.ip_version)
		return 0;
	inner = about;
	tail = fx_flow_tail_make(&about);
	if (!fx_nat_translate(fx_conntrack_mappings(s->sides->conntrack), &tail,
			      hash_of(s, &about, tail.forward), &inner))
		return 0;
	if (!memcmp(&p->dst_addr, &about.src_addr, sizeof(fx_addr)))
		p->dst_addr = inner.src_addr;
	if (!memcmp(&p->src_addr, &about.dst_addr, sizeof(fx_addr)))
		p->src_addr = inner.dst_addr;
	return 1;
}

static struct fx_fragmented *fragments_of(struct fx_stream *s, const struct fx_packet *p)
{
	return &s->sides->fragmented[hash_of(s, p, (fx_u64)p->proto << 32) / 2 % FX_FRAGMENTED];
}

static void keep_addresses(struct fx_stream *s, const struct fx_packet *outer,
			   const struct fx_packet *inner)
{
	*fragments_of(s, outer) = (struct fx_fragmented){
		.outer = { outer->src_addr, outer->dst_addr },
		.inner = { inner->src_addr, inner->dst_addr },
		.time_ns = outer->time_ns,
		.proto = outer->proto,
	};
}

static int translate_later(struct fx_stream *s, struct fx_packet *p)
{
	const struct fx_fragmented *f = fragments_of(s, p);

	if (f->proto != p->proto || p->time_ns - f->time_ns > FRAGMENTS_NS ||
	    memcmp(&f->outer[0], &p->src_addr, sizeof(fx_addr)) ||
	    memcmp(&f->outer[1], &p->dst_addr, sizeof(fx_addr)))
		return 0;
	p->src_addr = f->inner[0];
	p->dst_addr = f->inner[1];
	return 1;
}

/* Makes the inner packet of an outer one; 0 = it has none. */
static int translate_one(struct fx_stream *s, fx_u32 i)
{
	const struct fx_nat_table *mappings = fx_conntrack_mappings(s->sides->conntrack);
	struct fx_packet *p = &s->packets[i], outer;

	if (p->fragment == 2)
		return translate_later(s, p);
	if (is_about_a_packet(p))
		return translate_about(s, &s->frames[i], p);
	if (fx_likely(p->fragment == 0))
		return fx_nat_translate(mappings, &s->probes[i].tail, s->probes[i].hash, p);
	outer = *p;
	if (!fx_nat_translate(mappings, &s->probes[i].tail, s->probes[i].hash, p))
		return 0;
	keep_addresses(s, &outer, p);
	return 1;
}

void fx_stream_translate(struct fx_stream *s)
{
	struct fx_sides *sides = s->sides;

	if (!sides->conntrack)
		return;
	fx_conntrack_read(sides->conntrack);
	for (fx_u32 i = 0; i < s->block_count; i++) {
		struct fx_packet *p = &s->packets[i];
		struct fx_probe *probe = &s->probes[i];

		if (!p->ip_version || !is_outside(sides, p) || !translate_one(s, i))
			continue;
		sides->translated++;
		probe->tail = fx_flow_tail_make(p);
		probe->hash = hash_of(s, p, probe->tail.forward);
		__builtin_prefetch(&s->table.index[fx_index_home(&s->table, probe->hash)]);
	}
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

int fx_stream_is_seen_twice(struct fx_stream *s, fx_u32 slot, int side, struct fx_packet *p)
{
	const struct fx_flow *f = &s->table.flows[slot];
	struct fx_flow_cold *c = &s->table.cold[slot];
	fx_u32 here = (fx_u32)is_outside(s->sides, p);

	if (here == f->is_outside || !goes_through(p)) {
		if (here && f->side[side].pkts == 0 && !is_outside_port(s->sides, c->iface))
			p->src_mac = mac_of(c->mac[side]); /* it has been seen inside */
		return 0;
	}
	if (f->is_outside)
		attribute(c, side, p);
	s->sides->seen_twice += p->wire_segments;
	return 1;
}

void fx_stream_choose_side(struct fx_stream *s, fx_u32 slot, const struct fx_packet *p)
{
	s->table.flows[slot].is_outside = (fx_u32)is_outside(s->sides, p);
}
