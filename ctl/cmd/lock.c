// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/lock.h"
#include "cmd/record.h"

/* A guard needs that long to undo, if nothing hangs. */
#define GUARD_WAIT_MS	2000
#define GUARD_STEP_MS	20

static int lock_error(const struct lock *lock, struct error *err)
{
	return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
			 "%s: %s", lock->path, strerror(errno));
}

static pid_t lock_holder(const struct lock *lock)
{
	char text[16] = "";

	return pread(lock->fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

/* It died, and what it was forked for holds the lock on: its guard. */
static bool is_guarded(pid_t holder)
{
	return holder > 0 && kill(holder, 0) && errno == ESRCH;
}

static int lock_refuse(pid_t holder, pid_t vmm, struct error *err)
{
	if (is_guarded(holder)) {
		error_set(err, EXIT_VMM,
			  "migctl (process %d) died, and its guard undoes what it did to the guest of process %d",
			  holder, vmm);
		return error_advise(err, "wait until that has ended: up to 2 minutes if QEMU hangs");
	}
	error_set(err, EXIT_VMM, "another migctl (process %d) has the VMM, process %d",
		  holder, vmm);
	return error_advise(err,
			    "wait until that has ended; migctl set, switchover and cancel act on one that migctl list shows");
}

/* The one who held it before has unlinked the file that was opened. */
static bool is_unlinked(const struct lock *lock)
{
	struct stat mine, now;

	return fstat(lock->fd, &mine) || stat(lock->path, &now) ||
	       mine.st_ino != now.st_ino || mine.st_dev != now.st_dev;
}

/* 1 if a guard has it. */
static int lock_open(struct lock *lock, pid_t vmm, struct error *err)
{
	pid_t holder;
	int ret = -1;

	lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock->fd < 0)
		return lock_error(lock, err);
	if (!flock(lock->fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK) {
		holder = lock_holder(lock);
		lock_refuse(holder, vmm, err);
		ret = is_guarded(holder) ? 1 : -1;
	} else {
		lock_error(lock, err);
	}
	close(lock->fd);
	lock->fd = -1;
	return ret;
}

int lock_take(struct lock *lock, pid_t vmm, struct error *err)
{
	int ret, waited = 0;

	*lock = LOCK_NONE;
	if (mkdir(RECORD_DIR, 0755) && errno != EEXIST)
		return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
				 "%s: %s", RECORD_DIR, strerror(errno));
	record_sweep();
	snprintf(lock->path, sizeof(lock->path), RECORD_DIR "/vmm-%d.lock", vmm);
	for (;;) {
		ret = lock_open(lock, vmm, err);
		if (!ret && !is_unlinked(lock))
			break;
		if (!ret) {
			close(lock->fd);
		} else if (ret < 0 || waited >= GUARD_WAIT_MS) {
			return -1;
		} else {
			usleep(GUARD_STEP_MS * 1000);
			waited += GUARD_STEP_MS;
		}
	}
	if (ftruncate(lock->fd, 0) || dprintf(lock->fd, "%d\n", getpid()) < 0) {
		lock_error(lock, err);
		lock_drop(lock);
		return -1;
	}
	return 0;
}

void lock_leave(struct lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	lock->fd = -1;
}

void lock_drop(struct lock *lock)
{
	if (lock->fd < 0)
		return;
	unlink(lock->path);
	lock_leave(lock);
}
