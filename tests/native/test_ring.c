/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over a ring in memory that the test fills as the kernel does, and as it never should. */
#include "ring.h"

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx/parse_link.h"

enum { BLOCKS = 4, HEADER_AT = 48, FRAME_AT = 92, ROUNDS = 200000, WORDS = 12 };

static int failures;

static void expect(int is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "not so: %s\n", what);
	failures++;
}

static uint8_t *new_memory(void)
{
	uint8_t *memory = aligned_alloc(4096, BLOCKS * FX_RING_BLOCK_BYTES);

	memset(memory, 0, BLOCKS * FX_RING_BLOCK_BYTES);
	return memory;
}

static struct tpacket_block_desc *block_at(uint8_t *memory, int number)
{
	return (void *)(memory + number * FX_RING_BLOCK_BYTES);
}

/* A block of `count` frames of 60 octets each, the octet 20 of which is its number. */
static struct tpacket3_hdr *fill_block(uint8_t *memory, int number, uint32_t count)
{
	struct tpacket_block_desc *block = block_at(memory, number);
	const uint32_t each = 160;
	struct tpacket3_hdr *h = NULL;

	memset(block, 0, FX_RING_BLOCK_BYTES);
	for (uint32_t i = 0; i < count; i++) {
		struct sockaddr_ll *address;

		h = (void *)((uint8_t *)block + HEADER_AT + i * each);
		*h = (struct tpacket3_hdr){ .tp_next_offset = i + 1 < count ? each : 0,
					    .tp_sec = 1000,
					    .tp_nsec = i,
					    .tp_snaplen = 60,
					    .tp_len = 60,
					    .tp_mac = FRAME_AT,
					    .tp_net = FRAME_AT + 14 };
		address = (void *)(h + 1);
		address->sll_pkttype = i % 2 ? PACKET_OUTGOING : PACKET_HOST;
		for (uint8_t k = 0; k < 60; k++)
			((uint8_t *)h)[FRAME_AT + k] = k;
		((uint8_t *)h)[FRAME_AT + 20] = (uint8_t)i;
	}
	block->hdr.bh1.num_pkts = count;
	block->hdr.bh1.offset_to_first_pkt = HEADER_AT;
	block->hdr.bh1.blk_len = HEADER_AT + count * each;
	block->hdr.bh1.block_status = TP_STATUS_USER;
	return h;
}

static struct fx_ring new_ring(uint8_t *memory)
{
	struct fx_ring ring = { .linktype = FX_LINKTYPE_ETHERNET, .iface = 3 };

	fx_ring_start(&ring, memory, BLOCKS);
	return ring;
}

/* Takes all there is: how many. */
static uint32_t take_all(struct fx_ring *ring, struct fx_frame *last)
{
	uint32_t count = 0;
	int64_t wall_ns;

	while (fx_ring_peek(ring, &wall_ns)) {
		fx_ring_take(ring, last);
		last->time_ns = wall_ns;
		count++;
	}
	return count;
}

static void check_walk(void)
{
	uint8_t *memory = new_memory();
	struct fx_ring ring = new_ring(memory);
	struct fx_frame frame;
	int64_t wall_ns;

	expect(!fx_ring_peek(&ring, &wall_ns), "an empty ring has no frame");
	for (int i = 0; i < BLOCKS; i++)
		fill_block(memory, i, (uint32_t)i == 2 ? 0 : 5);
	expect(take_all(&ring, &frame) == 15, "every frame is taken once, empty blocks skipped");
	expect(frame.time_ns == 1000000000004 && frame.bytes[20] == 4 && frame.iface == 3 &&
		       frame.wire_bytes == 60 && frame.captured_bytes == 60,
	       "the last frame is whole");
	for (int i = 0; i < BLOCKS; i++)
		expect(block_at(memory, i)->hdr.bh1.block_status == TP_STATUS_USER,
		       "blocks stay ours while their frames are used");
	expect(!fx_ring_peek(&ring, &wall_ns), "the ring does not begin anew while all is held");
	fx_ring_release(&ring);
	for (int i = 0; i < BLOCKS; i++)
		expect(block_at(memory, i)->hdr.bh1.block_status == TP_STATUS_KERNEL,
		       "released blocks are the kernel's");
	fill_block(memory, 0, 7);
	expect(take_all(&ring, &frame) == 7, "the ring goes round");
	fx_ring_release(&ring);

	ring = new_ring(memory);
	ring.skips_outgoing = 1;
	fill_block(memory, 0, 5);
	expect(take_all(&ring, &frame) == 3, "what loopback sends is skipped");
	free(memory);
}

static void check_tags(void)
{
	static const uint8_t tagged[] = { 10, 11, 0x81, 0x00, 0x20, 0x05, 12, 13, 14 };
	static const uint8_t service[] = { 10, 11, 0x88, 0xa8, 0x20, 0x05, 12, 13, 14 };
	uint8_t *memory = new_memory();
	struct fx_ring ring = new_ring(memory);
	struct tpacket3_hdr *h = fill_block(memory, 0, 1);
	struct fx_frame frame;

	h->tp_status = TP_STATUS_VLAN_VALID;
	h->hv1.tp_vlan_tci = 0x2005;
	take_all(&ring, &frame);
	expect(frame.captured_bytes == 64 && frame.wire_bytes == 64 &&
		       !memcmp(frame.bytes + 10, tagged, sizeof(tagged)),
	       "a tag is put back as 802.1Q");
	fx_ring_release(&ring);
	h = fill_block(memory, 1, 1);
	h->tp_status = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID;
	h->hv1.tp_vlan_tci = 0x2005;
	h->hv1.tp_vlan_tpid = 0x88a8;
	take_all(&ring, &frame);
	expect(!memcmp(frame.bytes + 10, service, sizeof(service)), "or with its own type");
	free(memory);
}

static void check_super_frames(void)
{
	static const struct {
		uint8_t type;
		uint32_t segment;
	} cases[] = { { VIRTIO_NET_HDR_GSO_NONE, 0 },
		      { VIRTIO_NET_HDR_GSO_TCPV4, 1448 },
		      { VIRTIO_NET_HDR_GSO_TCPV6, 1448 },
		      { VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1448 },
		      { 5 /* UDP_L4 */, 1448 },
		      { VIRTIO_NET_HDR_GSO_UDP, 0 /* fragments, not segments */ } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t *memory = new_memory();
		struct fx_ring ring = new_ring(memory);
		struct virtio_net_hdr v = { .gso_type = cases[i].type, .gso_size = 1448 };
		struct tpacket3_hdr *h = fill_block(memory, 0, 1);
		struct fx_frame frame;

		memcpy((uint8_t *)h + FRAME_AT - sizeof(v), &v, sizeof(v));
		take_all(&ring, &frame);
		expect(frame.segment_bytes == cases[i].segment, "segments by the card's header");
		free(memory);
	}
}

static void check_raw_ip(void)
{
	uint8_t *memory = new_memory();
	struct fx_ring ring = new_ring(memory);
	struct fx_frame frame;

	ring.linktype = FX_LINKTYPE_RAW;
	fill_block(memory, 0, 1);
	take_all(&ring, &frame);
	expect(frame.bytes[0] == 14 && frame.captured_bytes == 46 && frame.wire_bytes == 46,
	       "without a link layer a frame begins at its network header");
	free(memory);
}

static void check_cut_block(void)
{
	uint8_t *memory = new_memory();
	struct fx_ring ring = new_ring(memory);
	struct fx_frame frame;

	fill_block(memory, 0, 5);
	block_at(memory, 0)->hdr.bh1.blk_len = HEADER_AT + 3 * 160 + 100;
	fill_block(memory, 1, 2);
	expect(take_all(&ring, &frame) == 5 && ring.broken_blocks == 1,
	       "a cut block gives what is whole in it, and the next one is read");
	free(memory);
}

/* Random words over the headers of a block: nothing outside of the ring is touched (the sanitizers say). */
static void check_hostile(unsigned int seed)
{
	static const uint32_t edges[] = { 0,	      1,	 8,   47,     48,
					  64,	      92,	 160, 0xffff, FX_RING_BLOCK_BYTES,
					  0x7fffffff, 0xffffffff };
	uint8_t *memory = new_memory();
	uint64_t sum = 0, broken = 0;

	srand(seed);
	for (int round = 0; round < ROUNDS / 100; round++) {
		struct fx_ring ring = new_ring(memory);
		uint32_t count;

		for (int i = 0; i < BLOCKS; i++)
			fill_block(memory, i, 20);
		ring.linktype = rand() % 2 ? FX_LINKTYPE_ETHERNET : FX_LINKTYPE_RAW;
		for (int i = 0; i < WORDS; i++) {
			uint32_t value = rand() % 2 ? edges[rand() % 12] : (uint32_t)rand();
			uint8_t *block = memory + rand() % BLOCKS * FX_RING_BLOCK_BYTES;
			size_t at = rand() % 3 ? HEADER_AT + 160 * (size_t)(rand() % 20) +
							 (size_t)(rand() % 12) * 4 :
						 8 + 4 * (size_t)(rand() % 10);

			memcpy(block + at, &value, 4);
		}
		for (count = 0; count < 1000; count++) {
			struct fx_frame frame;
			int64_t wall_ns;

			if (!fx_ring_peek(&ring, &wall_ns))
				break;
			fx_ring_take(&ring, &frame);
			for (uint32_t i = 0; i < frame.captured_bytes; i++)
				sum += frame.bytes[i];
		}
		expect(count <= BLOCKS * 20 * 2, "no endless walk");
		fx_ring_release(&ring);
		broken += ring.broken_blocks;
	}
	expect(broken > 0 && sum > 0, "blocks were broken, and frames read all the same");
	free(memory);
}

int main(int count, char **words)
{
	unsigned int seed = count > 1 ? (unsigned int)atoi(words[1]) : 42;

	check_walk();
	check_tags();
	check_super_frames();
	check_raw_ip();
	check_cut_block();
	check_hostile(seed);
	if (failures)
		return 1;
	puts("ring: ok");
	return 0;
}
