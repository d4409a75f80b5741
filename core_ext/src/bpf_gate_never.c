/* SPDX-License-Identifier: Apache-2.0 */
/* What the gate never blocks. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf_gate.h"
#include "fx/error.h"

/* A key of the trie `never` and the octets that a key under it may begin (a MAC: end) with. */
static void never_key(const fx_gate_entry *entry, struct fx_gate_prefix *out,
		      struct fx_gate_filters *filters)
{
	union gate_key key;
	struct fx_gate_octets *filter = &filters->never_ip6;
	uint32_t at = 0, bits = entry->bits, last;

	memset(out, 0, sizeof(*out));
	out->bits = entry->kind == FX_GATE_PREFIX ? bits : FX_GATE_KEY_BITS;
	memcpy(out->octets, entry->octets, 16);
	if (entry->kind == FX_GATE_MAC) {
		gate_put_key(entry, GATE_ENTRIES, &key);
		memcpy(out->octets, key.addr.octets, 16);
		gate_mark(&filters->never_mac, entry->octets[5]);
		return;
	}
	if (out->bits >= FX_GATE_IP4_BITS && memcmp(entry->octets, gate_ip4, 12) == 0) {
		filter = &filters->never_ip4;
		at = 12;
	}
	bits = out->bits - 8 * at;
	last = entry->octets[at] | (bits < 8 ? 0xffu >> bits : 0);
	for (uint32_t octet = entry->octets[at]; octet <= last; octet++)
		gate_mark(filter, (uint8_t)octet);
}

static int in_never(const struct fx_gate_prefix *wanted, uint32_t count,
		    const struct fx_gate_prefix *key)
{
	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(&wanted[i], key, sizeof(*key)) == 0)
			return 1;
	}
	return 0;
}

/* Takes out of the trie what is not wanted any more. */
static int drop_others(int fd, const struct fx_gate_prefix *wanted, uint32_t count)
{
	struct fx_gate_prefix at, next;
	int more = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (more) {
		at = next;
		more = bpf_map_get_next_key(fd, &at, &next) == 0;
		if (!in_never(wanted, count, &at) && bpf_map_delete_elem(fd, &at) < 0)
			return -errno;
	}
	return 0;
}

int fx_gate_set_never(fx_gate *gate, const fx_gate_entry *keys, uint32_t count)
{
	struct fx_gate_prefix *wanted = calloc(count + 1, sizeof(*wanted));
	struct fx_gate_filters filters = { .mac = gate->filters.mac };
	uint8_t yes = 1;
	int code = wanted ? 0 : -ENOMEM;

	for (uint32_t i = 0; !code && i < count; i++) {
		never_key(&keys[i], &wanted[i], &filters);
		if (bpf_map_update_elem(gate->never_fd, &wanted[i], &yes, BPF_ANY) < 0)
			code = errno == ENOSPC ? -E2BIG : -errno;
	}
	if (!code) { /* new keys count from here on, old ones until they are out */
		gate->filters = filters;
		code = gate_write_filters(gate);
	}
	if (!code)
		code = drop_others(gate->never_fd, wanted, count);
	free(wanted);
	return code ? fx_fail(code, "%u keys that are never blocked: %s", count, strerror(-code)) :
		      0;
}
