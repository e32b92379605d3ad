/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration, driven by the calls of QEMU's driver to a moment of interest. */
#ifndef DRIVE_H
#define DRIVE_H

#include "machine.h"
#include "vmm/migration.h"

extern const struct vmm_migration_ops * const ops;

enum moment { IDLE, PREPARED, ACTIVE, STOPPED, COMPLETED, HALF_COMMAND,
	      HALF_REPLY, NAMED_FD, N_MOMENTS };

extern const char * const moments[];	/* their names */

struct vmm *connect_to(const struct machine *m);
bool phase_wait(struct vmm *vmm, enum vmm_phase phase, int ms);

/* Bring a migration to a moment. @to is NULL for those without a destination. */
void go_to(enum moment moment, struct vmm *from, struct vmm *to,
	   const struct machine *src, const struct machine *dst, int pair[2]);

#endif /* DRIVE_H */
