// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/supply.h"
#include "stream/hash.h"

static int path_error(const char *path, struct error *err)
{
	enum exit_code code = errno == EACCES ? EXIT_PERMISSION :
			      errno == ENOENT || errno == ELOOP ? EXIT_SNAPSHOT :
			      EXIT_FAILED;

	return error_set(err, code, "%s: %s", path, strerror(errno));
}

/* The directory that a file is in, and what its working set is called there. */
static int file_place(struct supply *supply, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1,
		     slash ? path : ".") >= (int)sizeof(dir) ||
	    snprintf(supply->working_set, sizeof(supply->working_set),
		     "%s." SNAPSHOT_WORKING_SET, slash ? slash + 1 : path) >=
	    (int)sizeof(supply->working_set))
		return error_set(err, EXIT_USAGE, "%s: the name is too long", path);
	supply->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return supply->dir_fd < 0 ? path_error(dir, err) : 0;
}

static int file_open(struct supply *supply, const char *path, const struct stat *st,
		     struct error *err)
{
	struct snapshot_block *block;

	if (st->st_size <= 0 || st->st_size % SNAPSHOT_PAGE_SIZE) {
		error_set(err, EXIT_SNAPSHOT, "%s is not made of whole pages", path);
		return error_advise(err, "give the directory of a snapshot, or the memory file of one that the VMM made");
	}
	if (snapshot_alloc(&supply->snapshot, 1, err) || file_place(supply, path, err))
		return -1;
	block = supply->snapshot.blocks;
	snprintf(block->id, sizeof(block->id), "%s", "of the file");
	block->size = (uint64_t)st->st_size;
	block->fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return block->fd < 0 ? path_error(path, err) : 0;
}

/**
 * supply_open() - open a snapshot, or a file of memory
 * @supply: filled; to be closed, also after a failure
 * @path: a directory that migctl snapshot made, or a regular file
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int supply_open(struct supply *supply, const char *path, struct error *err)
{
	struct stat st;
	size_t i;

	*supply = SUPPLY_NONE;
	if (lstat(path, &st))
		return path_error(path, err);
	if (S_ISREG(st.st_mode)) {
		if (file_open(supply, path, &st, err))
			return -1;
	} else {
		snprintf(supply->working_set, sizeof(supply->working_set), "%s",
			 SNAPSHOT_WORKING_SET);
		/* What the VMM has is not known yet. */
		if (snapshot_open(&supply->snapshot, path, &supply->dir_fd, err) ||
		    snapshot_digests(&supply->snapshot, path, err))
			return -1;
	}
	for (i = 0; i < supply->snapshot.n; i++)
		supply->size += supply->snapshot.blocks[i].size;
	return 0;
}

void supply_close(struct supply *supply)
{
	snapshot_close(&supply->snapshot);
	if (supply->dir_fd >= 0)
		close(supply->dir_fd);
	*supply = SUPPLY_NONE;
}

/* The block that @offset is in, which becomes an offset in it. */
static const struct snapshot_block *block_of(const struct supply *supply,
					     uint64_t *offset)
{
	size_t i;

	for (i = 0; i < supply->snapshot.n; i++) {
		if (*offset < supply->snapshot.blocks[i].size)
			return &supply->snapshot.blocks[i];
		*offset -= supply->snapshot.blocks[i].size;
	}
	return NULL;
}

size_t supply_run(const struct supply *supply, uint64_t offset, size_t size, bool *zero)
{
	const struct snapshot_block *block = block_of(supply, &offset);
	uint64_t page = offset / SNAPSHOT_PAGE_SIZE, n = size / SNAPSHOT_PAGE_SIZE;
	uint64_t run;

	*zero = false;
	if (!block || !block->digests)
		return size;
	if (n > snapshot_pages(block) - page)
		n = snapshot_pages(block) - page;
	*zero = !block->digests[page];
	for (run = 1; run < n && !block->digests[page + run] == *zero; run++)
		;
	return run * SNAPSHOT_PAGE_SIZE;
}

void supply_will_need(const struct supply *supply, uint64_t offset)
{
	const struct snapshot_block *block = block_of(supply, &offset);

	if (block)
		posix_fadvise(block->fd, (off_t)offset, SNAPSHOT_PAGE_SIZE,
			      POSIX_FADV_WILLNEED);
}

static int file_read(const struct snapshot_block *block, uint64_t offset, size_t size,
		     char *buffer, bool *zero, struct error *err)
{
	size_t done = 0;
	ssize_t length;

	while (done < size) {
		length = pread(block->fd, buffer + done, size - done,
			       (off_t)(offset + done));
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return error_set(err, EXIT_SNAPSHOT, "memory %s: %s", block->id,
					 length ? strerror(errno) : "it has become shorter");
		done += (size_t)length;
	}
	for (done = 0; done < size; done += SNAPSHOT_PAGE_SIZE) {
		if (!page_is_zero(buffer + done))
			break;
	}
	*zero = done >= size;
	return 0;
}

int supply_read(const struct supply *supply, uint64_t offset, size_t size,
		void *buffer, bool *zero, struct error *err)
{
	const struct snapshot_block *block;
	bool zeros, all = true;
	size_t part, done;

	part = supply_run(supply, offset, size, zero);
	if (part == size && *zero)
		return 0;
	for (done = 0; done < size; done += part) {
		uint64_t at = offset + done;

		part = supply_run(supply, at, size - done, &zeros);
		block = block_of(supply, &at);
		if (!block)
			return error_set(err, EXIT_FAILED, "there is no such memory");
		if (block->digests && zeros)
			memset((char *)buffer + done, 0, part);
		else if (block->digests ?
			 snapshot_read(block, at / SNAPSHOT_PAGE_SIZE,
				       part / SNAPSHOT_PAGE_SIZE,
				       (char *)buffer + done, err) :
			 file_read(block, at, part, (char *)buffer + done, &zeros, err))
			return -1;
		all = all && zeros;
	}
	*zero = all;
	return 0;
}

static int set_refuse(const char *what, struct error *err)
{
	error_set(err, EXIT_SNAPSHOT, "the working set %s", what);
	return error_advise(err, "remove it, and record it again");
}

/* It is a hint: what is wrong in it must only not lead anywhere. */
static int set_read(const struct supply *supply, int fd, uint64_t **pages, size_t *n,
		    struct error *err)
{
	uint64_t all = supply->size / SNAPSHOT_PAGE_SIZE;
	struct stat st;
	size_t size, i;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_mode & 022))
		return set_refuse("is not a file of our own", err);
	if (st.st_size % sizeof(**pages) || (uint64_t)st.st_size > all * sizeof(**pages))
		return set_refuse("has an impossible size", err);
	size = (size_t)st.st_size;
	*pages = malloc(size + 1);
	if (!*pages)
		return error_set(err, EXIT_FAILED, "out of memory");
	if (pread(fd, *pages, size, 0) != (ssize_t)size)
		return set_refuse("can't be read", err);
	for (i = 0; i < size / sizeof(**pages); i++) {
		if ((*pages)[i] >= all)
			return set_refuse("has pages that there are not", err);
	}
	*n = size / sizeof(**pages);
	return 0;
}

int supply_working_set(const struct supply *supply, uint64_t **pages, size_t *n,
		       struct error *err)
{
	int fd = openat(supply->dir_fd, supply->working_set,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), ret;

	*pages = NULL;
	*n = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : path_error(supply->working_set, err);
	ret = set_read(supply, fd, pages, n, err);
	if (ret) {
		free(*pages);
		*pages = NULL;
	}
	close(fd);
	return ret;
}

/* A reader sees the old one or the new one, whole. */
int supply_working_set_write(const struct supply *supply, const uint64_t *pages,
			     size_t n, struct error *err)
{
	char next[NAME_MAX + 8];
	size_t size = n * sizeof(*pages);
	int fd, ret;

	snprintf(next, sizeof(next), "%s.new", supply->working_set);
	unlinkat(supply->dir_fd, next, 0);
	fd = openat(supply->dir_fd, next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
		    O_CLOEXEC, 0600);
	if (fd < 0)
		return path_error(supply->working_set, err);
	errno = ENOSPC;
	ret = write(fd, pages, size) != (ssize_t)size || fsync(fd) ||
	      renameat(supply->dir_fd, next, supply->dir_fd, supply->working_set);
	if (ret) {
		path_error(supply->working_set, err);
		unlinkat(supply->dir_fd, next, 0);
	}
	close(fd);
	return ret ? -1 : 0;
}
