/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over a ring. Offsets are checked although the kernel wrote them: a block that was cut must not lead astray. */
#include "ring.h"

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "fx/bytes.h"
#include "fx/parse_link.h"

enum {
	VNET_BYTES = sizeof(struct virtio_net_hdr), /* lies before the frame, PACKET_VNET_HDR */
	LINK_ADDRESSES = 12, /* destination and source: the tag belongs behind them */
	ADDRESS_AT = sizeof(
		struct tpacket3_hdr), /* struct sockaddr_ll; a multiple of TPACKET_ALIGNMENT */
	V3_ALIGNMENT = 8, /* of frames in a block, as the kernel has it */
	FRAME_MIN = ADDRESS_AT + sizeof(struct sockaddr_ll)
};

_Static_assert(ADDRESS_AT % TPACKET_ALIGNMENT == 0, "no padding before the address");

void fx_ring_start(struct fx_ring *ring, uint8_t *memory, uint32_t block_count)
{
	ring->memory = memory;
	ring->block_count = block_count;
	ring->block = ring->left = ring->held = 0;
}

static struct tpacket_block_desc *block_of(const struct fx_ring *ring, uint32_t number)
{
	return (void *)(ring->memory + (size_t)number * FX_RING_BLOCK_BYTES);
}

void fx_ring_release(struct fx_ring *ring)
{
	for (; ring->held; ring->held--) {
		uint32_t number = ring->block + ring->block_count - ring->held;
		struct tpacket_block_desc *block = block_of(ring, number % ring->block_count);

		__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	}
}

static void leave_block(struct fx_ring *ring)
{
	ring->left = 0;
	ring->held++;
	ring->block = ring->block + 1 == ring->block_count ? 0 : ring->block + 1;
}

static void break_block(struct fx_ring *ring)
{
	ring->broken_blocks++;
	leave_block(ring);
}

/* Into the next block, if the kernel has given it to us. */
static int enter_block(struct fx_ring *ring)
{
	while (ring->held < ring->block_count) {
		struct tpacket_block_desc *block = block_of(ring, ring->block);
		const struct tpacket_hdr_v1 *h = &block->hdr.bh1;
		uint32_t status = __atomic_load_n(&h->block_status, __ATOMIC_ACQUIRE);
		uint32_t bytes, first;

		if (!(status & TP_STATUS_USER))
			return 0;
		bytes = h->blk_len < FX_RING_BLOCK_BYTES ? h->blk_len : FX_RING_BLOCK_BYTES;
		first = h->offset_to_first_pkt;
		ring->left = h->num_pkts;
		if (ring->left == 0) {
			leave_block(ring);
			continue;
		}
		if (first < sizeof(*block) || first > bytes || first % V3_ALIGNMENT) {
			break_block(ring);
			continue;
		}
		ring->at = (uint8_t *)block + first;
		ring->end = (uint8_t *)block + bytes;
		return 1;
	}
	return 0;
}

/* Where the frame begins in its slot: at the link header, or at the network header where there is no other. */
static uint32_t begin_of(const struct fx_ring *ring, const struct tpacket3_hdr *h)
{
	return ring->linktype == FX_LINKTYPE_ETHERNET ? h->tp_mac : h->tp_net;
}

/* Whether what the header at ring->at says lies within the block. */
static int is_whole(const struct fx_ring *ring)
{
	const struct tpacket3_hdr *h = (const void *)ring->at;
	size_t room = (size_t)(ring->end - ring->at);

	if (room < FRAME_MIN)
		return 0;
	return h->tp_mac >= FRAME_MIN + VNET_BYTES && h->tp_net >= h->tp_mac &&
	       (uint64_t)h->tp_mac + h->tp_snaplen <= room &&
	       begin_of(ring, h) - h->tp_mac <= h->tp_snaplen && h->tp_snaplen <= h->tp_len &&
	       h->tp_nsec < 1000000000;
}

/* To the next frame of the block, or out of it. */
static void step(struct fx_ring *ring)
{
	const struct tpacket3_hdr *h = (const void *)ring->at;
	size_t room = (size_t)(ring->end - ring->at);

	if (--ring->left == 0) {
		leave_block(ring);
	} else if (h->tp_next_offset < FRAME_MIN || h->tp_next_offset > room ||
		   h->tp_next_offset % V3_ALIGNMENT) {
		break_block(ring);
	} else {
		ring->at += h->tp_next_offset;
		__builtin_prefetch(ring->at);
		__builtin_prefetch(ring->at + 64);
	}
}

int fx_ring_peek(struct fx_ring *ring, int64_t *wall_ns)
{
	while (ring->left || enter_block(ring)) {
		const struct tpacket3_hdr *h = (const void *)ring->at;
		const struct sockaddr_ll *address = (const void *)(ring->at + ADDRESS_AT);

		if (fx_unlikely(!is_whole(ring))) {
			break_block(ring);
		} else if (ring->skips_outgoing && address->sll_pkttype == PACKET_OUTGOING) {
			step(ring);
		} else {
			*wall_ns = (int64_t)h->tp_sec * 1000000000 + h->tp_nsec;
			return 1;
		}
	}
	return 0;
}

/* Moves the addresses forward, over what is not needed any more, and puts the tag behind them. */
static uint8_t *put_tag_back(uint8_t *frame, const struct tpacket3_hdr *h)
{
	uint32_t type = h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->hv1.tp_vlan_tpid :
								   FX_ETHERTYPE_VLAN;
	uint32_t tag = __builtin_bswap32(type << 16 | (h->hv1.tp_vlan_tci & 0xffff));

	frame -= FX_VLAN_TAG;
	memmove(frame, frame + FX_VLAN_TAG, LINK_ADDRESSES);
	memcpy(frame + LINK_ADDRESSES, &tag, sizeof(tag));
	return frame;
}

/* How the card would cut it, or did: GRO and TSO of TCP, USO of UDP. */
static uint16_t segment_bytes_of(const uint8_t *frame)
{
	struct virtio_net_hdr v;
	uint8_t kind;

	memcpy(&v, frame - VNET_BYTES, sizeof(v));
	kind = v.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	return kind == VIRTIO_NET_HDR_GSO_TCPV4 || kind == VIRTIO_NET_HDR_GSO_TCPV6 ||
			       kind == 5 /* VIRTIO_NET_HDR_GSO_UDP_L4, of newer headers */
		       ?
		       v.gso_size :
		       0;
}

void fx_ring_take(struct fx_ring *ring, struct fx_frame *frame)
{
	const struct tpacket3_hdr *h = (const void *)ring->at;
	const struct sockaddr_ll *address = (const void *)(ring->at + ADDRESS_AT);
	uint8_t *bytes = ring->at + begin_of(ring, h);
	uint32_t before = begin_of(ring, h) - h->tp_mac;

	frame->captured_bytes = h->tp_snaplen - before;
	frame->wire_bytes = h->tp_len - before;
	frame->iface = ring->iface;
	frame->linktype = ring->linktype;
	frame->segment_bytes = segment_bytes_of(ring->at + h->tp_mac);
	frame->way = address->sll_pkttype == PACKET_OUTGOING ? FX_WAY_OUT : FX_WAY_IN;
	if (h->tp_status & TP_STATUS_VLAN_VALID && ring->linktype == FX_LINKTYPE_ETHERNET &&
	    frame->captured_bytes >= LINK_ADDRESSES) {
		bytes = put_tag_back(bytes, h);
		frame->captured_bytes += FX_VLAN_TAG;
		frame->wire_bytes += FX_VLAN_TAG;
	}
	frame->bytes = bytes;
	ring->frames++;
	step(ring);
}
