/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads DNS messages as the core does, for tests. A line of standard input is a word and a message in hexadecimal; a
 * line is printed for each:
 *     query  FAULT ID FLAGS TYPE CLASS UDP_BYTES EDNS DO LABELS NAME
 *     answer FAULT ID FLAGS RCODE TYPE CLASS RECORDS PLACES TTL NEGATIVE_TTL PLAIN_END
 *     owner  NEXT_OFFSET NAME of the first record, "-" = none that can be read
 *     0 to 4 the answer to a query whose name is blocked in that mode, or the refusal of it, in hexadecimal; "-" = none
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_build.h"

enum { LINE_BYTES = 2 * 65536 + 32 };

static const char title[] = "L\xc3\xafst of \xe2\x82\xac";

static fx_u32 read_hex(const char *text, fx_u8 *out)
{
	fx_u32 length = 0;
	unsigned octet;

	while (sscanf(text + 2 * length, "%2x", &octet) == 1)
		out[length++] = (fx_u8)octet;
	return length;
}

static void print_hex(const fx_u8 *octets, fx_u32 length)
{
	if (!length)
		putchar('-');
	for (fx_u32 i = 0; i < length; i++)
		printf("%02x", octets[i]);
	putchar('\n');
}

static void print_query(const fx_u8 *message, fx_u32 length)
{
	struct fx_dns_query q = { 0 };
	int fault = fx_dns_query_read(message, length, &q);

	printf("%d %u %u ", fault, q.id, q.flags);
	if (!q.question_end) {
		puts("-");
		return;
	}
	printf("%u %u %u %u %u %u ", q.type, q.class, q.udp_bytes, q.has_edns, q.wants_dnssec,
	       q.name.labels);
	print_hex(q.name.octets, q.name.length);
}

static void print_answer(const fx_u8 *message, fx_u32 length)
{
	struct fx_dns_answer a = { 0 };
	int fault = fx_dns_answer_read(message, length, &a);

	printf("%d %u %u %u %u %u %u %u %u %u %u\n", fault, a.id, a.flags, a.rcode, a.type, a.class,
	       a.records, a.ttl_places, a.ttl, a.negative_ttl, a.plain_end);
}

static void print_owner(const fx_u8 *message, fx_u32 length)
{
	struct fx_dns_answer a;
	struct fx_dns_name name;
	fx_u32 offset;

	if (fx_dns_answer_read(message, length, &a) < 0) {
		puts("-");
		return;
	}
	offset = a.question_end;
	if (fx_dns_name_read(message, length, &offset, 1, &name) < 0) {
		puts("-");
		return;
	}
	printf("%u ", offset);
	print_hex(name.octets, name.length);
}

static void print_blocked(const fx_u8 *message, fx_u32 length, int mode)
{
	struct fx_dns_block block = { .mode = (enum fx_dns_mode)mode,
				      .ttl = 77,
				      .extended = FX_DNS_BLOCKED,
				      .text = title,
				      .text_bytes = sizeof(title) - 1,
				      .ipv4 = { 192, 0, 2, 9 },
				      .ipv6 = { 0x20, 1, 0xd, 0xb8, [15] = 9 } };
	fx_u8 out[FX_DNS_UDP_MAX];
	struct fx_dns_query q;
	int fault = fx_dns_query_read(message, length, &q);

	print_hex(out, fault ? fx_dns_build_fault(message, &q, fault, out, sizeof(out)) :
			       fx_dns_build_block(message, &q, &block, out, sizeof(out)));
}

int main(void)
{
	static char line[LINE_BYTES];
	static fx_u8 message[LINE_BYTES / 2];

	while (fgets(line, sizeof(line), stdin)) {
		const char *hex = strchr(line, ' ');
		fx_u32 length = hex ? read_hex(hex + 1, message) : 0;
		fx_u8 *exact =
			malloc(length ? length : 1); /* the sanitizer sees what is read behind it */

		memcpy(exact, message, length);
		if (*line == 'q')
			print_query(exact, length);
		else if (*line == 'a')
			print_answer(exact, length);
		else if (*line == 'o')
			print_owner(exact, length);
		else
			print_blocked(exact, length, *line - '0');
		free(exact);
	}
	return 0;
}
