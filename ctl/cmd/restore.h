/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl restore: a guest from a snapshot. */
#ifndef MIGCTL_CMD_RESTORE_H
#define MIGCTL_CMD_RESTORE_H

#include "cmd/cmd.h"
#include "snapshot/snapshot.h"

struct restore_options {
	const char *dir;
	const char *qmp;
	bool paused;
};

/* restore_qemu.c: into a QEMU that waits for a guest. */
int restore_qemu(struct output *out, const struct restore_options *options,
		 struct error *err);

#endif /* MIGCTL_CMD_RESTORE_H */
