/* SPDX-License-Identifier: Apache-2.0 */
/* Record layouts: the types of columns, and struct fx_packet as packet_columns.def tells it. */
#ifndef FX_COLUMNS_H
#define FX_COLUMNS_H

#ifdef __bpf__
#include <linux/types.h>
typedef __u8 fx_u8;
typedef __u16 fx_u16;
typedef __u32 fx_u32;
typedef __u64 fx_u64;
typedef __s64 fx_i64;
typedef __s32 fx_i32;
#else
#include <stdint.h>
typedef uint8_t fx_u8;
typedef uint16_t fx_u16;
typedef uint32_t fx_u32;
typedef uint64_t fx_u64;
typedef int64_t fx_i64;
typedef int32_t fx_i32;
#endif

/* An IP address in network byte order; IPv4 as ::ffff:a.b.c.d. */
typedef struct {
	fx_u8 octets[16];
} __attribute__((aligned(8))) fx_addr;

#ifndef __bpf__
typedef float fx_f32;
typedef struct {
	char text[16];
} fx_s16;
typedef struct {
	char text[32];
} fx_s32;
typedef struct {
	int16_t values[32];
} fx_i16x32;
typedef struct {
	uint32_t values[32];
} fx_u32x32;
#endif

/* One packet, as understood. parse.h fills it, the flow table reads it. */
struct fx_packet {
#define FX_COLUMN(type, name, unit, meaning) fx_##type name;
#include "fx/packet_columns.def"
#undef FX_COLUMN
};

#endif
