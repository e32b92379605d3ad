// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "cmd/track.h"

static int target_ask(struct track_target *target,
		      const struct track_options *options, struct error *err)
{
	struct vmm *vmm;
	int ret;

	if (vmm_qemu.open(&vmm, options->qmp, options->pid, err))
		return -1;
	target->pid = vmm->pid;
	ret = vmm->ops->memory(vmm, &target->memory, &target->n, err);
	if (!ret && options->dma_log)
		ret = vmm->ops->layout(vmm, &target->ranges, &target->n_ranges,
				       err);
	vmm->ops->close(vmm);
	if (!ret && !target->n)
		return error_set(err, EXIT_UNTRACKABLE,
				 "%s: the VMM has no memory back ends",
				 options->qmp);
	return ret;
}

static int target_open(struct track_target *target,
		       const struct track_options *options, struct error *err)
{
	size_t i;

	target->pid = options->pid;
	target->memory = calloc(options->n_rams, sizeof(*target->memory));
	if (!target->memory)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < options->n_rams; i++) {
		if (ram_open(&options->rams[i], target->pid,
			     &target->memory[i], err))
			return -1;
		target->n++;
	}
	return 0;
}

int track_target_find(struct track_target *target,
		      const struct track_options *options, struct error *err)
{
	*target = (struct track_target){};
	if (options->qmp)
		return target_ask(target, options, err);
	return target_open(target, options, err);
}

void track_target_free(struct track_target *target)
{
	free(target->ranges);
	vmm_memory_free(target->memory, target->n);
}

enum { ID, KIND, OFFSET, SIZE, TRACKED, PATH, REASON, ADVICE, FIELDS };

static const struct out_field fields[FIELDS] = {
	[ID] = { "id", "MEMORY", 12, OUT_TEXT },
	[KIND] = { "kind", "KIND", 20, OUT_TEXT },
	[OFFSET] = { "offset_bytes", NULL, 0, OUT_BYTES },
	[SIZE] = { "length_bytes", "SIZE", 10, OUT_BYTES },
	[TRACKED] = { "tracked", "TRACKED", 7, OUT_TEXT },
	[PATH] = { "path", "FILE", 0, OUT_TEXT },
	[REASON] = { "reason", NULL, 0, OUT_TEXT },
	[ADVICE] = { "advice", NULL, 0, OUT_TEXT },
};

static void out_memory(struct output *out, const struct vmm_memory *mem)
{
	out_begin(out, OUT_ROW, "memory");
	out_text(out, &fields[ID], mem->id);
	out_text(out, &fields[KIND], mem->kind);
	out_uint(out, &fields[OFFSET], mem->offset);
	out_uint(out, &fields[SIZE], mem->size);
	out_bool(out, &fields[TRACKED], !mem->reason[0]);
	out_text(out, &fields[PATH], mem->path);
	if (out->json && mem->reason[0]) {
		out_text(out, &fields[REASON], mem->reason);
		out_text(out, &fields[ADVICE], mem->advice);
	}
	out_end(out);
}

void out_track_target(struct output *out, const struct track_target *target)
{
	const struct vmm_memory *mem;
	size_t i;

	out_header(out, fields, FIELDS);
	for (i = 0; i < target->n; i++)
		out_memory(out, &target->memory[i]);
	for (i = 0; i < target->n; i++) {
		mem = &target->memory[i];
		if (!mem->reason[0])
			continue;
		out_say(out, "%s is not tracked: %s%s%s", mem->id, mem->reason,
			mem->advice[0] ? "; " : "", mem->advice);
	}
	out_say(out, "%s", "");
}
