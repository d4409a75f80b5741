/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What packets of a block are inside, before they are looked up: those of the outside get the addresses that the kernel
 * translates them to, and those that come from there in the name of who is inside are told apart.
 */
#include <string.h>

#include "conntrack.h"
#include "fx/parse.h"
#include "stream.h"

#define FRAGMENTS_NS ((fx_i64)FX_SECOND_NS) /* later fragments follow the first one at once */

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
static int translate_about(const struct fx_stream *s, const struct fx_frame *frame, int inside,
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
			      hash_of(s, &about, tail.forward), inside, &inner))
		return 0; /* of a hairpin it is compared as any other packet */
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
			   const struct fx_packet *inner, int how)
{
	*fragments_of(s, outer) = (struct fx_fragmented){
		.outer = { outer->src_addr, outer->dst_addr },
		.inner = { inner->src_addr, inner->dst_addr },
		.time_ns = outer->time_ns,
		.proto = outer->proto,
		.how = (fx_u8)how,
	};
}

static int translate_later(struct fx_stream *s, int inside, struct fx_packet *p)
{
	const struct fx_fragmented *f = fragments_of(s, p);

	if ((inside && !(f->how & FX_NAT_HAIRPIN)) || f->proto != p->proto ||
	    p->time_ns - f->time_ns > FRAGMENTS_NS ||
	    memcmp(&f->outer[0], &p->src_addr, sizeof(fx_addr)) ||
	    memcmp(&f->outer[1], &p->dst_addr, sizeof(fx_addr)))
		return 0;
	p->src_addr = f->inner[0];
	p->dst_addr = f->inner[1];
	return f->how;
}

/* Makes the inner packet of an outer one: bits of enum fx_nat_how, 0 = it has none. */
static int translate_one(struct fx_stream *s, fx_u32 i, int inside)
{
	const struct fx_nat_table *mappings = fx_conntrack_mappings(s->sides->conntrack);
	struct fx_packet *p = &s->packets[i], outer;
	int how;

	if (p->fragment == 2)
		return translate_later(s, inside, p);
	if (is_about_a_packet(p))
		return translate_about(s, &s->frames[i], inside, p);
	if (fx_likely(p->fragment == 0))
		return fx_nat_translate(mappings, &s->probes[i].tail, s->probes[i].hash, inside, p);
	outer = *p;
	how = fx_nat_translate(mappings, &s->probes[i].tail, s->probes[i].hash, inside, p);
	if (how)
		keep_addresses(s, &outer, p, how);
	return how;
}

/* Whether the packet came in from outside in the name of who is inside; then it is noted. */
static int is_forged(struct fx_sides *sides, const struct fx_frame *frame,
		     const struct fx_packet *p)
{
	fx_forged *f = &sides->forged[p->iface];

	if (frame->way != FX_WAY_IN || !(p->ip_version || p->arp_op) ||
	    !fx_inside_has(&sides->inside, &p->src_addr))
		return 0;
	f->packets += p->wire_segments;
	f->last_ns = p->time_ns;
	memcpy(f->src_addr, &p->src_addr, sizeof(f->src_addr));
	memcpy(f->dst_addr, &p->dst_addr, sizeof(f->dst_addr));
	f->src_mac = p->src_mac;
	return 1;
}

static void take_how(struct fx_block_sides *block, int how, fx_u32 i)
{
	int is_clients = !!(how & FX_NAT_IS_CLIENTS), answers = !!(how & FX_NAT_ANSWERS);

	if (!(how & FX_NAT_HAIRPIN))
		return;
	block->hairpin |= 1ull << i;
	block->far |= (fx_u64)is_clients << i;
	block->knows_sender |= (fx_u64)(is_clients != answers) << i;
}

void fx_stream_translate(struct fx_stream *s)
{
	struct fx_sides *sides = s->sides;
	fx_u64 hairpins = 0;
	int how;

	sides->block = (struct fx_block_sides){ 0 };
	if (sides->conntrack) {
		fx_conntrack_read(sides->conntrack);
		hairpins = fx_conntrack_hairpins(sides->conntrack);
	}
	for (fx_u32 i = 0; i < s->block_count; i++) {
		struct fx_packet *p = &s->packets[i];
		struct fx_probe *probe = &s->probes[i];
		fx_u64 outside = (fx_u64)fx_is_among(sides->outside, p->iface);

		sides->block.far |= outside << i;
		if (outside && is_forged(sides, &s->frames[i], p)) {
			sides->block.forged |= 1ull << i;
			continue;
		}
		if (!p->ip_version || !sides->conntrack || !(outside || hairpins))
			continue;
		how = translate_one(s, i, !outside);
		if (!how)
			continue;
		take_how(&sides->block, how, i);
		sides->translated++;
		probe->tail = fx_flow_tail_make(p);
		probe->hash = hash_of(s, p, probe->tail.forward);
		__builtin_prefetch(&s->table.index[fx_index_home(&s->table, probe->hash)]);
	}
}
