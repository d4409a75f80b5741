/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames out of a seed: the same for the same (profile, seed, packets) on every machine. For tests
 * and benches.
 *
 * Clients 10.1.0.0/16 talk to servers 198.18.0.0/15 (RFC 2544) through one gateway, some in IPv6;
 * checksums are zero. Profiles: mice (short TCP flows), elephants (16 long ones), mixed (both, DNS,
 * ping), scan (one host tries ports), syn_flood (spoofed sources, one victim), fuzz (random octets
 * behind plausible beginnings).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fx/error.h"
#include "fx/source.h"

enum {
	FRAME_BYTES = 1536,
	TALKS_MAX = 512, /* conversations at a time */
	MSS = 1448,
	MEAN_GAP_NS = 10000,
	GATEWAY = 0x0a010001,
	CLIENTS = 0x0a010000,
	SERVERS = 0xc6120000,
	SCANNER = 0x0a010042,
	VICTIM = 0xc6120050
};

enum { FIN = 0x01, SYN = 0x02, RST = 0x04, PSH = 0x08, ACK = 0x10 };

static const int64_t START_NS = 1700000000000000000;

/* splitmix64 (Steele, Lea, Flood 2014): one word of state, passes BigCrush. */
struct dice {
	uint64_t state;
};

static uint64_t roll(struct dice *dice)
{
	uint64_t z = dice->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint32_t below(struct dice *dice, uint32_t limit)
{
	return (uint32_t)((roll(dice) >> 32) * limit >> 32);
}

enum kind { MOUSE, ELEPHANT, DNS, PING, PROBE, FLOOD };

struct talk {
	enum kind kind;
	uint32_t address[2]; /* of client and server */
	uint16_t port[2];
	uint32_t seq[2]; /* next to be sent by each */
	uint32_t step;
	uint32_t segments; /* of data the server has left to send */
	int is_ip6;
};

struct synth_source;

struct profile {
	const char *name;
	int talks;
	void (*begin)(struct synth_source *source, struct talk *talk);
};

struct synth_source {
	struct fx_source base;
	const struct profile *profile; /* NULL = fuzz */
	struct dice dice;
	uint64_t packets_left;
	int64_t time_ns;
	struct talk talks[TALKS_MAX];
	uint8_t octets[FX_BLOCK_FRAMES][FRAME_BYTES];
};

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* Locally administered, told by the address; what is not a client sits behind the gateway. */
static void put_mac(uint8_t *at, uint32_t address)
{
	put16(at, 0x0200);
	put32(at + 2, address >> 16 == CLIENTS >> 16 ? address : GATEWAY);
}

/*
 * Ethernet and IP around `length` octets from `from` (0 client, 1 server): where the transport
 * begins.
 */
static uint8_t *put_headers(uint8_t *frame, const struct talk *talk, int from, uint8_t proto,
			    uint32_t length)
{
	uint32_t source = talk->address[from], destination = talk->address[!from];
	uint8_t *ip = frame + 14;

	put_mac(frame, destination);
	put_mac(frame + 6, source);
	if (talk->is_ip6) {
		put16(frame + 12, 0x86dd);
		memset(ip, 0, 40);
		ip[0] = 0x60;
		put16(ip + 4, length);
		ip[6] = proto;
		ip[7] = 64;
		put32(ip + 8, 0x20010db8); /* RFC 3849 */
		put32(ip + 20, source);
		put32(ip + 24, 0x20010db8);
		put32(ip + 36, destination);
		return ip + 40;
	}
	put16(frame + 12, 0x0800);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, length + 20);
	put16(ip + 6, 0x4000);
	ip[8] = from ? 57 : 64;
	ip[9] = proto;
	put32(ip + 12, source);
	put32(ip + 16, destination);
	return ip + 20;
}

/* A segment with `payload` octets: how long the frame is. */
static uint32_t put_tcp(uint8_t *frame, struct talk *talk, int from, uint8_t flags,
			uint32_t payload)
{
	uint32_t header = flags & SYN ? 40 : 32;
	uint8_t *tcp = put_headers(frame, talk, from, 6, header + payload);
	uint8_t *option = tcp + 20;

	put16(tcp, talk->port[from]);
	put16(tcp + 2, talk->port[!from]);
	put32(tcp + 4, talk->seq[from]);
	put32(tcp + 8, flags & ACK ? talk->seq[!from] : 0);
	tcp[12] = (uint8_t)(header << 2);
	tcp[13] = flags;
	put16(tcp + 14, flags & RST ? 0 : flags & SYN ? 64240 : 501);
	put32(tcp + 16, 0);
	if (flags & SYN) {
		put32(option, 0x02040000 | (talk->is_ip6 ? 1440 : 1460));
		put32(option + 4, 0x0402080a);
		memset(option + 8, 0, 8);
		put32(option + 16, 0x01030307);
	} else {
		put32(option, 0x0101080a);
		put32(option + 4, talk->step);
		put32(option + 8, 0);
	}
	talk->seq[from] += payload + !!(flags & (SYN | FIN));
	return (uint32_t)(tcp - frame) + header + payload;
}

static uint32_t put_udp(uint8_t *frame, struct talk *talk, int from, uint32_t payload)
{
	uint8_t *udp = put_headers(frame, talk, from, 17, 8 + payload);

	put16(udp, talk->port[from]);
	put16(udp + 2, talk->port[!from]);
	put16(udp + 4, 8 + payload);
	put16(udp + 6, 0);
	return (uint32_t)(udp - frame) + 8 + payload;
}

static uint32_t put_ping(uint8_t *frame, struct talk *talk, int from)
{
	uint8_t *icmp = put_headers(frame, talk, from, talk->is_ip6 ? 58 : 1, 64);

	put32(icmp, 0);
	icmp[0] = talk->is_ip6 ? (from ? 129 : 128) : (from ? 0 : 8);
	put16(icmp + 4, talk->port[0]);
	put16(icmp + 6, talk->step / 2);
	return (uint32_t)(icmp - frame) + 64;
}

/* The next packet of a TCP conversation; *is_over with the last one. */
static uint32_t next_tcp(struct synth_source *source, struct talk *talk, uint8_t *frame,
			 int *is_over)
{
	switch (talk->step++) {
	case 0:
		return put_tcp(frame, talk, 0, SYN, 0);
	case 1:
		return put_tcp(frame, talk, 1, SYN | ACK, 0);
	case 2:
		return put_tcp(frame, talk, 0, ACK, 0);
	case 3:
		return put_tcp(frame, talk, 0, PSH | ACK, 60 + below(&source->dice, 500));
	case 4:
		if (talk->segments--) {
			talk->step = talk->segments % 2 ? 4 : 5;
			return put_tcp(frame, talk, 1, talk->segments ? ACK : PSH | ACK,
				       talk->segments ? MSS - 20 :
							1 + below(&source->dice, MSS - 20));
		}
		talk->step = 7;
		return put_tcp(frame, talk, 1, FIN | ACK, 0);
	case 5:
		talk->step = 4;
		return put_tcp(frame, talk, 0, ACK, 0);
	case 7:
		return put_tcp(frame, talk, 0, FIN | ACK, 0);
	default:
		*is_over = 1;
		return put_tcp(frame, talk, 1, ACK, 0);
	}
}

static uint32_t next_packet(struct synth_source *source, struct talk *talk, uint8_t *frame,
			    int *is_over)
{
	switch (talk->kind) {
	case DNS:
		*is_over = talk->step == 1;
		return put_udp(frame, talk, (int)talk->step++,
			       30 + below(&source->dice, *is_over ? 400 : 40));
	case PING:
		*is_over = talk->step == 7;
		return put_ping(frame, talk, talk->step++ & 1);
	case PROBE:
		if (talk->step++ == 0) {
			*is_over = below(&source->dice, 10) < 3; /* no answer */
			return put_tcp(frame, talk, 0, SYN, 0);
		}
		*is_over = 1;
		return put_tcp(frame, talk, 1, RST | ACK, 0);
	case FLOOD:
		*is_over = 1;
		return put_tcp(frame, talk, 0, SYN, 0);
	default:
		return next_tcp(source, talk, frame, is_over);
	}
}

static void begin_talk(struct synth_source *source, struct talk *talk, enum kind kind,
		       uint16_t port)
{
	struct dice *dice = &source->dice;

	*talk = (struct talk){
		.kind = kind,
		.address = { CLIENTS + 2 + below(dice, 200), SERVERS + 1 + below(dice, 0x1fffe) },
		.port = { (uint16_t)(32768 + below(dice, 28000)), port },
		.seq = { (uint32_t)roll(dice), (uint32_t)roll(dice) },
		.segments = kind == ELEPHANT ? UINT32_MAX - 1 : 1 + below(dice, 4),
	};
}

static void begin_mouse(struct synth_source *source, struct talk *talk)
{
	begin_talk(source, talk, MOUSE, below(&source->dice, 4) ? 443 : 80);
}

static void begin_elephant(struct synth_source *source, struct talk *talk)
{
	begin_talk(source, talk, ELEPHANT, 443);
}

static void begin_mixed(struct synth_source *source, struct talk *talk)
{
	uint32_t number = below(&source->dice, 100);

	if (number < 55)
		begin_mouse(source, talk);
	else if (number < 60)
		begin_talk(source, talk, MOUSE, 22);
	else if (number < 90)
		begin_talk(source, talk, DNS, 53);
	else
		begin_talk(source, talk, PING, 0);
	if (talk->kind == MOUSE && below(&source->dice, 8) == 0)
		talk->segments = 100 + below(&source->dice, 400);
	talk->is_ip6 = below(&source->dice, 5) == 0;
}

static void begin_probe(struct synth_source *source, struct talk *talk)
{
	begin_talk(source, talk, PROBE, (uint16_t)(1 + below(&source->dice, 65535)));
	talk->address[0] = SCANNER;
	talk->address[1] = CLIENTS + 2 + below(&source->dice, 8);
}

static void begin_flood(struct synth_source *source, struct talk *talk)
{
	begin_talk(source, talk, FLOOD, 80);
	talk->address[0] = (uint32_t)roll(&source->dice) | 1;
	talk->address[1] = VICTIM;
}

static const struct profile profiles[] = {
	{ "mice", 256, begin_mouse },	 { "elephants", 16, begin_elephant },
	{ "mixed", 512, begin_mixed },	 { "scan", 4, begin_probe },
	{ "syn_flood", 1, begin_flood }, { "fuzz", 0, NULL },
};

/* Beginnings that lead a parser deep inside before the random octets come. */
static const uint8_t prefixes[][40] = {
	{ 0 },
	{ [12] = 0x08, [14] = 0x45, [17] = 80, [23] = 6 },
	{ [12] = 0x08, [14] = 0x4f, [17] = 80, [23] = 17 },
	{ [12] = 0x08, [14] = 0x45, [17] = 200, [23] = 47 },
	{ [12] = 0x08, [14] = 0x45, [17] = 200, [23] = 17, [36] = 0x12, [37] = 0xb5 },
	{ [12] = 0x08, [14] = 0x45, [17] = 200, [23] = 4, [34] = 0x45 },
	{ [12] = 0x86, 0xdd, 0x60, [19] = 120, [20] = 0 },
	{ [12] = 0x86, 0xdd, 0x60, [19] = 120, [20] = 6 },
	{ [12] = 0x86, 0xdd, 0x60, [19] = 120, [20] = 58 },
	{ [12] = 0x81, [16] = 0x81, [20] = 0x08, [22] = 0x46 },
	{ [12] = 0x88, 0x64, 0x11, [18] = 0, 100, 0x00, 0x21, 0x45 },
	{ [12] = 0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04 },
};

static uint32_t next_fuzz(struct synth_source *source, uint8_t *frame)
{
	struct dice *dice = &source->dice;
	const uint8_t *prefix = prefixes[below(dice, sizeof(prefixes) / sizeof(prefixes[0]))];
	uint32_t length = below(dice, 8) ? below(dice, 200) : below(dice, FRAME_BYTES - 8);

	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t octets = roll(dice);

		memcpy(frame + i, &octets, sizeof(octets));
	}
	for (uint32_t i = 0; i < sizeof(prefixes[0]); i++)
		if (prefix[i])
			frame[i] = prefix[i];
	if (prefix[12] == 0x08 && length > 34 && below(dice, 2)) /* a total length that is right */
		put16(frame + 16, length - 14);
	if (below(dice, 4) == 0) /* one octet of the beginning is otherwise */
		frame[below(dice, 60)] = (uint8_t)roll(dice);
	return length;
}

static int synth_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct synth_source *source = (struct synth_source *)base;
	int count = 0;

	for (; count < capacity && count < FX_BLOCK_FRAMES && source->packets_left; count++) {
		uint8_t *frame = source->octets[count];
		uint32_t length;

		if (source->profile->talks) {
			struct talk *talk = &source->talks[below(&source->dice,
								 (uint32_t)source->profile->talks)];
			int is_over = 0;

			length = next_packet(source, talk, frame, &is_over);
			if (is_over)
				source->profile->begin(source, talk);
		} else {
			length = next_fuzz(source, frame);
		}
		source->time_ns += 1 + below(&source->dice, 2 * MEAN_GAP_NS);
		source->packets_left--;
		frames[count] = (struct fx_frame){
			.bytes = frame,
			.time_ns = source->time_ns,
			.captured_bytes = length,
			.wire_bytes = length,
			.linktype = 1,
		};
	}
	return count;
}

static void synth_stats(const fx_source *base, struct fx_source_stats *out)
{
	(void)base;
	*out = (struct fx_source_stats){ 0 };
}

static void synth_close(fx_source *base)
{
	free(base);
}

static const struct fx_source_ops synth_ops = {
	.name = "synth",
	.next = synth_next,
	.stats = synth_stats,
	.close = synth_close,
};

int fx_source_open_synth(const char *name, uint64_t seed, uint64_t packets, fx_source **out)
{
	const struct profile *profile = NULL;
	struct synth_source *source;

	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (strcmp(name, profiles[i].name) == 0)
			profile = &profiles[i];
	if (!profile)
		return fx_fail(-EINVAL,
			       "no profile '%s' (mice, elephants, mixed, scan, syn_flood, fuzz)",
			       name);
	source = calloc(1, sizeof(*source));
	if (!source)
		return fx_fail(-ENOMEM, "no memory for the generator");
	source->base.ops = &synth_ops;
	source->profile = profile;
	source->dice.state = seed;
	source->packets_left = packets;
	source->time_ns = START_NS;
	for (int i = 0; i < FX_BLOCK_FRAMES; i++) /* payload, written once */
		for (int j = 0; j < FRAME_BYTES; j += 8) {
			uint64_t octets = roll(&source->dice);

			memcpy(&source->octets[i][j], &octets, sizeof(octets));
		}
	for (int i = 0; i < profile->talks; i++)
		profile->begin(source, &source->talks[i]);
	*out = &source->base;
	return 0;
}
