/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Octets on the wire: the one bounds check, loads of any alignment, addresses. Same source for BPF.
 */
#ifndef FX_BYTES_H
#define FX_BYTES_H
#include "fx/columns.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines"
#endif

#ifdef __bpf__
#define FX_INLINE static inline __attribute__((always_inline, unused))
#define FX_OUTLINE FX_INLINE
#else
#define FX_INLINE static inline __attribute__((always_inline, unused))
#define FX_OUTLINE static __attribute__((noinline, unused))
#endif

#define fx_likely(condition) __builtin_expect(!!(condition), 1)
#define fx_unlikely(condition) __builtin_expect(!!(condition), 0)

/* Where we read: `at` up to the captured `end`; `wire` octets from `at` by the headers so far. */
struct fx_cursor {
	const fx_u8 *at;
	const fx_u8 *end;
	fx_u32 wire;
};

/* Whether `length` octets from `at` were captured: written the way the BPF verifier follows. */
FX_INLINE int fx_has(const fx_u8 *at, fx_u32 length, const fx_u8 *end)
{
	return !(at + length > end);
}

/*
 * The BPF verifier follows every combination of paths that leaves a pointer or number with another
 * range. fx_settle() makes it forget all but that the offset is below a mask, so that paths meet
 * again; the value does not change. Header offsets stay within FX_OFFSET_MAX and what three layers
 * can add, so the mask never bites. In C nothing of this remains.
 */
enum { FX_OFFSET_MAX = 4095, FX_OFFSET_MASK = 8191 };

#ifdef __bpf__
#define fx_settle_number(number, mask, bytes, end)                                \
	do {                                                                      \
		fx_u64 unknown = (fx_u64)((end) - (bytes)); /* to the verifier */ \
		asm volatile("%0 ^= %1\n%0 ^= %1" : "+r"(number) : "r"(unknown)); \
		(number) &= (mask);                                               \
	} while (0)

FX_INLINE void fx_settle(struct fx_cursor *c, const fx_u8 *frame)
{
	fx_u64 offset = (fx_u64)(c->at - frame);
	fx_u64 wire = c->wire;

	fx_settle_number(offset, FX_OFFSET_MASK, frame, c->end);
	fx_settle_number(wire, 0xffffffff, frame, c->end);
	c->at = frame + offset;
	c->wire = (fx_u32)wire;
}
#else
#define fx_settle_number(number, mask, bytes, end) ((void)(number))
#define fx_settle(cursor, frame) ((void)(cursor))
#endif

/* Loads in host order of the octets as they lie (little-endian). */
#ifdef __bpf__
#define fx_load16(at) (*(const fx_u16 *)(const void *)(at))
#define fx_load32(at) (*(const fx_u32 *)(const void *)(at))
#define fx_load64(at) (*(const fx_u64 *)(const void *)(at))
#else
FX_INLINE fx_u16 fx_load16(const fx_u8 *at)
{
	fx_u16 value;
	__builtin_memcpy(&value, at, sizeof(value));
	return value;
}

FX_INLINE fx_u32 fx_load32(const fx_u8 *at)
{
	fx_u32 value;
	__builtin_memcpy(&value, at, sizeof(value));
	return value;
}

FX_INLINE fx_u64 fx_load64(const fx_u8 *at)
{
	fx_u64 value;
	__builtin_memcpy(&value, at, sizeof(value));
	return value;
}
#endif

/* Loads of network byte order. */
FX_INLINE fx_u16 fx_load16_be(const fx_u8 *at)
{
	return __builtin_bswap16(fx_load16(at));
}

FX_INLINE fx_u32 fx_load32_be(const fx_u8 *at)
{
	return __builtin_bswap32(fx_load32(at));
}

/* Six octets as a number, the first one highest; reads at[0..7], so two octets must follow. */
FX_INLINE fx_u64 fx_load_mac(const fx_u8 *at)
{
	return __builtin_bswap64(fx_load64(at)) >> 16;
}

/* The same for an address that may be the last thing captured. */
FX_INLINE fx_u64 fx_load_mac_last(const fx_u8 *at)
{
	return (fx_u64)fx_load16_be(at) << 32 | fx_load32_be(at + 2);
}

FX_INLINE void fx_addr_put(fx_addr *out, fx_u64 first, fx_u64 second)
{
	__builtin_memcpy(out->octets, &first, sizeof(first));
	__builtin_memcpy(out->octets + 8, &second, sizeof(second));
}

/* ::ffff:a.b.c.d in two stores. */
FX_INLINE void fx_addr_put4(fx_addr *out, const fx_u8 *at)
{
	fx_addr_put(out, 0, (fx_u64)fx_load32(at) << 32 | 0xffff0000u);
}

FX_INLINE void fx_addr_put6(fx_addr *out, const fx_u8 *at)
{
	fx_addr_put(out, fx_load64(at), fx_load64(at + 8));
}

#endif
