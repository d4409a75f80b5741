/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of kernel programs: opened, sized, loaded, closed; libbpf's warnings become our words. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fx/bpf_abi.h"
#include "fx/error.h"

struct fx_bpf {
	struct bpf_object *object;
	char path[512];
};

/* What libbpf warned of since the last forget(): its end, which is where the reason stands. */
static _Thread_local char told[768];

static int keep(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char line[512];
	size_t have = strlen(told), length;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, arguments);
	length = strlen(line);
	if (have + length >= sizeof(told)) {
		size_t cut = have + length + 1 - sizeof(told);

		cut = cut > have ? have : cut;
		memmove(told, told + cut, have - cut + 1);
		have -= cut;
	}
	snprintf(told + have, sizeof(told) - have, "%s", line);
	return 0;
}

static void forget(void)
{
	libbpf_set_print(keep);
	told[0] = '\0';
}

int fx_bpf_open(const char *path, fx_bpf **out)
{
	fx_bpf *opened = calloc(1, sizeof(*opened));
	int code;

	*out = NULL;
	if (!opened)
		return fx_fail(-ENOMEM, "no memory for %s", path);
	forget();
	snprintf(opened->path, sizeof(opened->path), "%s", path);
	opened->object = bpf_object__open_file(path, NULL);
	if (!opened->object) {
		code = -errno;
		free(opened);
		return fx_fail(code, "%s: no kernel program: %s", path, told);
	}
	*out = opened;
	return 0;
}

int fx_bpf_set_entries(fx_bpf *object, const char *name, uint32_t entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object->object, name);
	int code = map ? bpf_map__set_max_entries(map, entries) : -ENOENT;

	return code ? fx_fail(code, "%s: no map %s of %u entries", object->path, name, entries) : 0;
}

/* Where a `const volatile` global lies in .rodata; its size, 0 = there is none of this name. */
static uint32_t find_constant(const struct btf *btf, const char *name, uint32_t *offset)
{
	int id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
	const struct btf_type *section = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);

	for (uint32_t i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *one = btf_var_secinfos(section) + i;
		const struct btf_type *variable = btf__type_by_id(btf, one->type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), name) == 0) {
			*offset = one->offset;
			return one->size;
		}
	}
	return 0;
}

int fx_bpf_set_constant(fx_bpf *object, const char *name, uint64_t value)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(object->object, ".rodata");
	uint32_t offset = 0, size = find_constant(bpf_object__btf(object->object), name, &offset);
	size_t room = 0;
	/* Ours to write until it is loaded; libbpf 1.1 says const, later ones do not. */
	char *octets = constants ? (char *)(uintptr_t)bpf_map__initial_value(constants, &room) :
				   NULL;

	if (!octets || !size || size > sizeof(value) || offset + size > room)
		return fx_fail(-ENOENT, "%s: no constant %s", object->path, name);
	memcpy(octets + offset, &value, size); /* little-endian, as bytes.h wants it */
	return 0;
}

int fx_bpf_load(fx_bpf *object)
{
	int code;

	forget();
	code = bpf_object__load(object->object);
	if (code)
		return fx_fail(code, "%s: the kernel did not take it (%s): %s", object->path,
			       strerror(-code), told);
	return 0;
}

int fx_bpf_program_fd(const fx_bpf *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object->object, name);

	return program ? bpf_program__fd(program) :
			 fx_fail(-ENOENT, "%s: no program %s", object->path, name);
}

int fx_bpf_map_fd(const fx_bpf *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object->object, name);

	return map ? bpf_map__fd(map) : fx_fail(-ENOENT, "%s: no map %s", object->path, name);
}

void fx_bpf_close(fx_bpf *object)
{
	if (object)
		bpf_object__close(object->object);
	free(object);
}
