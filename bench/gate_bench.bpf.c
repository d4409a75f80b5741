/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the gate is measured with: a program that does nothing, one that drops all, a sender, and one
 * that gives the frame another source each time before the program under test looks at it.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tested SEC(".maps");

const volatile __u32 ifindex;
const volatile __u32 keys = 1; /* sources to choose from */
const volatile __u32 prefixes; /* 1 = one in each /24, 0 = addresses */
__u32 state;

SEC("xdp.frags")
int pass_all(struct xdp_md *context)
{
	return XDP_PASS;
}

SEC("xdp.frags")
int drop_all(struct xdp_md *context)
{
	return XDP_DROP;
}

SEC("xdp")
int send(struct xdp_md *context)
{
	return bpf_redirect(ifindex, 0);
}

/* bench/gate.py makes the same sources of the same numbers. */
SEC("xdp.frags")
int another(struct xdp_md *context)
{
	__u8 *source = (void *)(long)context->data + 26;
	__u32 number;

	if (source + 4 > (__u8 *)(long)context->data_end)
		return XDP_ABORTED;
	state = state * 1664525 + 1013904223;
	number = (__u32)(((__u64)state * keys) >> 32) * 2654435761u;
	if (prefixes)
		number = (number << 8) | 1;
	source[0] = (__u8)(number >> 24);
	source[1] = (__u8)(number >> 16);
	source[2] = (__u8)(number >> 8);
	source[3] = (__u8)number;
	bpf_tail_call(context, &tested, 0);
	return XDP_ABORTED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
