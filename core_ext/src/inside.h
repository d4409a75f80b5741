/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are on our side: a few networks, compared one after the other. */
#ifndef FX_INSIDE_H
#define FX_INSIDE_H
#include "fx/abi.h"
#include "fx/hash.h"

enum { FX_INSIDE_MAX = 256 };

struct fx_inside_network {
	fx_u64 words[2], masks[2]; /* in network order */
};

struct fx_inside {
	fx_u32 count;
	struct fx_inside_network networks[FX_INSIDE_MAX];
};

/* -EINVAL with words when there are too many, or one is no network. */
int fx_inside_set(struct fx_inside *inside, const fx_network *networks, int count);

static inline int fx_inside_has(const struct fx_inside *inside, const fx_addr *address)
{
	const fx_u64 high = fx_load64(address->octets), low = fx_load64(address->octets + 8);

	for (fx_u32 i = 0; i < inside->count; i++) {
		const struct fx_inside_network *n = &inside->networks[i];

		if ((high & n->masks[0]) == n->words[0] && (low & n->masks[1]) == n->words[1])
			return 1;
	}
	return 0;
}

#endif
