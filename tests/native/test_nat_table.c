/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings against a plain list, grace and readings, a full table; ctnetlink's messages, whole, cut and mutated. */
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conntrack_message.h"

enum { CONNECTIONS = 400, STEPS = 200000, MESSAGE_MAX = 512 };

#define GRACE ((fx_i64)FX_NAT_GRACE_NS)

static int failures;

static void expect(fx_u64 is, fx_u64 wanted, const char *what)
{
	if (is == wanted)
		return;
	fprintf(stderr, "%s: %llu instead of %llu\n", what, (unsigned long long)is,
		(unsigned long long)wanted);
	failures++;
}

static fx_u32 rolled(fx_u32 *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* A client's connection to one server, as it is inside, and outside under the gateway's address. */
static struct fx_nat_pair pair_of(fx_u32 number, fx_u8 proto)
{
	const fx_u8 client[] = { 10, 0, (fx_u8)(number >> 8), (fx_u8)number };
	const fx_u8 gateway[] = { 203, 0, 113, 1 }, server[] = { 198, 51, 100, 7 };
	struct fx_nat_pair pair = { 0 };

	pair.inner.proto = proto;
	pair.inner.ip_version = 4;
	fx_addr_put4(&pair.inner.src_addr, client);
	fx_addr_put4(&pair.inner.dst_addr, server);
	if (proto == FX_PROTO_ICMP) {
		pair.inner.src_port = 8;
		pair.inner.icmp_id = 7;
	} else {
		pair.inner.src_port = 5000;
		pair.inner.dst_port = 443;
	}
	pair.outer = pair.inner;
	fx_addr_put4(&pair.outer.src_addr, gateway);
	if (proto == FX_PROTO_ICMP)
		pair.outer.icmp_id = (fx_u16)(20000 + number);
	else
		pair.outer.src_port = (fx_u16)(20000 + number);
	return pair;
}

static struct fx_packet turned(struct fx_packet p)
{
	struct fx_packet back = p;

	back.src_addr = p.dst_addr;
	back.dst_addr = p.src_addr;
	if (p.proto == FX_PROTO_ICMP) {
		back.src_port = 0;
	} else {
		back.src_port = p.dst_port;
		back.dst_port = p.src_port;
	}
	return back;
}

static int is_same(const struct fx_packet *a, const struct fx_packet *b)
{
	return !memcmp(&a->src_addr, &b->src_addr, 16) && !memcmp(&a->dst_addr, &b->dst_addr, 16) &&
	       a->src_port == b->src_port && a->dst_port == b->dst_port && a->icmp_id == b->icmp_id;
}

static int translates(const struct fx_nat_table *t, const struct fx_hash_key *key,
		      struct fx_packet outer, struct fx_packet inner)
{
	struct fx_flow_tail tail = fx_flow_tail_make(&outer);
	fx_u32 hash =
		(fx_u32)(fx_flow_hash(&outer.src_addr, &outer.dst_addr, tail.forward, key) >> 32);
	int known = fx_nat_translate(t, &tail, hash, 0, &outer);

	if (known && !is_same(&outer, &inner)) {
		fprintf(stderr, "translated into another packet\n");
		failures++;
	}
	return !!known;
}

/* Both directions, and that neither is what it was before. */
static int is_known(const struct fx_nat_table *t, const struct fx_hash_key *key,
		    const struct fx_nat_pair *pair)
{
	int there = translates(t, key, pair->outer, pair->inner);
	int back = translates(t, key, turned(pair->outer), turned(pair->inner));

	expect((fx_u64)there, (fx_u64)back, "an answer is known as its question is");
	return there;
}

static void check_against_list(const struct fx_hash_key *key)
{
	struct fx_nat_table *t = fx_nat_table_new(CONNECTIONS, key);
	fx_i64 ends_ns[CONNECTIONS], now_ns = 1;
	struct fx_nat_counts counts;
	fx_u32 seed = 42, live = 0;

	for (int i = 0; i < CONNECTIONS; i++)
		ends_ns[i] = 1 - 3 * GRACE; /* when it ended, or will; 0 = it holds */
	for (int step = 0; step < STEPS && failures < 5; step++) {
		fx_u32 i = rolled(&seed) % CONNECTIONS;
		struct fx_nat_pair pair = pair_of(i, i & 1 ? FX_PROTO_UDP : FX_PROTO_ICMP);

		now_ns += rolled(&seed) % (GRACE / 100);
		fx_nat_expire(t, now_ns);
		if (ends_ns[i] == 0 || ends_ns[i] > now_ns)
			expect((fx_u64)is_known(t, key, &pair), 1, "it holds");
		else if (ends_ns[i] + GRACE < now_ns)
			expect((fx_u64)is_known(t, key, &pair), 0, "it has ended");
		if (rolled(&seed) & 1) {
			fx_nat_put(t, &pair);
			ends_ns[i] = 0;
		} else {
			fx_nat_end(t, &pair, now_ns);
			ends_ns[i] = ends_ns[i] == 0 ? now_ns + GRACE : ends_ns[i];
		}
	}
	for (int k = 0; k < CONNECTIONS; k++)
		live += ends_ns[k] == 0;
	fx_nat_expire(t, now_ns + 2 * GRACE);
	fx_nat_expire(t, now_ns + 2 * GRACE);
	fx_nat_counts_read(t, &counts);
	expect(counts.mappings, live, "mappings");
	expect(counts.added - counts.ended, live, "added less ended");
	expect(counts.refused, 0, "refused");
	fx_nat_table_free(t);
}

static void check_full_table(const struct fx_hash_key *key)
{
	struct fx_nat_table *t = fx_nat_table_new(100, key);
	struct fx_nat_counts counts;

	for (fx_u32 i = 0; i < 130; i++) {
		struct fx_nat_pair pair = pair_of(i, FX_PROTO_TCP);

		fx_nat_put(t, &pair);
		expect((fx_u64)is_known(t, key, &pair), i < 100, "as far as there is room");
	}
	fx_nat_counts_read(t, &counts);
	expect(counts.refused, 30, "refused");
	expect(counts.mappings, 100, "full");
	fx_nat_table_free(t);
}

static void check_readings(const struct fx_hash_key *key)
{
	struct fx_nat_table *t = fx_nat_table_new(8, key);
	struct fx_nat_pair stays = pair_of(1, FX_PROTO_TCP), goes = pair_of(2, FX_PROTO_TCP);

	fx_nat_put(t, &stays);
	fx_nat_put(t, &goes);
	for (fx_i64 reading = 1; reading <= 2; reading++) {
		fx_nat_begin_reading(t);
		fx_nat_put(t, &stays);
		fx_nat_sweep(t, reading);
		fx_nat_expire(t, reading);
		expect((fx_u64)is_known(t, key, &goes), 1, "known until it was missing twice");
	}
	fx_nat_expire(t, 3 * GRACE);
	expect((fx_u64)is_known(t, key, &goes), 0, "missing twice");
	expect((fx_u64)is_known(t, key, &stays), 1, "put each time");
	fx_nat_table_free(t);
}

/* ---- messages ---- */

struct message {
	fx_u8 octets[MESSAGE_MAX];
	fx_u32 length;
};

static fx_u32 begin(struct message *m, int type)
{
	fx_u32 at = m->length;

	m->octets[at + 2] = (fx_u8)type;
	m->octets[at + 3] = 0;
	m->length += 4;
	return at;
}

static void finish(struct message *m, fx_u32 at)
{
	m->octets[at] = (fx_u8)(m->length - at);
	m->octets[at + 1] = (fx_u8)((m->length - at) >> 8);
	m->length = (m->length + 3) & ~3u;
}

static void put(struct message *m, int type, const void *octets, fx_u32 count)
{
	fx_u32 at = begin(m, type);

	memcpy(m->octets + m->length, octets, count);
	m->length += count;
	finish(m, at);
}

static void put_word(struct message *m, int type, fx_u32 value)
{
	const fx_u8 octets[] = { (fx_u8)(value >> 8), (fx_u8)value };

	put(m, type, octets, 2);
}

static void put_tuple(struct message *m, int type, const char *source, const char *target,
		      fx_u32 source_port, fx_u32 target_port)
{
	const fx_u8 tcp = FX_PROTO_TCP;
	fx_u32 tuple = begin(m, type), nest = begin(m, CTA_TUPLE_IP);

	put(m, CTA_IP_V4_SRC, source, 4);
	put(m, CTA_IP_V4_DST, target, 4);
	finish(m, nest);
	nest = begin(m, CTA_TUPLE_PROTO);
	put(m, CTA_PROTO_NUM, &tcp, 1);
	put_word(m, CTA_PROTO_SRC_PORT, source_port);
	put_word(m, CTA_PROTO_DST_PORT, target_port);
	finish(m, nest);
	finish(m, tuple);
}

static struct fx_inside inside;

static int read_exactly(const fx_u8 *octets, fx_u32 length, struct fx_nat_pair *pairs)
{
	fx_u8 *copy = malloc(length + 1); /* so that one octet too many is noticed */
	int count;

	memcpy(copy, octets, length);
	count = fx_conntrack_pairs(copy, copy + length, &inside, pairs);
	free(copy);
	return count;
}

#define CLIENT "\x0a\x00\x00\x02"
#define GATEWAY "\xcb\x00\x71\x01"
#define SERVER "\xc6\x33\x64\x07"

static int view(const struct message *m, struct fx_nat_pair *pairs, const struct fx_hash_key *key,
		int which, int back)
{
	struct fx_nat_table *t = fx_nat_table_new(4, key);
	struct fx_packet p;
	struct fx_flow_tail tail;
	int how;

	expect((fx_u64)read_exactly(m->octets, m->length, pairs), 2, "led back: two views");
	for (int i = 0; i < 2; i++)
		fx_nat_put(t, &pairs[i]);
	p = back ? turned(pairs[which].outer) : pairs[which].outer;
	tail = fx_flow_tail_make(&p);
	how = fx_nat_translate(
		t, &tail, (fx_u32)(fx_flow_hash(&p.src_addr, &p.dst_addr, tail.forward, key) >> 32),
		1, &p);
	fx_nat_table_free(t);
	return how;
}

/* A device that reaches another one by the gateway's outer address. */
static void check_hairpin(const struct fx_hash_key *key)
{
	const fx_network ours = { { [10] = 0xff, 0xff, 10 }, 96 + 8 };
	struct message led_back = { .length = 0 };
	struct fx_nat_pair pairs[FX_CONNTRACK_PAIRS];

	put_tuple(&led_back, CTA_TUPLE_ORIG, CLIENT, GATEWAY, 5000, 8080);
	put_tuple(&led_back, CTA_TUPLE_REPLY, "\x0a\x00\x00\x09", "\x0a\x00\x00\x01", 80, 20002);
	read_exactly(led_back.octets, led_back.length, pairs);
	expect(pairs[0].view, FX_NAT_OUTSIDE, "nobody is known to be inside");

	expect((fx_u64)fx_inside_set(&inside, &ours, 1), 0, "a network");
	read_exactly(led_back.octets, led_back.length, pairs);
	for (int i = 0; i < 2; i++) {
		expect(pairs[i].inner.src_addr.octets[15], 2, "from the client");
		expect(pairs[i].inner.dst_addr.octets[15], 9, "to the server");
		expect(pairs[i].inner.src_port, 5000, "the client's port");
		expect(pairs[i].inner.dst_port, 80, "the server's port");
	}
	expect((fx_u64)view(&led_back, pairs, key, 0, 0), FX_NAT_TRANSLATED | FX_NAT_HAIRPIN,
	       "to the server");
	expect((fx_u64)view(&led_back, pairs, key, 0, 1),
	       FX_NAT_TRANSLATED | FX_NAT_HAIRPIN | FX_NAT_ANSWERS, "from the server");
	expect((fx_u64)view(&led_back, pairs, key, 1, 0),
	       FX_NAT_TRANSLATED | FX_NAT_HAIRPIN | FX_NAT_IS_CLIENTS, "from the client");
	expect((fx_u64)view(&led_back, pairs, key, 1, 1),
	       FX_NAT_TRANSLATED | FX_NAT_HAIRPIN | FX_NAT_IS_CLIENTS | FX_NAT_ANSWERS,
	       "to the client");
	inside.count = 0;
}

static void check_inside(void)
{
	const fx_network networks[] = {
		{ { [10] = 0xff, 0xff, 192, 168, 77, 9 },
		  96 + 24 }, /* what is beyond the bits is nothing */
		{ { 0x20, 0x01, 0x0d, 0xb8, 0, 0x77 }, 64 },
		{ { [10] = 0xff, 0xff, 203, 0, 113, 1 }, 128 },
	};
	const fx_network absurd = { { 0 }, 129 };
	fx_addr a = { { [10] = 0xff, 0xff, 192, 168, 77, 20 } };
	struct fx_inside many = { 0 };

	expect((fx_u64)fx_inside_set(&many, networks, 3), 0, "networks");
	expect((fx_u64)fx_inside_has(&many, &a), 1, "of the first network");
	a.octets[14] = 78;
	expect((fx_u64)fx_inside_has(&many, &a), 0, "of its neighbour");
	a = (fx_addr){ { 0x20, 0x01, 0x0d, 0xb8, 0, 0x77, [15] = 5 } };
	expect((fx_u64)fx_inside_has(&many, &a), 1, "by IPv6");
	a.octets[7] = 1;
	expect((fx_u64)fx_inside_has(&many, &a), 0, "the next /64");
	memcpy(&a, networks[2].address, sizeof(a));
	expect((fx_u64)fx_inside_has(&many, &a), 1, "one address alone");
	a.octets[15]++;
	expect((fx_u64)fx_inside_has(&many, &a), 0, "the one beside it");
	expect(fx_inside_set(&many, &absurd, 1) < 0, 1, "too many bits");
	expect(fx_inside_set(&many, networks, FX_INSIDE_MAX + 1) < 0, 1, "too many networks");
	expect(many.count, 3, "what is refused changes nothing");
}

static void check_messages(void)
{
	struct message masqueraded = { .length = 0 }, plain = { .length = 0 },
		       forwarded = { .length = 0 }, mutated;
	struct fx_nat_pair pairs[FX_CONNTRACK_PAIRS];
	const fx_u8 status[] = { 0, 0, 0, 0x1a };
	fx_u32 seed = 7;

	put_tuple(&masqueraded, CTA_TUPLE_ORIG, CLIENT, SERVER, 5000, 443);
	put_tuple(&masqueraded, CTA_TUPLE_REPLY, SERVER, GATEWAY, 443, 20001);
	put(&masqueraded, CTA_STATUS, status, sizeof(status));
	expect((fx_u64)read_exactly(masqueraded.octets, masqueraded.length, pairs), 1,
	       "masquerading is one view from outside");
	expect(pairs[0].outer.src_port, 20001, "the gateway's port");
	expect(pairs[0].outer.src_addr.octets[12], 0xcb, "the gateway's address");
	expect(pairs[0].outer.dst_port, 443, "the server's port");
	expect(pairs[0].inner.src_port, 5000, "the client's port");
	expect(pairs[0].inner.src_addr.octets[15], 2, "the client's address");

	put_tuple(&forwarded, CTA_TUPLE_ORIG, SERVER, GATEWAY, 6000, 8080);
	put_tuple(&forwarded, CTA_TUPLE_REPLY, CLIENT, SERVER, 80, 6000);
	expect((fx_u64)read_exactly(forwarded.octets, forwarded.length, pairs), 2,
	       "a forwarded port is two");
	expect(pairs[1].outer.dst_port, 8080, "outside");
	expect(pairs[1].inner.dst_port, 80, "inside");

	put_tuple(&plain, CTA_TUPLE_ORIG, CLIENT, SERVER, 5000, 443);
	put_tuple(&plain, CTA_TUPLE_REPLY, SERVER, CLIENT, 443, 5000);
	expect((fx_u64)read_exactly(plain.octets, plain.length, pairs), 0, "not translated");

	for (fx_u32 length = 0; length < masqueraded.length - 8; length++)
		expect(read_exactly(masqueraded.octets, length, pairs) < 0, 1, "cut");
	for (int i = 0; i < STEPS; i++) {
		mutated = i & 1 ? masqueraded : forwarded;
		for (int k = 0; k < 3; k++)
			mutated.octets[rolled(&seed) % mutated.length] = (fx_u8)rolled(&seed);
		read_exactly(mutated.octets, mutated.length, pairs);
	}
}

int main(void)
{
	const fx_u64 seed[2] = { 11, 13 };
	struct fx_hash_key key = fx_hash_key_make(seed);

	check_against_list(&key);
	check_full_table(&key);
	check_readings(&key);
	check_messages();
	check_hairpin(&key);
	check_inside();
	return failures != 0;
}
