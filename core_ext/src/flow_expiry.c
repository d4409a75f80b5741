/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows are over, and which one goes when the table is full: three wheels (open, FIN both ways, RST), each by the
 * second in which a flow was last seen. A packet costs the wheels nothing; a flow is looked at once a timeout.
 */
#include "flow_table.h"

static fx_i64 second_of(fx_i64 ns)
{
	return ns >= 0 ? ns / FX_SECOND_NS : -((-ns + FX_SECOND_NS - 1) / FX_SECOND_NS);
}

static fx_u32 *next_of(struct fx_flow_table *t, fx_u32 node)
{
	return node < t->capacity ? &t->flows[node].next : &t->anchors[node - t->capacity].next;
}

static fx_u32 *previous_of(struct fx_flow_table *t, fx_u32 node)
{
	return node < t->capacity ? &t->flows[node].previous :
				    &t->anchors[node - t->capacity].previous;
}

static fx_u32 anchor_of(const struct fx_flow_table *t, const struct fx_wheel *w, fx_i64 second)
{
	return t->capacity + w->first_anchor + (fx_u32)((fx_u64)second & (w->buckets - 1));
}

fx_u32 fx_wheel_buckets(fx_i64 timeout_ns, fx_i64 tick_ns)
{
	fx_i64 seconds = (timeout_ns + tick_ns) / FX_SECOND_NS + 4;
	fx_u32 buckets = 1;

	while (buckets < seconds)
		buckets *= 2;
	return buckets;
}

/* Time begins, or begins anew: there are no flows. */
void fx_wheels_start(struct fx_flow_table *t, fx_i64 now_ns)
{
	for (int i = 0; i < FX_WHEELS; i++)
		t->wheels[i].oldest_second = second_of(now_ns - t->wheels[i].timeout_ns);
}

static void unlink_flow(struct fx_flow_table *t, fx_u32 slot)
{
	struct fx_flow *f = &t->flows[slot];

	*next_of(t, f->previous) = f->next;
	*previous_of(t, f->next) = f->previous;
}

static void link_flow(struct fx_flow_table *t, struct fx_wheel *w, fx_u32 slot)
{
	struct fx_flow *f = &t->flows[slot];
	fx_i64 second = second_of(fx_flow_last_ns(f));
	fx_u32 anchor, last;

	if (second < w->oldest_second)
		second = w->oldest_second;
	anchor = anchor_of(t, w, second);
	last = *previous_of(t, anchor);
	f->previous = last;
	f->next = anchor;
	*next_of(t, last) = slot;
	*previous_of(t, anchor) = slot;
}

void fx_wheel_put(struct fx_flow_table *t, fx_u32 slot, int wheel)
{
	link_flow(t, &t->wheels[wheel], slot);
	t->wheels[wheel].flows++;
}

void fx_wheel_take(struct fx_flow_table *t, fx_u32 slot)
{
	unlink_flow(t, slot);
	t->wheels[fx_flow_wheel(&t->flows[slot])].flows--;
}

/* Puts a flow on the wheel of those that are closing. */
void fx_wheel_close(struct fx_flow_table *t, fx_u32 slot, enum fx_flow_bits closing)
{
	struct fx_flow *f = &t->flows[slot];

	fx_wheel_take(t, slot);
	f->bits = (fx_u8)((f->bits & (fx_u8) ~(FX_FLOW_CLOSING_FIN | FX_FLOW_CLOSING_RST)) |
			  (fx_u32)closing);
	fx_wheel_put(t, slot, fx_flow_wheel(f));
}

/* Moves a flow that was seen after its bucket's second to where it belongs; whether it did. */
static int moved_on(struct fx_flow_table *t, struct fx_wheel *w, fx_u32 slot, fx_i64 second)
{
	if (second_of(fx_flow_last_ns(&t->flows[slot])) <= second)
		return 0;
	unlink_flow(t, slot);
	link_flow(t, w, slot);
	return 1;
}

static int wheel_overdue(struct fx_flow_table *t, struct fx_wheel *w, fx_i64 now_ns, fx_u32 *slots,
			 int capacity)
{
	fx_i64 limit = second_of(now_ns - w->timeout_ns);
	fx_i64 second = w->oldest_second;
	int count = 0;

	/* All flows are within as many seconds as there are buckets. */
	if (w->flows == 0)
		second = limit;
	for (fx_u32 i = 0; second < limit && i < w->buckets; second++, i++) {
		fx_u32 anchor = anchor_of(t, w, second), slot = *next_of(t, anchor), next;

		for (; slot != anchor; slot = next) {
			next = t->flows[slot].next;
			__builtin_prefetch(&t->flows[next < t->capacity ? next : slot]);
			if (moved_on(t, w, slot, second))
				continue;
			if (count == capacity) {
				w->oldest_second = second;
				return count;
			}
			slots[count++] = slot;
		}
		if (count) { /* they are still in the bucket: the caller ends them and asks again */
			w->oldest_second = second;
			return count;
		}
	}
	if (limit > w->oldest_second)
		w->oldest_second = limit;
	for (fx_u32 anchor = anchor_of(t, w, limit), slot = *next_of(t, anchor), next;
	     slot != anchor && count < capacity; slot = next) {
		next = t->flows[slot].next;
		if (!moved_on(t, w, slot, limit) &&
		    now_ns - fx_flow_last_ns(&t->flows[slot]) > w->timeout_ns)
			slots[count++] = slot;
	}
	return count;
}

int fx_flows_overdue(struct fx_flow_table *t, fx_i64 now_ns, fx_u32 *slots, int capacity)
{
	for (int i = 0; i < FX_WHEELS; i++) {
		int count = wheel_overdue(t, &t->wheels[i], now_ns, slots, capacity);

		if (count)
			return count;
	}
	return 0;
}

fx_u32 fx_flow_oldest(struct fx_flow_table *t)
{
	if (t->active == 0)
		return FX_NO_SLOT;
	for (;;) {
		struct fx_wheel *oldest = NULL;
		fx_u32 slot;

		for (int i = FX_WHEELS - 1; i >= 0; i--) {
			struct fx_wheel *w = &t->wheels[i];

			if (w->flows == 0)
				continue;
			while (*next_of(t, anchor_of(t, w, w->oldest_second)) ==
			       anchor_of(t, w, w->oldest_second))
				w->oldest_second++;
			if (!oldest || w->oldest_second < oldest->oldest_second)
				oldest = w;
		}
		slot = *next_of(t, anchor_of(t, oldest, oldest->oldest_second));
		if (!moved_on(t, oldest, slot, oldest->oldest_second))
			return slot;
	}
}
