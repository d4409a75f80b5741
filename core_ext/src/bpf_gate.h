/* SPDX-License-Identifier: Apache-2.0 */
/* The gate's maps as bpf_gate.c (read) and bpf_gate_write.c (changed) share them. */
#ifndef BPF_GATE_H
#define BPF_GATE_H
#include "fx/bpf_abi.h"
#include "fx/gate.h"

enum { GATE_ENTRIES, GATE_PREFIXES4, GATE_PREFIXES6, GATE_MAPS };
enum { GATE_BATCH = 4096 };

struct gate_map {
	const char *name;
	int fd;
	/*
	 * A trie keeps one place free: a full one would not even take a key that it has (Linux
	 * before 6.13).
	 */
	uint32_t capacity;
	uint32_t key_bytes;
	uint64_t held; /* exact: the gate has one writer */
};

struct fx_gate {
	struct gate_map maps[GATE_MAPS];
	int never_fd, cpus_fd, filters_fd;
	struct fx_gate_filters filters; /* as last written */
	uint64_t next_end_ns; /* nothing is over before */
};

union gate_key {
	fx_addr addr;
	struct fx_gate_prefix4 prefix4;
	struct fx_gate_prefix prefix;
};

static const uint8_t gate_ip4[12] = { [10] = 0xff, [11] = 0xff };

typedef void gate_visit(fx_gate *gate, const union gate_key *key, const fx_gate_entry *entry,
			void *state);

uint64_t gate_now_ns(void);
int gate_map_of(const fx_gate_entry *entry);
void gate_put_key(const fx_gate_entry *entry, int map, union gate_key *key);
int64_t gate_each(fx_gate *gate, int map, gate_visit *visit, void *state);
void gate_mark(struct fx_gate_octets *filter, uint8_t octet);
int gate_write_filters(const fx_gate *gate);

#endif
