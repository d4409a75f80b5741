/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: one frame. The first two octets choose link type and wire length, the rest is it. */
#include <stdlib.h>
#include <string.h>

#include "fx/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static const fx_u16 linktypes[] = { 1, 0, 12, 101, 108, 113, 276, 229, 147, 9 };
	struct fx_packet zeroed, filled, general;
	fx_u16 linktype;
	fx_u32 wire;

	if (size < 2)
		return 0;
	linktype = linktypes[input[0] % (sizeof(linktypes) / sizeof(linktypes[0]))];
	wire = (fx_u32)(input[1] < 128 ? size - 2 : size - 2 + input[1]);
	input += 2;
	size -= 2;
	memset(&zeroed, 0, sizeof(zeroed));
	memset(&filled, 0xff, sizeof(filled));
	memset(&general, 0xff, sizeof(general));
	filled.time_ns = general.time_ns = 0;
	filled.iface = general.iface = 0;
	fx_parse_frame(input, input + size, wire, linktype, &zeroed);
	fx_parse_frame(input, input + size, wire, linktype, &filled);
	fx_parse_any(input, input + size, wire, linktype, &general);
	if (memcmp(&zeroed, &filled, sizeof(zeroed)) || memcmp(&zeroed, &general, sizeof(zeroed)))
		abort(); /* a column is not set, or the fast path differs */
	if (zeroed.payload_offset && zeroed.payload_offset >= size)
		abort();
	if (zeroed.ip_version && zeroed.payload_bytes > zeroed.ip_bytes)
		abort();
	return 0;
}
