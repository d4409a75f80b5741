/* SPDX-License-Identifier: Apache-2.0 */
/* What bpf/xsk.bpf.c puts in front of a frame for src/source_af_xdp.c. */
#ifndef FX_XSK_STAMP_H
#define FX_XSK_STAMP_H

#define FX_XSK_MAGIC 0x78736b5f7374616dull

/* In the headroom, where no frame's octets ever are: what is not ours does not look so. */
struct fx_xsk_stamp {
	unsigned long long magic;
	unsigned long long time_ns; /* CLOCK_MONOTONIC */
};

#endif
