/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: one DNS message, read as a query and as an answer; what we answer can be read. */
#include <stdlib.h>
#include <string.h>

#include "dns_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* A name's labels fill it, and none of its letters is a capital. */
static void check_name(const struct fx_dns_name *name)
{
	fx_u32 at = 0, labels = 0;

	while (name->octets[at]) {
		if (labels >= name->labels || name->starts[labels++] != at)
			abort();
		at += name->octets[at] + 1u;
	}
	if (at + 1 != name->length || labels != name->labels)
		abort();
	for (fx_u32 i = 0; i < name->length; i++)
		if (name->octets[i] >= 'A' && name->octets[i] <= 'Z')
			abort();
}

/* Ours is an answer of the right size to the question as it was asked, letter by letter. */
static void check_ours(const fx_u8 *message, const struct fx_dns_query *query, const fx_u8 *ours,
		       fx_u32 length)
{
	struct fx_dns_answer answer;

	if (length > query->udp_bytes || fx_load16_be(ours) != query->id)
		abort();
	if (!query->question_end)
		return;
	if (fx_dns_answer_read(ours, length, &answer) != FX_DNS_FINE ||
	    answer.question_end != query->question_end ||
	    memcmp(ours + FX_DNS_HEADER_BYTES, message + FX_DNS_HEADER_BYTES,
		   query->question_end - FX_DNS_HEADER_BYTES))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct fx_dns_block block = { .ttl = 1, .extended = FX_DNS_FILTERED };
	struct fx_dns_query query;
	struct fx_dns_answer answer;
	struct fx_dns_name name;
	fx_u8 out[FX_DNS_UDP_MAX];
	fx_u32 offset = size ? input[0] : 0;
	char text[1024];
	int fault;

	memset(text, 'x', sizeof(text));
	block.text = text;
	if (fx_dns_answer_read(input, (fx_u32)size, &answer) == FX_DNS_FINE)
		for (fx_u32 i = 0; i < answer.ttl_places; i++)
			if (answer.ttl_at[i] + 6u > answer.plain_end)
				abort();
	if (fx_dns_name_read(input, (fx_u32)size, &offset, 1, &name) == 0) {
		check_name(&name);
		if (offset > size)
			abort();
	}
	fault = fx_dns_query_read(input, (fx_u32)size, &query);
	if (fault == FX_DNS_DROP)
		return 0;
	if (query.question_end)
		check_name(&query.name);
	if (fault) {
		check_ours(input, &query, out,
			   fx_dns_build_fault(input, &query, fault, out, sizeof(out)));
		return 0;
	}
	block.mode = (enum fx_dns_mode)(input[0] % (FX_DNS_MODE_CUSTOM + 1));
	block.text_bytes = (fx_u16)(input[1] * 4);
	check_ours(input, &query, out, fx_dns_build_block(input, &query, &block, out, sizeof(out)));
	return 0;
}
