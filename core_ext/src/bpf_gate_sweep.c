/* SPDX-License-Identifier: Apache-2.0 */
/* What is over taken out of the gate's maps. */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "bpf_gate.h"
#include "fx/error.h"

/* What a sweep finds: what is over, the next end, which MACs are left. */
struct sweep {
	uint64_t now_ns, next_end_ns;
	struct fx_gate_octets macs;
	union gate_key *over;
	size_t count, room;
	int map;
};

static void sweep_one(fx_gate *gate, const union gate_key *key, const fx_gate_entry *entry,
		      void *state)
{
	struct sweep *sweep = state;

	(void)gate;
	if (entry->until_ns && entry->until_ns <= sweep->now_ns) {
		if (sweep->count == sweep->room) {
			size_t room = sweep->room ? 2 * sweep->room : 256;
			union gate_key *more = realloc(sweep->over, room * sizeof(*more));

			if (!more) { /* the rest stays for the next time */
				sweep->next_end_ns = 0;
				return;
			}
			sweep->over = more;
			sweep->room = room;
		}
		sweep->over[sweep->count++] = *key;
		return;
	}
	if (entry->until_ns && entry->until_ns < sweep->next_end_ns)
		sweep->next_end_ns = entry->until_ns;
	if (entry->kind == FX_GATE_MAC)
		gate_mark(&sweep->macs, entry->octets[5]);
}

int64_t fx_gate_sweep(fx_gate *gate)
{
	struct sweep sweep = { .now_ns = gate_now_ns(), .next_end_ns = UINT64_MAX };
	int64_t removed = 0;
	int code;

	if (sweep.now_ns < gate->next_end_ns)
		return 0;
	for (int map = 0; map < GATE_MAPS; map++) {
		int64_t seen = gate_each(gate, map, sweep_one, &sweep);

		if (seen < 0) {
			free(sweep.over);
			return fx_fail((int)seen, "sweeping the gate's %s: %s",
				       gate->maps[map].name, strerror((int)-seen));
		}
		gate->maps[map].held = (uint64_t)seen;
		for (size_t i = 0; i < sweep.count; i++) {
			if (bpf_map_delete_elem(gate->maps[map].fd, &sweep.over[i]) == 0) {
				gate->maps[map].held--;
				removed++;
			}
		}
		sweep.count = 0;
	}
	free(sweep.over);
	gate->next_end_ns = sweep.next_end_ns;
	gate->filters.mac = sweep.macs;
	code = gate_write_filters(gate);
	return code ? code : removed;
}
