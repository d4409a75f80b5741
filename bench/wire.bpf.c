/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* UDP packets of many short or a few long flows, made in the kernel: each run of the program is one frame that leaves an interface. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef ACTIVE_FLOWS
#define ACTIVE_FLOWS 1000 /* take turns, ... */
#define FLOW_PACKETS 10 /* ... so many packets each, then others begin */
#endif

enum {
	SOURCE_AT = 14 + 12, /* the IPv4 source address */
	PORT_AT = 14 + 20, /* the UDP source port */
	PORTS = 1 << 14
};

const volatile __u32 ifindex;
__u64 frames;

SEC("xdp")
int make_frame(struct xdp_md *context)
{
	__u8 *frame = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	__u64 number = frames++;
	__u64 round = number / ((__u64)ACTIVE_FLOWS * FLOW_PACKETS);
	__u64 flow = round * ACTIVE_FLOWS + number % ACTIVE_FLOWS;

	if (frame + PORT_AT + 2 > end)
		return XDP_ABORTED;
	*(__u32 *)(void *)(frame + SOURCE_AT) = bpf_htonl(0x0a000000 + (__u32)(flow / PORTS));
	*(__u16 *)(void *)(frame + PORT_AT) = bpf_htons((__u16)(1024 + flow % PORTS));
	return bpf_redirect(ifindex, 0);
}

char terms[] SEC("license") = "Dual BSD/GPL";
