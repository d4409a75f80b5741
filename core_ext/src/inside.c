/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are on our side: networks as masks. */
#include "inside.h"

#include <errno.h>
#include <string.h>

#include "fx/error.h"

enum { ADDRESS_BITS = 128 };

static struct fx_inside_network network_of(const fx_network *network)
{
	struct fx_inside_network n;
	fx_u8 mask[16];

	for (unsigned at = 0; at < sizeof(mask); at++) {
		unsigned left = network->bits > at * 8 ? network->bits - at * 8 : 0;

		mask[at] = (fx_u8)(left >= 8 ? 0xff : (0xff00u >> left) & 0xff);
	}
	memcpy(n.masks, mask, sizeof(mask));
	memcpy(n.words, network->address, sizeof(n.words));
	n.words[0] &= n.masks[0];
	n.words[1] &= n.masks[1];
	return n;
}

int fx_inside_set(struct fx_inside *inside, const fx_network *networks, int count)
{
	if (count < 0 || count > FX_INSIDE_MAX)
		return fx_fail(-EINVAL, "inside: %d networks, %d are the most", count,
			       FX_INSIDE_MAX);
	for (int i = 0; i < count; i++) {
		if (networks[i].bits > ADDRESS_BITS)
			return fx_fail(-EINVAL, "inside: a network of %u bits", networks[i].bits);
	}
	for (int i = 0; i < count; i++)
		inside->networks[i] = network_of(&networks[i]);
	inside->count = (fx_u32)count;
	return 0;
}
