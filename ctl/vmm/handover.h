/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver for VMMs that hand over their memory and a userfaultfd of it.
 * Documentation/handover.rst has what is spoken.
 */
#ifndef MIGCTL_HANDOVER_H
#define MIGCTL_HANDOVER_H

#include "uffd/protocol.h"
#include "vmm/migration.h"
#include "vmm/qmp.h"

#define HANDOVER_VERSION	1

/**
 * struct handover_block - a region of the guest's memory
 * @id: the VMM's name of it
 * @fd: its file
 * @file_offset: where it begins there
 * @gpa: where the guest finds it
 */
struct handover_block {
	char id[NAME_MAX + 1];
	int fd;
	uint64_t file_offset;
	uint64_t gpa;
};

/**
 * struct handover_undo - what an undo must know
 * @ran: the guest ran before it was paused
 * @started: we told the VMM to pause it
 *
 * In memory that is shared with the guard, which is forked before that.
 */
struct handover_undo {
	bool ran;
	bool started;
};

/**
 * struct handover - a VMM that is connected
 * @vmm: what the rest of migctl sees
 * @qmp: the connection
 * @vm: what the VMM says of itself, to be compared by vmm_compare()
 * @blocks: its memory
 * @regions: the same, as it is mapped there
 * @n: how many
 * @undo: NULL until a migration is prepared
 * @copy: its state is saved, and its guest stays where it is
 * @phase: of what we do with it
 * @reason: why that failed
 * @stream: where it is to save its state to, or -1
 */
struct handover {
	struct vmm vmm;
	struct qmp *qmp;
	json_t *vm;
	struct handover_block *blocks;
	struct uffd_region *regions;
	size_t n;
	struct handover_undo *undo;
	bool copy;
	enum vmm_phase phase;
	char reason[256];
	int stream;
};

static inline struct handover *to_handover(struct vmm *vmm)
{
	return (struct handover *)vmm;
}

/* Pure, but for the files that it looks at: what a VMM says of itself. */
int handover_parse(struct handover *h, const json_t *greeting, const int *fds, size_t n,
		   struct error *err);

int handover_userfaultfd(struct vmm *vmm, unsigned int modes, struct uffd_offer *offer,
			 struct error *err);
int handover_release(struct vmm *vmm, struct error *err);
/* handover_migration.c: no reply is awaited any more, that another command could take. */
void handover_settle(struct handover *h);

#endif /* MIGCTL_HANDOVER_H */
