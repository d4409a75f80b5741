/* SPDX-License-Identifier: Apache-2.0 */
/* What flows did in one tick: one expression a column of interval_columns.def, a loop a column. */
#include "flow_columns.h"
#include "flow_state.h"

struct fx_row {
	const struct fx_flow *f;
	const struct fx_flow_cold *c;
};

#define VALUE(type, name, expression)                                        \
	static inline fx_##type get_##name(const struct fx_row *r)           \
	{                                                                    \
		const struct fx_flow *f __attribute__((unused)) = r->f;      \
		const struct fx_flow_cold *c __attribute__((unused)) = r->c; \
		return (expression);                                         \
	}

static inline fx_u64 mac_of(const fx_u16 *words)
{
	return words[0] | (fx_u64)words[1] << 16 | (fx_u64)words[2] << 32;
}

static inline int has_ports(const struct fx_flow *f)
{
	return fx_flow_proto(f) != FX_PROTO_ICMP && fx_flow_proto(f) != FX_PROTO_ICMP6;
}

VALUE(u64, flow_id, c->flow_id)
VALUE(i64, first_ns, f->first_ns)
VALUE(i64, last_ns, fx_flow_last_ns(f))
VALUE(addr, orig_addr, f->addr[FX_ORIG])
VALUE(addr, resp_addr, f->addr[FX_RESP])
VALUE(u64, orig_mac, mac_of(c->mac[FX_ORIG]))
VALUE(u64, resp_mac, mac_of(c->mac[FX_RESP]))
VALUE(u16, orig_port, (fx_u16)f->tail)
VALUE(u16, resp_port, has_ports(f) ? (fx_u16)(f->tail >> 16) : f->side[FX_ORIG].icmp_code)
VALUE(u16, vlan_id, c->vlan_id)
VALUE(u16, iface, c->iface)
VALUE(u8, proto, fx_flow_proto(f))
VALUE(u8, ip_version, fx_flow_ip_version(f))
VALUE(u8, conn_state, fx_flow_conn_state(f))
VALUE(u8, is_new, !!(f->bits & FX_FLOW_BEGUN_IN_TICK))
VALUE(u8, ended, c->end_reason)
VALUE(u8, orig_tcp_flags, f->side[FX_ORIG].tcp_flags)
VALUE(u8, resp_tcp_flags, f->side[FX_RESP].tcp_flags)
VALUE(u32, orig_pkts, fx_side_pkts(&f->side[FX_ORIG]) - f->base_pkts[FX_ORIG])
VALUE(u32, resp_pkts, fx_side_pkts(&f->side[FX_RESP]) - f->base_pkts[FX_RESP])
VALUE(u64, orig_bytes, fx_side_bytes(&f->side[FX_ORIG]) - f->base_bytes[FX_ORIG])
VALUE(u64, resp_bytes, fx_side_bytes(&f->side[FX_RESP]) - f->base_bytes[FX_RESP])
VALUE(u64, orig_payload_total, fx_side_payload_bytes(&f->side[FX_ORIG]))
VALUE(u64, resp_payload_total, fx_side_payload_bytes(&f->side[FX_RESP]))
VALUE(u32, orig_pkts_total, fx_side_pkts(&f->side[FX_ORIG]))
VALUE(u32, resp_pkts_total, fx_side_pkts(&f->side[FX_RESP]))

#define FX_COLUMN(type, name, unit, meaning)                                          \
	static void put_##name(const struct fx_row *rows, fx_u32 count, void *column) \
	{                                                                             \
		fx_##type *out = column;                                              \
		for (fx_u32 i = 0; i < count; i++)                                    \
			out[i] = get_##name(&rows[i]);                                \
	}
#include "fx/interval_columns.def"
#undef FX_COLUMN

struct fx_interval_column {
	void (*put)(const struct fx_row *rows, fx_u32 count, void *column);
	fx_u32 size;
};

#define FX_COLUMN(type, name, unit, meaning) { put_##name, sizeof(fx_##type) },
static const struct fx_interval_column interval_columns[] = {
#include "fx/interval_columns.def"
};
#undef FX_COLUMN

void fx_interval_rows_put(fx_batch *batch, const struct fx_flow_table *t, const fx_u32 *slots,
			  fx_u32 count)
{
	struct fx_batch_table *table = &batch->tables[FX_INTERVALS];
	struct fx_row rows[FX_CHUNK_ROWS];

	for (fx_u32 i = 0; i < count; i++)
		rows[i] = (struct fx_row){ &t->flows[slots[i]], &t->cold[slots[i]] };
	for (int i = 0; i < table->column_count; i++) {
		if (table->columns[i])
			interval_columns[i].put(rows, count,
						(fx_u8 *)table->columns[i] +
							(size_t)table->rows *
								interval_columns[i].size);
	}
	table->rows += count;
}
