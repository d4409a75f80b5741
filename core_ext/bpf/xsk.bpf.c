/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Hands every frame of a mirror port to the AF_XDP socket of its queue, with the time of its arrival in front where the
 * driver leaves room for it (include/fx/xsk_stamp.h). A queue without a socket goes on to the kernel.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fx/xsk_stamp.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int fortress_xsk(struct xdp_md *context)
{
	if (bpf_xdp_adjust_meta(context, -(int)sizeof(struct fx_xsk_stamp)) == 0) {
		struct fx_xsk_stamp *stamp = (void *)(long)context->data_meta;

		if ((void *)(stamp + 1) <= (void *)(long)context->data) {
			stamp->magic = FX_XSK_MAGIC;
			stamp->time_ns = bpf_ktime_get_ns();
		}
	}
	return (int)bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
