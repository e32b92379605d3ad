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

static int lock_error(const struct lock *lock, struct error *err)
{
	return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
			 "%s: %s", lock->path, strerror(errno));
}

static int lock_refuse(const struct lock *lock, pid_t vmm, struct error *err)
{
	char text[16] = "";
	ssize_t length = pread(lock->fd, text, sizeof(text) - 1, 0);
	pid_t holder = length > 0 ? atoi(text) : 0;

	/* What it was forked for holds the lock on: its guard. */
	if (holder > 0 && kill(holder, 0) && errno == ESRCH) {
		error_set(err, EXIT_VMM,
			  "migctl (process %d) died, and its guard undoes what it did to the guest of process %d",
			  holder, vmm);
		return error_advise(err, "wait until that has ended: a second or two, or 2 minutes if QEMU hangs");
	}
	error_set(err, EXIT_VMM, "another migctl (process %d) migrates the guest of process %d",
		  holder, vmm);
	return error_advise(err,
			    "see migctl list; migctl set, switchover and cancel act on that one");
}

/* The one who held it before has unlinked the file that was opened. */
static bool is_unlinked(const struct lock *lock)
{
	struct stat mine, now;

	return fstat(lock->fd, &mine) || stat(lock->path, &now) ||
	       mine.st_ino != now.st_ino || mine.st_dev != now.st_dev;
}

static int lock_open(struct lock *lock, pid_t vmm, struct error *err)
{
	lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock->fd < 0)
		return lock_error(lock, err);
	if (!flock(lock->fd, LOCK_EX | LOCK_NB))
		return 0;
	if (errno == EWOULDBLOCK)
		lock_refuse(lock, vmm, err);
	else
		lock_error(lock, err);
	close(lock->fd);
	lock->fd = -1;
	return -1;
}

int lock_take(struct lock *lock, pid_t vmm, struct error *err)
{
	*lock = LOCK_NONE;
	if (mkdir(RECORD_DIR, 0755) && errno != EEXIST)
		return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
				 "%s: %s", RECORD_DIR, strerror(errno));
	record_sweep();
	snprintf(lock->path, sizeof(lock->path), RECORD_DIR "/vmm-%d.lock", vmm);
	for (;;) {
		if (lock_open(lock, vmm, err))
			return -1;
		if (!is_unlinked(lock))
			break;
		close(lock->fd);
	}
	if (ftruncate(lock->fd, 0) || dprintf(lock->fd, "%d\n", getpid()) < 0) {
		lock_error(lock, err);
		lock_drop(lock);
		return -1;
	}
	return 0;
}

void lock_drop(struct lock *lock)
{
	if (lock->fd < 0)
		return;
	unlink(lock->path);
	close(lock->fd);
	lock->fd = -1;
}
