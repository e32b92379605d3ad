/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One controller for a VMM at a time. */
#ifndef MIGCTL_LOCK_H
#define MIGCTL_LOCK_H

#include <limits.h>
#include <sys/types.h>

#include "common/error.h"

/**
 * struct lock - held by who migrates a guest, until it ends, however
 * @fd: of its file, -1 if it is not held
 * @path: of it
 */
struct lock {
	int fd;
	char path[PATH_MAX];
};

#define LOCK_NONE	((struct lock) { .fd = -1 })

/* Refuses, with the other one's pid, a VMM that another migctl has. */
int lock_take(struct lock *lock, pid_t vmm, struct error *err);
void lock_drop(struct lock *lock);
/* The guard, which holds it too, keeps it as long as it has something to undo. */
void lock_leave(struct lock *lock);

#endif /* MIGCTL_LOCK_H */
