/* SPDX-License-Identifier: Apache-2.0 */
/* The flows of a batch as EVE events of type `flow`, newline JSON, all in one call. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "batch.h"
#include "flow_columns.h"
#include "flow_record.h"
#include "flow_state.h"
#include "fx/error.h"

enum { FX_MICROSECOND_NS = 1000, FX_DAY_S = 86400, FX_DATE_CHARS = 10 };

/* The columns that the lines are made of. */
struct line_columns {
	const fx_u64 *flow_id, *orig_mac, *orig_pkts, *resp_pkts, *orig_bytes, *resp_bytes;
	const fx_i64 *first_ns, *last_ns;
	const fx_addr *orig_addr, *resp_addr;
	const fx_u16 *orig_port, *resp_port, *vlan_id;
	const fx_u8 *proto, *conn_state, *end_reason;
	const fx_s16 *history;
	const fx_s32 *community_id; /* NULL = not chosen */
};

/* Where characters go, and the date put last: most stamps are of one day. */
struct writer {
	char *at;
	fx_i64 day;
	char date[FX_DATE_CHARS];
};

static void put_text(struct writer *w, const char *text)
{
	size_t length = strlen(text);

	memcpy(w->at, text, length);
	w->at += length;
}

static void put_number(struct writer *w, fx_u64 value)
{
	char digits[20];
	int at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	memcpy(w->at, digits + at, sizeof(digits) - (size_t)at);
	w->at += sizeof(digits) - (size_t)at;
}

static void put_digits(char *at, fx_u64 value, int count)
{
	while (count--) {
		at[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* Date of a day since 1970-01-01 in the Gregorian calendar; years of 365.2425 days begin in March. */
static void put_date(char *at, fx_i64 day)
{
	fx_i64 shifted = day + 719468, era = shifted / 146097, of_era = shifted - era * 146097;
	fx_i64 year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	fx_i64 of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	fx_i64 month = (5 * of_year + 2) / 153, of_month = of_year - (153 * month + 2) / 5 + 1;
	fx_i64 year = year_of_era + era * 400 + (month >= 10);

	put_digits(at, (fx_u64)year, 4);
	at[4] = '-';
	put_digits(at + 5, (fx_u64)(month < 10 ? month + 3 : month - 9), 2);
	at[7] = '-';
	put_digits(at + 8, (fx_u64)of_month, 2);
}

/* "2026-11-23T12:00:00.000000+0000" in quotes. */
static void put_time(struct writer *w, fx_i64 time_ns)
{
	fx_i64 seconds = time_ns / FX_SECOND_NS, day = seconds / FX_DAY_S,
	       rest = seconds % FX_DAY_S;
	fx_i64 microseconds = time_ns % FX_SECOND_NS / FX_MICROSECOND_NS;
	char *at = w->at;

	if (day != w->day) {
		w->day = day;
		put_date(w->date, day);
	}
	*at++ = '"';
	memcpy(at, w->date, FX_DATE_CHARS);
	memcpy(at + 10, "T00:00:00.000000+0000\"", 22);
	put_digits(at + 11, (fx_u64)(rest / 3600), 2);
	put_digits(at + 14, (fx_u64)(rest / 60 % 60), 2);
	put_digits(at + 17, (fx_u64)(rest % 60), 2);
	put_digits(at + 20, (fx_u64)microseconds, 6);
	w->at = at + 32;
}

static void put_addr(struct writer *w, const fx_addr *addr)
{
	static const fx_u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	*w->at++ = '"';
	if (memcmp(addr->octets, mapped, sizeof(mapped)) == 0) {
		for (int i = 12; i < 16; i++) {
			put_number(w, addr->octets[i]);
			*w->at++ = '.';
		}
		w->at[-1] = '"';
		return;
	}
	inet_ntop(AF_INET6, addr->octets, w->at, INET6_ADDRSTRLEN);
	w->at += strlen(w->at);
	*w->at++ = '"';
}

static void put_mac(struct writer *w, fx_u64 mac)
{
	static const char hex[] = "0123456789abcdef";

	*w->at++ = '"';
	for (int shift = 40; shift >= 0; shift -= 8) {
		*w->at++ = hex[mac >> (shift + 4) & 15];
		*w->at++ = hex[mac >> shift & 15];
		*w->at++ = ':';
	}
	w->at[-1] = '"';
}

static void put_proto(struct writer *w, fx_u8 proto)
{
	*w->at++ = '"';
	switch (proto) {
	case FX_PROTO_TCP:
		put_text(w, "TCP");
		break;
	case FX_PROTO_UDP:
		put_text(w, "UDP");
		break;
	case FX_PROTO_ICMP:
		put_text(w, "ICMP");
		break;
	case FX_PROTO_ICMP6:
		put_text(w, "ICMPv6");
		break;
	default:
		put_number(w, proto);
	}
	*w->at++ = '"';
}

/* EVE's word: new = no answer yet, established, closed = TCP that FIN both ways or RST ended. */
static const char *eve_state(fx_u8 proto, fx_u8 conn_state, fx_u64 resp_pkts)
{
	if (proto == FX_PROTO_TCP) {
		switch (conn_state) {
		case FX_CONN_SF:
		case FX_CONN_REJ:
		case FX_CONN_RSTO:
		case FX_CONN_RSTR:
		case FX_CONN_RSTOS0:
		case FX_CONN_RSTRH:
			return "closed";
		default:
			break;
		}
	}
	return resp_pkts ? "established" : "new";
}

static const char *eve_reason(fx_u8 end_reason)
{
	switch (end_reason) {
	case FX_END_IDLE:
	case FX_END_ACTIVE:
		return "timeout";
	case FX_END_FIN:
	case FX_END_RST:
	case FX_END_PORT_REUSE:
		return "shutdown";
	default:
		return "forced";
	}
}

static const char *const conn_state_names[] = { "OTH",	 "S0",	"S1",	"S2",	"S3",
						"SF",	 "REJ", "RSTO", "RSTR", "RSTOS0",
						"RSTRH", "SH",	"SHR" };
static const char *const end_reason_names[] = {
	"", "idle", "active", "fin", "rst", "evicted", "end_of_input", "clock_step", "port_reuse"
};

/* Who, where and which flow. */
static void put_head(struct writer *w, const struct line_columns *c, fx_u32 i, const char *in_iface)
{
	put_text(w, "{\"timestamp\":");
	put_time(w, c->last_ns[i]);
	put_text(w, ",\"flow_id\":");
	put_number(w, c->flow_id[i]);
	if (*in_iface) {
		put_text(w, ",\"in_iface\":\"");
		put_text(w, in_iface);
		*w->at++ = '"';
	}
	put_text(w, ",\"event_type\":\"flow\",\"src_ip\":");
	put_addr(w, &c->orig_addr[i]);
	put_text(w, ",\"src_port\":");
	put_number(w, c->orig_port[i]);
	put_text(w, ",\"dest_ip\":");
	put_addr(w, &c->resp_addr[i]);
	put_text(w, ",\"dest_port\":");
	put_number(w, c->resp_port[i]);
	if (c->orig_mac[i]) {
		put_text(w, ",\"src_mac\":");
		put_mac(w, c->orig_mac[i]);
	}
	put_text(w, ",\"proto\":");
	put_proto(w, c->proto[i]);
	if (c->community_id) {
		put_text(w, ",\"community_id\":\"");
		put_text(w, c->community_id[i].text);
		*w->at++ = '"';
	}
}

/* What went through it and how it ended. */
static void put_flow(struct writer *w, const struct line_columns *c, fx_u32 i)
{
	put_text(w, ",\"flow\":{\"pkts_toserver\":");
	put_number(w, c->orig_pkts[i]);
	put_text(w, ",\"pkts_toclient\":");
	put_number(w, c->resp_pkts[i]);
	put_text(w, ",\"bytes_toserver\":");
	put_number(w, c->orig_bytes[i]);
	put_text(w, ",\"bytes_toclient\":");
	put_number(w, c->resp_bytes[i]);
	put_text(w, ",\"start\":");
	put_time(w, c->first_ns[i]);
	put_text(w, ",\"end\":");
	put_time(w, c->last_ns[i]);
	put_text(w, ",\"age\":");
	put_number(w, (fx_u64)(c->last_ns[i] - c->first_ns[i]) / FX_SECOND_NS);
	put_text(w, ",\"state\":\"");
	put_text(w, eve_state(c->proto[i], c->conn_state[i], c->resp_pkts[i]));
	put_text(w, "\",\"reason\":\"");
	put_text(w, eve_reason(c->end_reason[i]));
	put_text(w, "\",\"end_reason\":\"");
	put_text(w, end_reason_names[c->end_reason[i]]);
	put_text(w, "\",\"conn_state\":\"");
	put_text(w, conn_state_names[c->conn_state[i]]);
	*w->at++ = '"';
	if (c->history[i].text[0]) {
		put_text(w, ",\"history\":\"");
		put_text(w, c->history[i].text);
		*w->at++ = '"';
	}
	if (c->vlan_id[i]) {
		put_text(w, ",\"vlan\":");
		put_number(w, c->vlan_id[i]);
	}
	put_text(w, "}}\n");
}

#define NEED(name)                                                                       \
	do {                                                                             \
		c.name = columns[FX_FLOW_COLUMN_##name];                                 \
		if (!c.name)                                                             \
			return fx_fail(-EINVAL, "flow lines need the column %s", #name); \
	} while (0)

int64_t fx_batch_flow_lines(const fx_batch *batch, const char *in_iface, char *out,
			    uint64_t capacity)
{
	void *const *columns = batch->tables[FX_FLOWS].columns;
	fx_u32 rows = batch->tables[FX_FLOWS].rows;
	struct writer w = { .at = out, .day = -1 };
	struct line_columns c;

	if (capacity / (FX_FLOW_LINE_BYTES + strlen(in_iface)) < rows)
		return fx_fail(-ENOSPC, "flow lines: no room for %u lines", rows);
	NEED(flow_id);
	NEED(orig_mac);
	NEED(orig_pkts);
	NEED(resp_pkts);
	NEED(orig_bytes);
	NEED(resp_bytes);
	NEED(first_ns);
	NEED(last_ns);
	NEED(orig_addr);
	NEED(resp_addr);
	NEED(orig_port);
	NEED(resp_port);
	NEED(vlan_id);
	NEED(proto);
	NEED(conn_state);
	NEED(end_reason);
	NEED(history);
	c.community_id = columns[FX_FLOW_COLUMN_community_id];
	for (fx_u32 i = 0; i < rows; i++) {
		put_head(&w, &c, i, in_iface);
		put_flow(&w, &c, i);
	}
	return w.at - out;
}
