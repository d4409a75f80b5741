/* SPDX-License-Identifier: Apache-2.0 */
/* Capture files, one after the other, as a source of frames. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture_file.h"
#include "fx/error.h"
#include "fx/parse_link.h"

struct pcap_source {
	struct fx_source base;
	char **paths;
	int path_count;
	int next_path;
	int is_open; /* file is */
	struct fx_capture_file file;
	struct fx_source_stats stats; /* of the files before */
	fx_damage *damages; /* at most one for each path */
	int damage_count;
};

static int wrong_magic(const struct fx_input *input)
{
	char found[64] = "";
	size_t left = (size_t)(input->end - input->at);
	size_t used = 0;

	for (size_t i = 0; i < 8 && i < left; i++)
		used += (size_t)snprintf(found + used, sizeof(found) - used, " %02x", input->at[i]);
	return fx_fail(-EINVAL, "%s: not a capture file (pcap or pcapng): it begins with%s",
		       input->path, found);
}

/*
 * Four octets to tell the format by, or the words why not (of a decompressor they do not name the
 * file).
 */
static int whole_magic(struct fx_input *input)
{
	char words[512];
	int code = fx_input_need(input, 4);

	if (code > 0)
		return code;
	if (code == 0)
		return wrong_magic(input);
	snprintf(words, sizeof(words), "%s", fx_last_error());
	return fx_fail(code, "%s: %s", input->path, words);
}

int fx_capture_file_open(const char *path, struct fx_capture_file *file)
{
	int code;

	memset(file, 0, sizeof(*file));
	code = fx_input_open(path, &file->input);
	if (code < 0)
		return code;
	code = whole_magic(file->input);
	if (code >= 0)
		code = fx_pcap_open(file);
	if (code == 0)
		code = fx_pcapng_open(file);
	if (code == 0)
		code = wrong_magic(file->input);
	if (code < 0)
		fx_capture_file_close(file);
	return code < 0 ? code : 0;
}

void fx_capture_file_close(struct fx_capture_file *file)
{
	fx_input_close(file->input);
	free(file->interfaces);
	file->input = NULL;
	file->interfaces = NULL;
}

uint64_t fx_capture_file_drops(const struct fx_capture_file *file)
{
	uint64_t drops = file->drops;

	for (uint32_t i = 0; i < file->interface_count; i++)
		drops += file->interfaces[i].drops;
	return drops;
}

static void note_damage(struct pcap_source *source, const char *path, uint64_t offset)
{
	char *message = strdup(fx_last_error());

	source->damages[source->damage_count++] = (fx_damage){ path, offset, message };
}

static void leave_file(struct pcap_source *source)
{
	source->stats.absurd_lengths += source->file.absurd_lengths;
	source->stats.kernel_drops += fx_capture_file_drops(&source->file);
	fx_capture_file_close(&source->file);
	source->is_open = 0;
}

/* Opens the next path: 1, 0 = there is none, -errno (the path is passed all the same). */
static int enter_file(struct pcap_source *source)
{
	int code;

	if (source->next_path == source->path_count)
		return 0;
	code = fx_capture_file_open(source->paths[source->next_path++], &source->file);
	source->is_open = code == 0;
	return code < 0 ? code : 1;
}

static int source_next(fx_source *base, struct fx_frame *frames, int capacity)
{
	struct pcap_source *source = (struct pcap_source *)base;

	for (;;) {
		int count;

		if (!source->is_open) {
			count = enter_file(source);
			if (count == 0)
				return 0;
			if (count < 0) {
				note_damage(source, source->paths[source->next_path - 1], 0);
				continue;
			}
		}
		count = source->file.next(&source->file, frames, capacity);
		if (count > 0)
			return count;
		if (count < 0)
			note_damage(source, source->paths[source->next_path - 1],
				    source->file.damage_offset);
		leave_file(source);
	}
}

static void source_stats(const fx_source *base, struct fx_source_stats *out)
{
	const struct pcap_source *source = (const struct pcap_source *)base;

	*out = source->stats;
	if (source->is_open) {
		out->absurd_lengths += source->file.absurd_lengths;
		out->kernel_drops += fx_capture_file_drops(&source->file);
	}
}

static int source_damages(const fx_source *base, const fx_damage **out)
{
	const struct pcap_source *source = (const struct pcap_source *)base;

	*out = source->damages;
	return source->damage_count;
}

static void source_close(fx_source *base)
{
	struct pcap_source *source = (struct pcap_source *)base;

	if (source->is_open)
		fx_capture_file_close(&source->file);
	for (int i = 0; i < source->damage_count; i++)
		free((void *)(uintptr_t)source->damages[i].message);
	for (int i = 0; source->paths && i < source->path_count; i++)
		free(source->paths[i]);
	free(source->paths);
	free(source->damages);
	free(source);
}

static const struct fx_source_ops pcap_ops = {
	.name = "pcap",
	.next = source_next,
	.stats = source_stats,
	.damages = source_damages,
	.close = source_close,
};

/* Files that cannot be read at all are named before the first packet is, pipes excepted. */
static int check_later_paths(const struct pcap_source *source)
{
	for (int i = 1; i < source->path_count; i++) {
		struct fx_capture_file file;
		const char *path = source->paths[i];
		int code;

		if (fx_input_is_pipe(path))
			continue;
		code = fx_capture_file_open(path, &file);
		if (code < 0)
			return code;
		fx_capture_file_close(&file);
	}
	return 0;
}

int fx_source_open_pcap(const char *const *paths, int count, fx_source **out)
{
	struct pcap_source *source;
	int code = -ENOMEM;

	if (count < 1)
		return fx_fail(-EINVAL, "no capture file was named");
	source = calloc(1, sizeof(*source));
	if (!source)
		return fx_fail(-ENOMEM, "no memory for the source");
	source->base.ops = &pcap_ops;
	source->path_count = count;
	source->paths = calloc((size_t)count, sizeof(*source->paths));
	source->damages = calloc((size_t)count, sizeof(*source->damages));
	if (!source->paths || !source->damages)
		goto no_memory;
	for (int i = 0; i < count; i++) {
		source->paths[i] = strdup(paths[i]);
		if (!source->paths[i])
			goto no_memory;
	}
	code = enter_file(source);
	if (code > 0)
		code = check_later_paths(source);
	if (code < 0)
		goto out;
	*out = &source->base;
	return 0;
no_memory:
	fx_fail(code, "no memory for %d paths", count);
out:
	source_close(&source->base);
	return code;
}

void fx_source_close(fx_source *source)
{
	if (source)
		source->ops->close(source);
}
