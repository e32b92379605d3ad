// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qemu_save SOCKET DIR: the snapshot that migctl makes of a QEMU, of one whose guest is
 * paused: nothing is tracked, so the kernel module is not needed.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "snapshot/writer.h"
#include "vmm/migration.h"

struct saving {
	struct vmm *vmm;
	struct vmm_memory *memory;
	size_t n;
	struct snapshot_dir dir;
	struct snapshot snapshot;
	struct snapshot_state *state;
	json_t *settings;
};

static const struct vmm_migration_ops *ops = &vmm_qemu_migration;

static int phase_wait(struct saving *s, enum vmm_phase phase, struct error *err)
{
	struct vmm_status status;

	do {
		poll(NULL, 0, 5);
		if (ops->status(s->vmm, &status, err))
			return -1;
		if (status.phase == VMM_FAILED)
			return error_set(err, EXIT_VMM, "QEMU: %s", status.reason);
	} while (status.phase != phase);
	return 0;
}

static int memory_save(struct saving *s, struct error *err)
{
	struct writer_source *sources = calloc(s->n, sizeof(*sources));
	struct writer writer;
	int left = -1;
	size_t i;

	for (i = 0; sources && i < s->n; i++) {
		sources[i].fd = s->memory[i].fd;
		sources[i].offset = s->memory[i].offset;
		sources[i].bitmap = calloc(s->memory[i].size / SNAPSHOT_PAGE_SIZE / 64 + 1, 8);
	}
	if (sources && !writer_open(&writer, &s->snapshot, sources, err) &&
	    !writer_first_pass(&writer, err)) {
		while ((left = writer_copy(&writer, 1 << 20, err)) > 0)
			;
		writer_close(&writer);
	}
	for (i = 0; sources && i < s->n; i++)
		free(sources[i].bitmap);
	free(sources);
	return left;
}

static int save(struct saving *s, const char *socket, const char *path, struct error *err)
{
	size_t i;

	if (vmm_qemu.open(&s->vmm, socket, 0, err) || ops->check_source(s->vmm, err) ||
	    vmm_qemu.memory(s->vmm, &s->memory, &s->n, err) ||
	    snapshot_alloc(&s->snapshot, s->n, err) ||
	    ops->describe(s->vmm, &s->snapshot.vm, err))
		return -1;
	for (i = 0; i < s->n; i++) {
		snprintf(s->snapshot.blocks[i].id, sizeof(s->snapshot.blocks[i].id), "%s",
			 s->memory[i].id);
		s->snapshot.blocks[i].size = s->memory[i].size;
	}
	s->snapshot.ran = true;
	return snapshot_dir_create(&s->dir, path, err) ||
	       snapshot_dir_files(&s->dir, &s->snapshot, err) ||
	       snapshot_state_save(&s->state, s->snapshot.state_fd, err) ||
	       ops->save(s->vmm, &s->settings, err) || ops->prepare_save(s->vmm, err) ||
	       ops->start(s->vmm, snapshot_state_fd(s->state), err) ||
	       snapshot_state_start(s->state, err) ||
	       phase_wait(s, VMM_PRE_SWITCHOVER, err) || memory_save(s, err) ||
	       ops->go_on(s->vmm, err) || phase_wait(s, VMM_COMPLETED, err) ||
	       snapshot_state_end(s->state, &s->snapshot.state_size,
				  &s->snapshot.state_digest, err) ||
	       snapshot_dir_commit(&s->dir, &s->snapshot, err) ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct saving s = { .dir = SNAPSHOT_DIR_NONE, .snapshot.state_fd = -1 };
	struct error err = {};

	if (argc != 3)
		return 2;
	if (!save(&s, argv[1], argv[2], &err))
		return 0;
	fprintf(stderr, "qemu_save: %s\n", err.message);
	return 1;
}
