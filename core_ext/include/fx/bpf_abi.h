/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of the extension fortress_core._bpf, as plain declarations that cffi reads as they stand.
 *
 * A kernel program is one file bpf/NAME.bpf.c. The build compiles it to fortress_core/bpf/NAME.bpf.o
 * (`clang -target bpf -mcpu=v3 -g`, headers of include/fx and bpf/ at hand), and
 * `fortress_core.bpf_object.BpfObject.load("NAME", entries={"map": 4096}, constants={"limit": 8})`
 * loads it: maps get those sizes, `const volatile` globals those values.
 * What is special to one program has verbs of its own below, in a src/bpf_NAME.c.
 *
 * Functions return 0, a file descriptor or a count, or -errno; fx_last_error() has the words
 * (thread-local). Lines that begin with '#' are dropped before cffi sees this file.
 */
#ifndef FX_BPF_ABI_H
#define FX_BPF_ABI_H
#include <stdint.h>

typedef struct fx_bpf fx_bpf;

const char *fx_last_error(void);

/* An object file, opened but not loaded: sizes and constants may be set until fx_bpf_load(). */
int fx_bpf_open(const char *path, fx_bpf **out);
int fx_bpf_set_entries(fx_bpf *object, const char *map, uint32_t entries);
int fx_bpf_set_constant(fx_bpf *object, const char *name, uint64_t value);
/* Makes the maps and has the kernel check the programs; on failure the words hold its log's end. */
int fx_bpf_load(fx_bpf *object);
/* Descriptors belong to the object and end with it: who hands one on duplicates it. */
int fx_bpf_program_fd(const fx_bpf *object, const char *name);
int fx_bpf_map_fd(const fx_bpf *object, const char *name);
/* The number that the kernel gave a program: `ip link` shows it, until the next boot. */
int fx_bpf_program_id(int program_fd);
void fx_bpf_close(fx_bpf *object);

/* XDP programs on interfaces of this network namespace. */
enum fx_xdp_mode { FX_XDP_NATIVE = 1, FX_XDP_GENERIC = 2 };

/*
 * Attaches, in the driver if it can, else before the kernel's stack; returns an enum fx_xdp_mode.
 * Never replaces another's program (-EBUSY), unless it is the one with the id that was told: names
 * of other processes' programs the kernel tells only CAP_SYS_ADMIN. With keeps_whole not in a driver
 * that would get no super-frames any more (veth), where the kernel takes them whole (Linux 6.9).
 */
int fx_xdp_attach(int program_fd, int ifindex, uint32_t replaced_id, int keeps_whole);
/* Takes the program off; -ENOENT if another or none is there. */
int fx_xdp_detach(int program_fd, int ifindex);

/* The gate's maps: bpf/gate.bpf.c. One thread at a time. */
typedef struct fx_gate fx_gate;

enum fx_gate_kinds { FX_GATE_ADDRESS = 0, FX_GATE_PREFIX = 1, FX_GATE_MAC = 2 };

typedef struct {
	uint8_t octets[16]; /* address, IPv4 as ::ffff:a.b.c.d; a MAC in the first six */
	uint32_t kind; /* enum fx_gate_kinds */
	uint32_t bits; /* of a prefix, 96 more for IPv4 */
	uint32_t limits; /* 0 = drops, 1 = holds to rates */
	uint32_t interval_ns[3]; /* between SYN, UDP, ICMP: 0 = no limit, above 10^9 = none pass */
	uint64_t until_ns; /* CLOCK_BOOTTIME, 0 = without end */
	uint64_t hits; /* frames refused */
} fx_gate_entry;

typedef struct {
	const char *name;
	const char *action; /* PASS or DROP */
	const char *meaning;
} fx_gate_counter;

int fx_gate_new(fx_bpf *object, fx_gate **out);
void fx_gate_free(fx_gate *gate);
/*
 * Puts entries in, all or none of them; of a key that is there already the time, action and rates are
 * replaced and hits go on; keys in a call differ. -E2BIG = a map is full, also after what is over was taken out.
 */
int fx_gate_add(fx_gate *gate, const fx_gate_entry *entries, uint32_t count);
/* How many of these keys were there. */
int64_t fx_gate_remove(fx_gate *gate, const fx_gate_entry *keys, uint32_t count);
/* Takes out what is over, returns how many; does nothing until the next one is. */
int64_t fx_gate_sweep(fx_gate *gate);
/* Entries in all, those that are over and not yet swept included. */
uint64_t fx_gate_held(const fx_gate *gate);
/* Writes up to `capacity` entries, returns how many there are. */
int64_t fx_gate_list(fx_gate *gate, fx_gate_entry *out, uint64_t capacity);
/* Makes these keys, and no others, the ones that are never blocked. */
int fx_gate_set_never(fx_gate *gate, const fx_gate_entry *keys, uint32_t count);
/* The counters' names in order; returns how many. Their values, summed over the processors. */
int fx_gate_counter_names(const fx_gate_counter **out);
int fx_gate_counters(const fx_gate *gate, uint64_t *out);

#endif
