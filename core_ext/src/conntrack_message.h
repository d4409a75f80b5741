/* SPDX-License-Identifier: Apache-2.0 */
/* What a message of ctnetlink says about address translation. */
#ifndef FX_CONNTRACK_MESSAGE_H
#define FX_CONNTRACK_MESSAGE_H
#include "inside.h"
#include "nat_table.h"

enum { FX_CONNTRACK_PAIRS = 2 };

/*
 * The attributes of a conntrack entry, which are what follows struct nfgenmsg: writes the views from outside that it
 * has, and what they are inside; how many, 0 = nothing is translated, -1 = it is not understood. Of a connection that
 * is led back inside, both views.
 */
int fx_conntrack_pairs(const fx_u8 *at, const fx_u8 *end, const struct fx_inside *inside,
		       struct fx_nat_pair *out);

#endif
