// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A snapshot may come from anywhere: links are not followed, what others can
 * write to is not read, and every file has to have the size that it must have.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "snapshot/snapshot.h"

static int refuse(const char *path, const char *name, const char *what,
		  struct error *err)
{
	error_set(err, EXIT_SNAPSHOT, "%s%s%s: %s", path, name[0] ? "/" : "", name,
		  what);
	return error_advise(err, "give the directory that migctl snapshot --to made, complete, and as it made it");
}

static int owner_check(const char *path, const char *name, const struct stat *st,
		       struct error *err)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return refuse(path, name, "it belongs to another user", err);
	if (st->st_mode & 022)
		return refuse(path, name, "others can write to it", err);
	return 0;
}

static int open_error(const char *path, const char *name, struct error *err)
{
	if (errno == ELOOP || errno == ENOTDIR)
		return refuse(path, name, "it is a link, or no directory", err);
	if (errno == ENOENT)
		return refuse(path, name, "it is not there", err);
	return error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED,
			 "%s%s%s: %s", path, name[0] ? "/" : "", name,
			 strerror(errno));
}

/* @size: that it must have, or UINT64_MAX */
static int file_open(const char *path, int dir, const char *name, uint64_t size,
		     int *fd, struct stat *st, struct error *err)
{
	*fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, st))
		return open_error(path, name, err);
	if (!S_ISREG(st->st_mode))
		return refuse(path, name, "it is not a regular file", err);
	if (owner_check(path, name, st, err))
		return -1;
	if (size != UINT64_MAX && (uint64_t)st->st_size != size)
		return refuse(path, name, "it has not the size that the manifest says", err);
	return 0;
}

static int read_at(int fd, void *data, size_t size, off_t at)
{
	size_t done = 0;
	ssize_t length;

	while (done < size) {
		length = pread(fd, (char *)data + done, size - done, at + (off_t)done);
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return -1;
		done += (size_t)length;
	}
	return 0;
}

static int manifest_read(struct snapshot *snapshot, const char *path, int dir,
			 struct error *err)
{
	json_t *manifest = NULL;
	char *text = NULL;
	struct stat st;
	int fd, ret = -1;

	if (file_open(path, dir, SNAPSHOT_MANIFEST, UINT64_MAX, &fd, &st, err))
		goto out;
	if (st.st_size > SNAPSHOT_MAX_MANIFEST) {
		refuse(path, SNAPSHOT_MANIFEST, "it is too large", err);
		goto out;
	}
	text = malloc((size_t)st.st_size + 1);
	if (text && !read_at(fd, text, (size_t)st.st_size, 0))
		manifest = json_loadb(text, (size_t)st.st_size,
				      JSON_REJECT_DUPLICATES, NULL);
	if (manifest)
		ret = snapshot_from_json(snapshot, manifest, err);
	else
		refuse(path, SNAPSHOT_MANIFEST, "it can't be read as JSON", err);
out:
	json_decref(manifest);
	free(text);
	if (fd >= 0)
		close(fd);
	return ret;
}

static void zeros_hash(XXH3_state_t *hash, size_t size)
{
	static const char zeros[64 << 10];
	size_t part;

	for (; size; size -= part) {
		part = size < sizeof(zeros) ? size : sizeof(zeros);
		XXH3_64bits_update(hash, zeros, part);
	}
}

/* A hole takes no memory here either: it is not even looked at there. */
static int digests_load(struct snapshot_block *block, XXH3_state_t *hash, size_t size)
{
	char *digests = (char *)block->digests;
	size_t at = 0, data, hole;
	off_t ret;

	while (at < size) {
		ret = lseek(block->digests_fd, (off_t)at, SEEK_DATA);
		if (ret < 0 && errno != ENXIO)
			return -1;
		data = ret < 0 || (size_t)ret > size ? size : (size_t)ret;
		zeros_hash(hash, data - at);
		if (data == size)
			return 0;
		ret = lseek(block->digests_fd, (off_t)data, SEEK_HOLE);
		if (ret < 0)
			return -1;
		hole = (size_t)ret > size ? size : (size_t)ret;
		if (read_at(block->digests_fd, digests + data, hole - data, (off_t)data))
			return -1;
		XXH3_64bits_update(hash, digests + data, hole - data);
		at = hole;
	}
	return 0;
}

static int digests_read(struct snapshot_block *block, const char *path,
			const char *name, struct error *err)
{
	size_t size = snapshot_pages(block) * sizeof(*block->digests);
	XXH3_state_t *hash = XXH3_createState();
	uint64_t digest;
	int ret;

	block->digests = calloc(1, size);
	if (!hash || !block->digests) {
		XXH3_freeState(hash);
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	XXH3_64bits_reset(hash);
	ret = digests_load(block, hash, size);
	digest = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	if (ret)
		return refuse(path, name, "it can't be read", err);
	if (digest != block->digest)
		return refuse(path, name, "it is not what was saved: its digest differs", err);
	return 0;
}

/**
 * snapshot_digests() - read the digests of all pages
 * @snapshot: opened; its blocks have the sizes of the memory that they are for, if
 *	that is known: a snapshot can be of any size, and its digests are read whole
 * @path: the directory
 * @err: why it is refused, EXIT_SNAPSHOT if the directory is to blame
 *
 * Return: 0 or -1.
 */
int snapshot_digests(struct snapshot *snapshot, const char *path, struct error *err)
{
	char name[32];
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		snprintf(name, sizeof(name), "digests%zu", i);
		if (digests_read(&snapshot->blocks[i], path, name, err))
			return -1;
	}
	return 0;
}

static int files_open(struct snapshot *snapshot, const char *path, int dir,
		      struct error *err)
{
	struct stat st;
	char name[32];
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		struct snapshot_block *block = &snapshot->blocks[i];

		snprintf(name, sizeof(name), "memory%zu", i);
		if (file_open(path, dir, name, block->size, &block->fd, &st, err))
			return -1;
		snprintf(name, sizeof(name), "digests%zu", i);
		if (file_open(path, dir, name,
			      snapshot_pages(block) * sizeof(*block->digests),
			      &block->digests_fd, &st, err))
			return -1;
	}
	return file_open(path, dir, SNAPSHOT_STATE, snapshot->state_size,
			 &snapshot->state_fd, &st, err);
}

/**
 * snapshot_open() - open a snapshot that somebody made
 * @snapshot: filled; to be closed, also after a failure
 * @path: the directory
 * @dir_fd: of it, the caller's; -1 after a failure. Or NULL
 * @err: why it is refused, EXIT_SNAPSHOT if the directory is to blame
 *
 * The sizes are checked. Its digests are to be read next, with snapshot_digests(),
 * which checks them; the memory itself is when it is read.
 *
 * Return: 0 or -1.
 */
int snapshot_open(struct snapshot *snapshot, const char *path, int *dir_fd,
		  struct error *err)
{
	struct stat st;
	int fd, ret;

	*snapshot = (struct snapshot) { .state_fd = -1 };
	if (dir_fd)
		*dir_fd = -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return open_error(path, "", err);
	ret = fstat(fd, &st) ? open_error(path, "", err) : 0;
	if (!ret)
		ret = owner_check(path, "", &st, err);
	if (!ret)
		ret = manifest_read(snapshot, path, fd, err);
	if (!ret)
		ret = files_open(snapshot, path, fd, err);
	if (ret || !dir_fd)
		close(fd);
	else
		*dir_fd = fd;
	return ret;
}
