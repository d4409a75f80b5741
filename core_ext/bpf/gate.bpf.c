/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The gate: passes every frame as yet. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp.frags")
int gate(struct xdp_md *context)
{
	return context->data_end > context->data ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
