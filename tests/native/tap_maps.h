/* SPDX-License-Identifier: Apache-2.0 */
/* The tap's two maps, made without the tap: the test counts as its filter does. */
#ifndef TAP_MAPS_H
#define TAP_MAPS_H
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shunt.h"

enum { TAP_SLOTS = 8 };

struct tap_maps {
	int keys, slots;
	struct fx_shunt_slot *memory;
};

static int make_map(fx_u32 type, fx_u32 key, fx_u32 value, fx_u32 flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = key;
	a.value_size = value;
	a.max_entries = TAP_SLOTS;
	a.map_flags = flags;
	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
}

/* Whether this process may make them. */
static int make_tap_maps(struct tap_maps *out)
{
	out->keys = make_map(BPF_MAP_TYPE_HASH, sizeof(struct fx_shunt_key), sizeof(fx_u32), 0);
	out->slots = make_map(BPF_MAP_TYPE_ARRAY, sizeof(fx_u32), sizeof(struct fx_shunt_slot),
			      BPF_F_MMAPABLE);
	out->memory = mmap(NULL, TAP_SLOTS * sizeof(*out->memory), PROT_READ | PROT_WRITE,
			   MAP_SHARED, out->slots, 0);
	if (out->keys >= 0 && out->slots >= 0 && out->memory != MAP_FAILED)
		return 1;
	printf("no maps here: %s\n", strerror(errno));
	return 0;
}

static void end_tap_maps(struct tap_maps *maps)
{
	munmap(maps->memory, TAP_SLOTS * sizeof(*maps->memory));
	close(maps->keys);
	close(maps->slots);
}

#endif
