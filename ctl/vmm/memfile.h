/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files that a process maps, and whether one can be tracked. */
#ifndef MIGCTL_MEMFILE_H
#define MIGCTL_MEMFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/error.h"

/**
 * struct memfile - a file that a process maps shared
 * @dev: device of the inode
 * @ino: its number
 * @bytes: mapped of it, in all mappings together
 * @start: address of the first mapping
 * @end: its end
 * @path: as the kernel shows it, with " (deleted)"
 * @taken: for the caller: some back end was found to be this file
 */
struct memfile {
	dev_t dev;
	ino_t ino;
	uint64_t bytes;
	uint64_t start;
	uint64_t end;
	char path[PATH_MAX];
	bool taken;
};

struct memfiles {
	struct memfile *files;
	size_t n;
};

/* Pure: the text of /proc/PID/maps in, one entry per shared file out. */
int memfiles_parse(struct memfiles *all, const char *maps, struct error *err);

int memfiles_read(struct memfiles *all, pid_t pid, struct error *err);
void memfiles_free(struct memfiles *all);
/* Is the file of this descriptor among them? */
bool memfiles_have(const struct memfiles *all, int fd);

/* Opens it for reading and writing. Returns the descriptor or -1. */
int memfile_open(const struct memfile *file, pid_t pid, struct error *err);

/*
 * Who but its owner, and root, may open and read it by its name: "everybody", "its
 * group", or NULL for nobody.
 */
const char *memfile_readers(int fd);

/*
 * Which file it is, of all files of all hosts that run: of the same one the text is the
 * same. "" if that can't be said.
 */
#define MEMFILE_IDENTITY_SIZE 96
void memfile_identity(int fd, char identity[MEMFILE_IDENTITY_SIZE]);

/* The path as this process reaches it, through the root or the directory of @pid. */
bool memfile_stat(pid_t pid, const char *path, struct stat *st);

/*
 * Whether it has @size bytes of the file, from its begin, as a private mapping, and how
 * many of them it has a copy of its own of: it has written there.
 */
int memfile_mapped(pid_t pid, int fd, uint64_t size, bool *mapped, uint64_t *written,
		   struct error *err);

/**
 * struct memfile_range - a part of a file
 * @st: of the file
 * @offset: where it begins
 * @size: bytes
 */
struct memfile_range {
	struct stat st;
	uint64_t offset;
	uint64_t size;
};

int memfile_writable(pid_t pid, const struct memfile_range *ranges, size_t n);

/* What a process is called, "" if it is not there. */
void process_name(pid_t pid, char *name, size_t size);
/* When it began, in clock ticks since boot, 0 if it is not there: its number alone may be
 * another's by now. */
uint64_t process_start(pid_t pid);

/**
 * struct memfile_verdict - why a file can't be tracked
 * @reason: NULL if it can
 * @advice: what to use instead
 */
struct memfile_verdict {
	const char *reason;
	const char *advice;
};

struct memfile_verdict memfile_check(int fd);

#define MEMFILE_ADVICE \
	"use a file on tmpfs, shared, in normal pages (QEMU: -object memory-backend-file,share=on,mem-path=/dev/shm/NAME)"

#endif /* MIGCTL_MEMFILE_H */
