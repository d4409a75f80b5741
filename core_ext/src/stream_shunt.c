/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tap counted becomes the flows': at the end of every tick, and when a flow ends. Its stamps are of the
 * monotonic clock; the source says what lies between that and its own. At a clock step that is still what it was before, so
 * that no flow holds the step.
 */
#include <errno.h>

#include "flow_update.h"
#include "fx/error.h"
#include "stream.h"

enum {
	FX_PASS_EARLY_NS = FX_SECOND_NS /* before the active timeout: by then all is counted */
};

int fx_stream_shunt(fx_stream *s, int shunted_fd, int slots_fd)
{
	if (s->table.shunt)
		return fx_fail(-EALREADY, "shunting: this stream has a tap already");
	if (!s->source->stamps_minus_monotonic_ns)
		return fx_fail(-EINVAL, "shunting: only of live sources");
	/* Where every packet becomes a row none may be withheld. */
	return fx_shunt_open(shunted_fd, slots_fd,
			     s->options.packet_rows == FX_PACKET_ROWS_ALL ? FX_SHUNT_HEADERS :
									    FX_SHUNT_COUNT,
			     &s->table.shunt);
}

void fx_stream_shunt_switch(fx_stream *s, int takes_new)
{
	if (s->table.shunt)
		fx_shunt_switch(s->table.shunt, takes_new);
}

void fx_stream_shunt_stats(const fx_stream *s, fx_shunt_stats *out)
{
	*out = (fx_shunt_stats){ 0 };
	if (s->table.shunt)
		fx_shunt_stats_read(s->table.shunt, out);
}

/* Adds what is new in the slot to the flow it belongs to. */
static void fold(struct fx_stream *s, fx_u32 slot)
{
	fx_u32 owner = fx_shunt_owner(s->table.shunt, slot);
	struct fx_shunt_counts counts;

	if (fx_shunt_read(s->table.shunt, slot, &counts))
		fx_flow_fold(&s->table, owner >> 1, (int)(owner & 1), &counts,
			     counts.last_ns + s->folds_by_ns);
}

void fx_stream_fold(struct fx_stream *s)
{
	struct fx_flow_table *t = &s->table;
	const fx_u32 *slots;
	fx_u32 count = fx_shunt_used(t->shunt, &slots);

	for (fx_u32 i = 0; i < count; i++) {
		fx_u32 flow = fx_shunt_owner(t->shunt, slots[i]) >> 1;
		const struct fx_flow *f = &t->flows[flow];

		fold(s, slots[i]);
		if (s->tick_end_ns - f->first_ns > t->active_timeout_ns - FX_PASS_EARLY_NS ||
		    (f->side[0].more_pkts | f->side[1].more_pkts) >= FX_SIDE_PKTS_MAX / 2)
			fx_flow_pass(t, flow);
	}
}

void fx_stream_unshunt(struct fx_stream *s, fx_u32 slot)
{
	struct fx_flow_table *t = &s->table;

	for (int side = 0; side < 2; side++) {
		struct fx_side *of = &t->flows[slot].side[side];

		if (!fx_flow_is_late(&t->flows[slot], side) || !of->shunt_plus_1)
			continue;
		fx_shunt_pass(t->shunt, of->shunt_plus_1 - 1);
		fold(s, of->shunt_plus_1 - 1);
		fx_shunt_release(t->shunt, of->shunt_plus_1 - 1);
		of->shunt_plus_1 = 0;
	}
}

void fx_stream_unshunt_all(struct fx_stream *s)
{
	struct fx_flow_table *t = &s->table;
	const fx_u32 *slots;
	fx_u32 count = fx_shunt_used(t->shunt, &slots);

	fx_shunt_switch(t->shunt, 0);
	for (fx_u32 i = 0; i < count; i++)
		fx_shunt_pass(t->shunt, slots[i]);
	fx_shunt_settle();
	fx_stream_fold(s);
}
