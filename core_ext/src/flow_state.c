/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint states of a TCP flow, and what conn_state and history say of it; meanings in flow_state.h. */
#include "flow_state.h"

#include <string.h>

static void step_inactive(struct fx_flow *f, int side, fx_u32 flags, fx_u32 payload_bytes)
{
	fx_u32 peer = fx_tcp_state(f, !side), state = FX_INACTIVE;

	if (flags & FX_SYN) {
		if (side == FX_ORIG) {
			state = flags & FX_ACK ? FX_SYN_ACK_SENT : FX_SYN_SENT;
		} else {
			if (peer == FX_SYN_SENT)
				fx_tcp_state_put(f, FX_ORIG, FX_ESTABLISHED);
			state = FX_ESTABLISHED;
		}
	}
	if (flags & FX_FIN)
		state = FX_CLOSED;
	if (flags & FX_RST)
		state = FX_RESET;
	if (state == FX_INACTIVE) {
		/* Some stacks acknowledge a SYN before they answer it. */
		if (side == FX_RESP && payload_bytes == 0 && peer == FX_SYN_SENT)
			return;
		state = flags & FX_ACK && peer == FX_ESTABLISHED ? FX_ESTABLISHED : FX_PARTIAL;
	}
	fx_tcp_state_put(f, side, state);
}

static void step_open(struct fx_flow *f, int side, fx_u32 flags)
{
	fx_u32 peer = fx_tcp_state(f, !side);

	if (flags & FX_RST) {
		fx_tcp_state_put(f, side, FX_RESET);
	} else if (flags & FX_FIN) {
		fx_tcp_state_put(f, side, FX_CLOSED);
		/* A peer that sent FIN and then RST ended the flow normally after all. */
		if (peer == FX_RESET && f->seen >> 8 * !side & FX_SAW_FIN)
			fx_tcp_state_put(f, !side, FX_CLOSED);
	} else if (flags & FX_SYN && !(flags & FX_ACK) && peer == FX_INACTIVE &&
		   fx_tcp_state(f, side) == FX_PARTIAL) {
		fx_tcp_state_put(f, side, FX_SYN_SENT);
	}
}

void fx_tcp_state_step(struct fx_flow *f, int side, fx_u32 flags, fx_u32 payload_bytes)
{
	switch (fx_tcp_state(f, side)) {
	case FX_INACTIVE:
		step_inactive(f, side, flags, payload_bytes);
		break;
	case FX_SYN_SENT:
	case FX_SYN_ACK_SENT:
	case FX_PARTIAL:
	case FX_ESTABLISHED:
		step_open(f, side, flags);
		break;
	case FX_CLOSED:
		if (flags & FX_RST && fx_tcp_state(f, !side) != FX_CLOSED)
			fx_tcp_state_put(f, side, FX_RESET);
		break;
	default:
		break;
	}
}

static fx_u8 tcp_conn_state(const struct fx_flow *f)
{
	fx_u32 orig = fx_tcp_state(f, FX_ORIG), resp = fx_tcp_state(f, FX_RESP);
	int orig_absent = orig == FX_INACTIVE || orig == FX_PARTIAL;
	int resp_absent = resp == FX_INACTIVE || resp == FX_PARTIAL;

	if (resp == FX_RESET) {
		fx_u64 payload = f->side[FX_ORIG].payload_bytes + f->side[FX_RESP].payload_bytes;

		if (orig == FX_SYN_SENT || orig == FX_SYN_ACK_SENT ||
		    (orig == FX_RESET && payload == 0))
			return FX_CONN_REJ;
		return orig_absent ? FX_CONN_RSTRH : FX_CONN_RSTR;
	}
	if (orig == FX_RESET)
		return resp_absent ? FX_CONN_RSTOS0 : FX_CONN_RSTO;
	if (orig == FX_CLOSED && resp == FX_CLOSED)
		return FX_CONN_SF;
	if (orig == FX_CLOSED)
		return resp_absent ? FX_CONN_SH : FX_CONN_S2;
	if (resp == FX_CLOSED)
		return orig_absent ? FX_CONN_SHR : FX_CONN_S3;
	if (orig == FX_SYN_SENT && resp == FX_INACTIVE)
		return FX_CONN_S0;
	return orig == FX_ESTABLISHED && resp == FX_ESTABLISHED ? FX_CONN_S1 : FX_CONN_OTH;
}

fx_u8 fx_flow_conn_state(const struct fx_flow *f)
{
	switch (fx_flow_proto(f)) {
	case FX_PROTO_TCP:
		return tcp_conn_state(f);
	case FX_PROTO_UDP:
		if (f->side[FX_ORIG].pkts)
			return f->side[FX_RESP].pkts ? FX_CONN_SF : FX_CONN_S0;
		return FX_CONN_SHR;
	default:
		return FX_CONN_OTH;
	}
}

void fx_flow_history(const struct fx_flow *f, fx_s16 *out)
{
	static const char letters[16] = "?SHADFRQshadfrq^";
	fx_u64 left = f->history;

	memset(out, 0, sizeof(*out));
	for (int i = 0; left; i++, left >>= 4)
		out->text[i] = letters[left & 15];
}
