/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Passes every frame: what an XDP program costs that does nothing, and somebody else's program. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp.frags")
int pass_all(struct xdp_md *context)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
