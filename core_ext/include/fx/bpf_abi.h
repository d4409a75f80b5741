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
void fx_bpf_close(fx_bpf *object);

#endif
