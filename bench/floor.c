/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: what reading a capture and keeping flow statistics costs with nothing around it.
 *
 * One loop over a memory-mapped little-endian pcap file (Ethernet, microseconds): VLAN, IPv4 or IPv6, TCP or
 * UDP headers, a keyed hash of the 5-tuple (both directions one flow), an open-addressing index, and for each
 * direction lengths and gaps as sum, sum of squares, least and greatest, eight flag counters, header bytes,
 * window. Hash and record size are those of the core. No time-outs, no columns, no errors worth a message.
 *
 *     floor FILE [PASSES]      prints: packets ip_packets flows bytes; later passes find the table warm
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "flow_record.h"
#include "fx/hash.h"

enum { SLOTS = 1 << 20, RECORDS = SLOTS / 4 * 3 };

typedef fx_u8 u8;
typedef fx_u16 u16;
typedef fx_u32 u32;
typedef fx_u64 u64;

struct packet {
	u64 source[2], destination[2];
	u64 tail, tail_back; /* ports and protocol, as sent and as answered */
	fx_i64 time_ns;
	u32 ip_bytes, header_bytes;
	u16 window;
	u8 flags;
};

struct side {
	u64 packets, bytes, bytes_sq, gap_sum, header_bytes, window_sum;
	double gap_sq;
	fx_i64 last_ns;
	u64 gap_min, gap_max;
	u32 bytes_min, bytes_max, flags[8];
};

union record {
	struct {
		u64 ends[4], tail;
		fx_i64 first_ns;
		struct side sides[2];
	};
	u8 size[sizeof(struct fx_flow) + sizeof(struct fx_flow_cold)];
};

struct slot {
	u32 tag, number; /* number 0 = empty */
};

static struct slot *slots;
static union record *records;
static u32 used;

/* Fills everything but the time; 0 when there is no IP in the frame. */
static inline int parse(const u8 *p, const u8 *end, struct packet *out)
{
	u64 *a = out->source, *b = out->destination;
	u32 ports = 0, proto, ip_header, later_fragment = 0;
	u16 ethertype;
	const u8 *l4;

	if (p + 14 > end)
		return 0;
	ethertype = fx_load16_be(p + 12);
	for (p += 14; (ethertype == 0x8100 || ethertype == 0x88a8) && p + 4 <= end; p += 4)
		ethertype = fx_load16_be(p + 2);
	if (ethertype == 0x0800) {
		if (p + 20 > end || p[0] >> 4 != 4)
			return 0;
		ip_header = (p[0] & 15) * 4;
		out->ip_bytes = fx_load16_be(p + 2);
		later_fragment = fx_load16_be(p + 6) & 0x1fff;
		proto = p[9];
		a[0] = b[0] = 0;
		a[1] = 0xffff0000 | (u64)fx_load32(p + 12) << 32;
		b[1] = 0xffff0000 | (u64)fx_load32(p + 16) << 32;
	} else if (ethertype == 0x86dd) {
		if (p + 40 > end)
			return 0;
		ip_header = 40;
		out->ip_bytes = 40 + fx_load16_be(p + 4);
		proto = p[6];
		a[0] = fx_load64(p + 8), a[1] = fx_load64(p + 16);
		b[0] = fx_load64(p + 24), b[1] = fx_load64(p + 32);
		while ((proto == 0 || proto == 43 || proto == 44 || proto == 60) &&
		       p + ip_header + 8 <= end) {
			const u8 *extension = p + ip_header;
			if (proto == 44)
				later_fragment = fx_load16_be(extension + 2) & 0xfff8;
			ip_header += proto == 44 ? 8 : 8 + extension[1] * 8;
			proto = extension[0];
		}
	} else {
		return 0;
	}
	l4 = p + ip_header;
	out->header_bytes = ip_header;
	out->flags = 0;
	out->window = 0;
	if (proto == 6 && !later_fragment && l4 + 20 <= end) {
		ports = fx_load32(l4);
		out->flags = l4[13];
		out->window = fx_load16_be(l4 + 14);
		out->header_bytes += (l4[12] >> 4) * 4;
	} else if (proto == 17 && !later_fragment && l4 + 8 <= end) {
		ports = fx_load32(l4);
		out->header_bytes += 8;
	}
	out->tail = ports | (u64)proto << 32;
	out->tail_back = (ports >> 16 | ports << 16) | (u64)proto << 32;
	return 1;
}

/* The side of the record that the packet belongs to, or neither. */
static inline int side_of(const union record *record, const struct packet *packet)
{
	const u64 *ends = record->ends, *a = packet->source, *b = packet->destination;

	if (record->tail == packet->tail && ends[1] == a[1] && ends[3] == b[1] && ends[0] == a[0] &&
	    ends[2] == b[0])
		return 0;
	if (record->tail == packet->tail_back && ends[1] == b[1] && ends[3] == a[1] &&
	    ends[0] == b[0] && ends[2] == a[0])
		return 1;
	return -1;
}

static inline struct side *find(const struct packet *packet, u64 hash)
{
	u32 tag = hash >> 32;
	int side;

	for (u32 at = hash & (SLOTS - 1);; at = (at + 1) & (SLOTS - 1)) {
		struct slot *slot = &slots[at];
		if (!slot->number) {
			union record *record;
			if (used + 1 == RECORDS)
				abort();
			*slot = (struct slot){ tag, ++used };
			record = &records[used];
			memcpy(record->ends, packet->source, sizeof(record->ends));
			record->tail = packet->tail;
			record->first_ns = packet->time_ns;
			for (int i = 0; i < 2; i++) {
				record->sides[i].bytes_min = ~0u;
				record->sides[i].gap_min = ~0ull;
			}
			return record->sides;
		}
		if (slot->tag == tag && (side = side_of(&records[slot->number], packet)) >= 0)
			return &records[slot->number].sides[side];
	}
}

static inline void update(struct side *side, const struct packet *packet)
{
	u32 bytes = packet->ip_bytes;

	if (side->packets++) {
		u64 gap = packet->time_ns > side->last_ns ? packet->time_ns - side->last_ns : 0;
		side->gap_sum += gap;
		side->gap_sq += (double)(fx_i64)gap * (double)(fx_i64)gap;
		side->gap_min = gap < side->gap_min ? gap : side->gap_min;
		side->gap_max = gap > side->gap_max ? gap : side->gap_max;
	}
	side->last_ns = packet->time_ns;
	side->bytes += bytes;
	side->bytes_sq += (u64)bytes * bytes;
	side->bytes_min = bytes < side->bytes_min ? bytes : side->bytes_min;
	side->bytes_max = bytes > side->bytes_max ? bytes : side->bytes_max;
	side->header_bytes += packet->header_bytes;
	side->window_sum += packet->window;
	for (int i = 0; i < 8; i++)
		side->flags[i] += packet->flags >> i & 1;
}

int main(int argc, char **argv)
{
	int file = argc > 1 ? open(argv[1], O_RDONLY) : -1, passes = argc > 2 ? atoi(argv[2]) : 1;
	u64 packets = 0, ip_packets = 0, total[10] = { 0 };
	struct fx_hash_key key = fx_hash_key_make((u64[]){ 1, 2 });
	struct stat about;
	const u8 *start, *end;

	if (file < 0 || fstat(file, &about) || about.st_size < 24)
		return 1;
	start = mmap(0, about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	end = start + about.st_size;
	slots = mmap(0, SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	records = mmap(0, RECORDS * sizeof(*records), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	madvise(slots, SLOTS * sizeof(*slots), MADV_HUGEPAGE); /* as the core does */
	madvise(records, RECORDS * sizeof(*records), MADV_HUGEPAGE);
	if (start == MAP_FAILED || slots == MAP_FAILED || records == MAP_FAILED ||
	    fx_load32(start) != 0xa1b2c3d4)
		return 1;
	while (passes--) {
		for (const u8 *at = start + 24; at + 16 <= end; packets++) {
			const u8 *frame = at + 16, *frame_end = frame + fx_load32(at + 8);
			struct packet packet;
			packet.time_ns = fx_load32(at) * 1000000000ll + fx_load32(at + 4) * 1000ll;
			at = frame_end;
			if (frame_end > end || !parse(frame, frame_end, &packet))
				continue;
			ip_packets++;
			u64 hash = fx_flow_hash((fx_addr *)packet.source,
						(fx_addr *)packet.destination, packet.tail, &key);
			update(find(&packet, hash), &packet);
		}
	}
	for (u32 i = 1; i <= used; i++)
		for (int s = 0; s < 2; s++)
			total[0] += records[i].sides[s].bytes;
	printf("%lu %lu %u %lu\n", packets, ip_packets, used, total[0]);
	return 0;
}
