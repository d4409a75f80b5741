/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows are over, and which one goes when the table is full. Each flow has the second of its deadline in an array
 * of its own: two octets, which a packet overwrites and the end of a tick looks through, many to an instruction, in
 * groups whose lowest deadline may be due.
 * (Lists by second, even lazy ones, cost a cache miss a flow for every look at it and two for every change.)
 */
#include "flow_table.h"

enum {
	FX_DEADLINE_REBASE_S = 30000
}; /* deadlines are counted anew when they have grown by so much */

/* Time begins, or begins anew: there are no flows. */
void fx_deadlines_start(struct fx_flow_table *t, fx_i64 now_ns)
{
	t->deadline_base_s = now_ns / FX_SECOND_NS - FX_DEADLINE_SLACK_S;
	t->look_at = t->oldest_at = t->oldest_count = 0;
}

static void put_forward(fx_u16 *deadlines, fx_u32 count, fx_i64 seconds)
{
	for (fx_u32 i = 0; i < count; i++) {
		if (deadlines[i] != FX_NO_DEADLINE)
			deadlines[i] = deadlines[i] > seconds ? (fx_u16)(deadlines[i] - seconds) :
								0;
	}
}

/* Counts deadlines from a later second when they would not fit any more. */
void fx_deadlines_advance(struct fx_flow_table *t, fx_i64 now_ns)
{
	fx_i64 behind = now_ns / FX_SECOND_NS - FX_DEADLINE_SLACK_S - t->deadline_base_s;

	if (behind < FX_DEADLINE_REBASE_S)
		return;
	put_forward(t->deadlines, t->untouched, behind);
	put_forward(t->floors, t->untouched / FX_LOOK_SLOTS + 1, behind);
	t->deadline_base_s += behind;
	t->oldest_at = t->oldest_count = 0;
}

/* The lowest of FX_LOOK_SLOTS deadlines. */
FX_INLINE fx_u16 lowest_of(const fx_u16 *deadlines)
{
	fx_u16 lowest = FX_NO_DEADLINE;

	for (int i = 0; i < FX_LOOK_SLOTS; i++)
		lowest = deadlines[i] < lowest ? deadlines[i] : lowest;
	return lowest;
}

/* The first group from `group` on that may have a deadline not after `limit`, or one behind the last. */
static fx_u32 next_group(const struct fx_flow_table *t, fx_u32 group, fx_u16 limit)
{
	const fx_u32 groups = (t->untouched + FX_LOOK_SLOTS - 1) / FX_LOOK_SLOTS;

	while (group < groups && t->floors[group] > limit) {
		if (group % FX_LOOK_SLOTS == 0 && lowest_of(t->floors + group) > limit)
			group += FX_LOOK_SLOTS;
		else
			group++;
	}
	return group < groups ? group : groups;
}

static void prefetch_record(const struct fx_flow_table *t, fx_u32 slot)
{
	const char *flow = (const char *)&t->flows[slot], *cold = (const char *)&t->cold[slot];

	for (size_t at = 0; at < sizeof(struct fx_flow); at += 64)
		__builtin_prefetch(flow + at, 1);
	__builtin_prefetch(cold, 1);
	__builtin_prefetch(cold + sizeof(struct fx_flow_cold) - 1, 1);
}

/* Slots whose deadline is not after `limit`, from look_at on: up to `capacity`. Asks for their memory. */
static int collect_due(struct fx_flow_table *t, fx_u16 limit, fx_u32 *slots, int capacity)
{
	int count = 0;

	while (t->look_at < t->untouched) {
		fx_u32 here = t->look_at / FX_LOOK_SLOTS, group = next_group(t, here, limit);
		fx_u32 first = group * FX_LOOK_SLOTS;

		t->look_at = group > here ? first : t->look_at;
		if (t->look_at >= t->untouched)
			break;
		t->floors[group] = lowest_of(t->deadlines + first);
		if (t->floors[group] > limit)
			t->look_at = first + FX_LOOK_SLOTS;
		for (; t->look_at < first + FX_LOOK_SLOTS; t->look_at++) {
			if (t->deadlines[t->look_at] > limit)
				continue;
			if (count == capacity)
				return count;
			prefetch_record(t, t->look_at);
			slots[count++] = t->look_at;
		}
	}
	return count;
}

int fx_flows_overdue(struct fx_flow_table *t, fx_i64 now_ns, fx_u32 *slots, int capacity)
{
	/* In the second of its deadline a flow is over or not yet; at the begin of that second no flow is. */
	const int is_whole = now_ns % FX_SECOND_NS == 0;
	const fx_i64 second = now_ns / FX_SECOND_NS - t->deadline_base_s;
	const fx_u16 limit = second - is_whole < FX_NO_DEADLINE ? (fx_u16)(second - is_whole) :
								  FX_NO_DEADLINE - 1;
	int due, over = 0;

	do {
		due = collect_due(t, limit, slots, capacity);
		for (int i = 0; i < due; i++) {
			const struct fx_flow *f = &t->flows[slots[i]];

			if (t->deadlines[slots[i]] < second ||
			    now_ns - fx_flow_last_ns(f) > t->timeouts_ns[fx_flow_closing(f)])
				slots[over++] = slots[i];
		}
	} while (due && !over);
	if (over == 0)
		t->look_at = 0;
	return over;
}

/* Collects flows of the lowest deadline, in order of their slots. */
static void look_for_oldest(struct fx_flow_table *t)
{
	fx_u16 lowest = FX_NO_DEADLINE;

	for (fx_u32 at = 0; at < t->untouched; at += FX_LOOK_SLOTS) {
		fx_u16 here = lowest_of(t->deadlines + at);

		lowest = here < lowest ? here : lowest;
	}
	t->oldest_deadline = lowest;
	t->oldest_at = t->oldest_count = 0;
	for (fx_u32 slot = 0; slot < t->untouched && t->oldest_count < FX_OLDEST_SLOTS; slot++) {
		if (t->deadlines[slot] == lowest)
			t->oldest[t->oldest_count++] = slot;
	}
}

fx_u32 fx_flow_oldest(struct fx_flow_table *t)
{
	for (;;) {
		for (; t->oldest_at < t->oldest_count; t->oldest_at++) {
			fx_u32 slot = t->oldest[t->oldest_at];

			if (t->deadlines[slot] == t->oldest_deadline)
				return slot;
		}
		look_for_oldest(t);
	}
}
