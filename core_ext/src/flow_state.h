/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_state and history, with Zeek's meanings (Zeek's conn.log documentation; its TCP endpoint states).
 *
 * history: one letter for each first sight, upper case = originator, lower case = responder:
 *   S  SYN without ACK            H  SYN with ACK       A  pure ACK (no payload, SYN, FIN or RST)
 *   D  packet with payload        F  FIN                R  RST
 *   Q  SYN together with FIN or RST (then neither S, H, F nor R)
 *   ^  first letter: originator and responder were turned round
 * Zeek repeats S, H, F, R when their sequence number differs; here each letter comes once a direction, so that at
 * most 15 come. Flows that are not TCP have D only.
 *
 * Each TCP endpoint has a state; conn_state is read off the two:
 *   inactive     nothing seen                       partial      packets, but no SYN
 *   syn sent     SYN without an answer              established  SYN answered, or SYN+ACK sent
 *   syn+ack sent by the originator, no SYN seen     closed       FIN sent
 *   reset        RST sent (after FIN both ways an RST changes nothing)
 */
#ifndef FX_FLOW_STATE_H
#define FX_FLOW_STATE_H
#include "flow_record.h"
#include "fx/bytes.h"
#include "fx/parse_transport.h"

enum fx_tcp_flags {
	FX_FIN = 1,
	FX_SYN = 2,
	FX_RST = 4,
	FX_PSH = 8,
	FX_ACK = 16,
	FX_URG = 32,
	FX_ECE = 64,
	FX_CWR = 128
};

enum fx_tcp_state {
	FX_INACTIVE = 0,
	FX_SYN_SENT = 1,
	FX_SYN_ACK_SENT = 2,
	FX_PARTIAL = 3,
	FX_ESTABLISHED = 4,
	FX_CLOSED = 5,
	FX_RESET = 6
};

/* Bits of `seen` of a side, and with 1 added to the bit's number the code of the letter; + 7 = responder. */
enum fx_history_bits {
	FX_SAW_SYN = 1,
	FX_SAW_SYN_ACK = 2,
	FX_SAW_ACK = 4,
	FX_SAW_DATA = 8,
	FX_SAW_FIN = 16,
	FX_SAW_RST = 32,
	FX_SAW_MULTI = 64
};
enum { FX_HISTORY_LETTERS = 7, FX_HISTORY_TURNED = 15 };

enum fx_conn_state {
	FX_CONN_OTH,
	FX_CONN_S0,
	FX_CONN_S1,
	FX_CONN_S2,
	FX_CONN_S3,
	FX_CONN_SF,
	FX_CONN_REJ,
	FX_CONN_RSTO,
	FX_CONN_RSTR,
	FX_CONN_RSTOS0,
	FX_CONN_RSTRH,
	FX_CONN_SH,
	FX_CONN_SHR
};

/* History bits of a packet. */
FX_INLINE fx_u32 fx_history_bits(fx_u32 flags, fx_u32 payload_bytes)
{
	fx_u32 bits = payload_bytes ? FX_SAW_DATA : 0;

	if (fx_likely(!(flags & (FX_SYN | FX_FIN | FX_RST))))
		return bits | (payload_bytes == 0 && flags & FX_ACK ? FX_SAW_ACK : 0);
	if (flags & FX_SYN && flags & (FX_FIN | FX_RST))
		return bits | FX_SAW_MULTI;
	if (flags & FX_SYN)
		return bits | (flags & FX_ACK ? FX_SAW_SYN_ACK : FX_SAW_SYN);
	return bits | (flags & FX_FIN ? FX_SAW_FIN : 0) | (flags & FX_RST ? FX_SAW_RST : 0);
}

/* Appends the letters of the bits that the side has not had yet. */
FX_INLINE void fx_history_add(struct fx_flow *f, int side, fx_u32 bits)
{
	f->seen |= (fx_u16)(bits << 8 * side);
	while (bits) {
		fx_u32 letter = (fx_u32)__builtin_ctz(bits) + 1 + (fx_u32)side * FX_HISTORY_LETTERS;
		int used = f->history ? 64 - __builtin_clzll(f->history) : 0;

		f->history |= (fx_u64)letter << ((used + 3) & ~3);
		bits &= bits - 1;
	}
}

FX_INLINE fx_u32 fx_tcp_state(const struct fx_flow *f, int side)
{
	return f->tcp_state >> 4 * side & 15;
}

FX_INLINE void fx_tcp_state_put(struct fx_flow *f, int side, fx_u32 state)
{
	f->tcp_state = (fx_u8)((f->tcp_state & 0xfu << 4 * !side) | state << 4 * side);
}

/* Moves the endpoints on; needed for packets with SYN, FIN or RST and while the side is inactive. */
void fx_tcp_state_step(struct fx_flow *f, int side, fx_u32 flags, fx_u32 payload_bytes);

fx_u8 fx_flow_conn_state(const struct fx_flow *f);
void fx_flow_history(const struct fx_flow *f, fx_s16 *out);

#endif
