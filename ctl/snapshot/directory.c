// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A snapshot is made under another name, NAME.partial, and gets its own when all
 * of it is on the disk. One that nobody completed is cleared away by who comes
 * next: it is locked as long as somebody works on it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

static int file_error(const struct snapshot_dir *dir, const char *name,
		      struct error *err)
{
	int error = errno;

	error_set(err, error == EACCES || error == EPERM ? EXIT_PERMISSION :
		  EXIT_FAILED, "%s%s%s: %s", dir->path, name[0] ? ".partial/" : "",
		  name, strerror(error));
	if (error == ENOSPC || error == EDQUOT)
		error_advise(err, "the file system is full: free some of it, or choose another one");
	return -1;
}

/* The path without slashes at its end, in two. */
static int path_split(struct snapshot_dir *dir, const char *path, char *parent,
		      size_t room, struct error *err)
{
	size_t length = strlen(path), start;

	while (length > 1 && path[length - 1] == '/')
		length--;
	for (start = length; start && path[start - 1] != '/';)
		start--;
	if (length == start || length - start > NAME_MAX - strlen(".partial") ||
	    start + 2 > room || (length - start == 1 && path[start] == '.') ||
	    (length - start == 2 && !strncmp(path + start, "..", 2))) {
		error_set(err, EXIT_USAGE, "--to %s: this can't be the name of a new directory",
			  path);
		return error_advise(err, "give the path of a directory that is not there yet");
	}
	snprintf(parent, room, "%.*s", start ? (int)start : 1, start ? path : ".");
	snprintf(dir->name, sizeof(dir->name), "%.*s", (int)(length - start),
		 path + start);
	snprintf(dir->partial, sizeof(dir->partial), "%s.partial", dir->name);
	snprintf(dir->path, sizeof(dir->path), "%.*s", (int)length, path);
	return 0;
}

static int exists_refuse(const struct snapshot_dir *dir, struct error *err)
{
	error_set(err, EXIT_USAGE, "%s exists already", dir->path);
	return error_advise(err, "give a directory that is not there yet: no snapshot is overwritten");
}

static int dir_clear(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int ret = 0;

	if (!entries) {
		if (copy >= 0)
			close(copy);
		return -1;
	}
	while ((entry = readdir(entries))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		ret |= unlinkat(fd, entry->d_name, 0);
	}
	closedir(entries);
	return ret;
}

/* Whether what we have locked still has that name. */
static bool partial_is_ours(const struct snapshot_dir *dir)
{
	struct stat locked, named;

	return !fstat(dir->fd, &locked) &&
	       !fstatat(dir->parent_fd, dir->partial, &named, AT_SYMLINK_NOFOLLOW) &&
	       locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

static int partial_open(struct snapshot_dir *dir, struct error *err)
{
	struct stat st;

	if (mkdirat(dir->parent_fd, dir->partial, 0700) && errno != EEXIST)
		return file_error(dir, "", err);
	dir->fd = openat(dir->parent_fd, dir->partial,
			 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->fd < 0 || fstat(dir->fd, &st))
		return file_error(dir, "", err);
	if (st.st_uid != geteuid() || (st.st_mode & 077)) {
		error_set(err, EXIT_PERMISSION, "%s.partial belongs to somebody else, or is open to others",
			  dir->path);
		return error_advise(err, "remove it, or choose another name");
	}
	if (flock(dir->fd, LOCK_EX | LOCK_NB)) {
		error_set(err, EXIT_USAGE, "%s is being made by another migctl",
			  dir->path);
		return error_advise(err, "wait for it, or choose another name");
	}
	/* The lock's last holder may have given it its name, or removed it. */
	if (!partial_is_ours(dir))
		return exists_refuse(dir, err);
	return dir_clear(dir->fd) ? file_error(dir, "", err) : 0;
}

/**
 * snapshot_dir_create() - make an empty directory for a snapshot
 * @dir: filled; to be committed or discarded, also after a failure
 * @path: where the snapshot is to be in the end; nothing may be there
 * @err: why it failed
 *
 * What a migctl that was killed has left of an earlier attempt is removed.
 *
 * Return: 0 or -1.
 */
int snapshot_dir_create(struct snapshot_dir *dir, const char *path,
			struct error *err)
{
	char parent[PATH_MAX];
	struct stat st;

	*dir = SNAPSHOT_DIR_NONE;
	if (path_split(dir, path, parent, sizeof(parent), err))
		return -1;
	dir->parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->parent_fd < 0)
		return file_error(dir, "", err);
	if (!fstatat(dir->parent_fd, dir->name, &st, AT_SYMLINK_NOFOLLOW))
		return exists_refuse(dir, err);
	if (errno != ENOENT)
		return file_error(dir, "", err);
	if (!partial_open(dir, err))
		return 0;
	/* It is not ours to be removed. */
	if (dir->fd >= 0)
		close(dir->fd);
	dir->fd = -1;
	return -1;
}

static int file_create(const struct snapshot_dir *dir, const char *name,
		       uint64_t size, int *fd, struct error *err)
{
	*fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		     0600);
	if (*fd < 0 || ftruncate(*fd, (off_t)size))
		return file_error(dir, name, err);
	return 0;
}

/**
 * snapshot_dir_files() - make its files, which are all holes
 * @dir: created
 * @snapshot: its blocks have their sizes; the descriptors are filled
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_dir_files(const struct snapshot_dir *dir, struct snapshot *snapshot,
		       struct error *err)
{
	char name[32];
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		struct snapshot_block *block = &snapshot->blocks[i];
		size_t size = snapshot_pages(block) * sizeof(*block->digests);

		snprintf(name, sizeof(name), "memory%zu", i);
		if (file_create(dir, name, block->size, &block->fd, err))
			return -1;
		snprintf(name, sizeof(name), "digests%zu", i);
		if (file_create(dir, name, size, &block->digests_fd, err))
			return -1;
		block->digests = calloc(1, size);
		if (!block->digests)
			return error_set(err, EXIT_FAILED, "out of memory");
	}
	return file_create(dir, SNAPSHOT_STATE, 0, &snapshot->state_fd, err);
}

static int write_at(int fd, const char *data, size_t size, off_t at)
{
	ssize_t length;

	while (size) {
		length = pwrite(fd, data, size, at);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -1;
		data += length;
		size -= (size_t)length;
		at += length;
	}
	return 0;
}

/* Zeros are left out: the file is a hole, as that of the memory. */
static int digests_write(const struct snapshot_dir *dir, struct snapshot_block *block,
			 struct error *err)
{
	uint64_t step = SNAPSHOT_PAGE_SIZE / sizeof(*block->digests), at, n;
	uint64_t pages = snapshot_pages(block), i;

	for (at = 0; at < pages; at += n) {
		n = pages - at < step ? pages - at : step;
		for (i = 0; i < n && !block->digests[at + i]; i++)
			;
		if (i < n && write_at(block->digests_fd,
				      (const char *)(block->digests + at),
				      n * sizeof(*block->digests),
				      (off_t)(at * sizeof(*block->digests))))
			return file_error(dir, "digests", err);
	}
	block->digest = snapshot_digest_all(block->digests,
					    pages * sizeof(*block->digests));
	if (fsync(block->digests_fd) || fsync(block->fd))
		return file_error(dir, "memory", err);
	return 0;
}

static int manifest_write(const struct snapshot_dir *dir,
			  const struct snapshot *snapshot, struct error *err)
{
	json_t *json = snapshot_to_json(snapshot);
	char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	int fd = -1, ret;

	json_decref(json);
	if (!text)
		return error_set(err, EXIT_FAILED, "out of memory");
	ret = file_create(dir, SNAPSHOT_MANIFEST, 0, &fd, err);
	if (!ret && (write_at(fd, text, strlen(text), 0) ||
		     write_at(fd, "\n", 1, (off_t)strlen(text)) || fsync(fd)))
		ret = file_error(dir, SNAPSHOT_MANIFEST, err);
	if (fd >= 0)
		close(fd);
	free(text);
	return ret;
}

static int give_name(const struct snapshot_dir *dir, struct error *err)
{
	struct stat st;

	if (!renameat2(dir->parent_fd, dir->partial, dir->parent_fd, dir->name,
		       RENAME_NOREPLACE))
		return 0;
	/* Not every file system has that. */
	if (errno == EINVAL &&
	    fstatat(dir->parent_fd, dir->name, &st, AT_SYMLINK_NOFOLLOW) &&
	    errno == ENOENT &&
	    !renameat(dir->parent_fd, dir->partial, dir->parent_fd, dir->name))
		return 0;
	return errno == EEXIST ? exists_refuse(dir, err) : file_error(dir, "", err);
}

/**
 * snapshot_dir_commit() - write the rest, and have it all on the disk
 * @dir: created, with its files; has its name afterwards
 * @snapshot: complete but for the digests of its blocks
 * @err: why it failed: the directory is then to be discarded
 *
 * Return: 0 or -1.
 */
int snapshot_dir_commit(struct snapshot_dir *dir, struct snapshot *snapshot,
			struct error *err)
{
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		if (digests_write(dir, &snapshot->blocks[i], err))
			return -1;
	}
	if (fsync(snapshot->state_fd))
		return file_error(dir, SNAPSHOT_STATE, err);
	if (manifest_write(dir, snapshot, err))
		return -1;
	if (fsync(dir->fd))
		return file_error(dir, "", err);
	if (give_name(dir, err))
		return -1;
	fsync(dir->parent_fd);
	close(dir->fd);
	close(dir->parent_fd);
	*dir = SNAPSHOT_DIR_NONE;
	return 0;
}

/**
 * snapshot_dir_discard() - remove what was not committed
 * @dir: created or committed, or SNAPSHOT_DIR_NONE
 */
void snapshot_dir_discard(struct snapshot_dir *dir)
{
	if (dir->fd >= 0) {
		dir_clear(dir->fd);
		unlinkat(dir->parent_fd, dir->partial, AT_REMOVEDIR);
		close(dir->fd);
	}
	if (dir->parent_fd >= 0)
		close(dir->parent_fd);
	*dir = SNAPSHOT_DIR_NONE;
}
