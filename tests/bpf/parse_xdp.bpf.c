/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The parser inside the kernel: parses the frame it is run on and puts the columns in a map. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fx/parse.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fx_packet);
} parsed SEC(".maps");

SEC("xdp")
int parse_xdp(struct xdp_md *context)
{
	const fx_u8 *bytes = (void *)(long)context->data;
	const fx_u8 *end = (void *)(long)context->data_end;
	__u32 key = 0;
	struct fx_packet *packet = bpf_map_lookup_elem(&parsed, &key);

	if (!packet)
		return XDP_ABORTED;
	fx_parse_frame(bytes, end, (fx_u32)(end - bytes), FX_LINKTYPE_ETHERNET, packet);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
