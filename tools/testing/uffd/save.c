// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * save DIR MIB [MIB...]: a snapshot as migctl makes it, of memory that tells which page
 * is which, a block for each number; save -f FILE MIB: a file of such memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "snapshot/writer.h"

static int memory_write(int fd, uint64_t first, uint64_t pages)
{
	char page[PAGE] __attribute__((aligned(8)));
	uint64_t i;

	if (ftruncate(fd, (off_t)(pages * PAGE)))
		return -1;
	for (i = 0; i < pages; i++) {
		if (page_is_hole(first + i))
			continue;
		page_fill(page, first + i);
		if (pwrite(fd, page, PAGE, (off_t)(i * PAGE)) != PAGE)
			return -1;
	}
	return 0;
}

static int file_make(const char *path, uint64_t mib)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	return fd < 0 || memory_write(fd, 0, (mib << 20) / PAGE);
}

static int snapshot_make(const char *path, char **mib, size_t n, struct error *err)
{
	struct writer_source *sources = calloc(n, sizeof(*sources));
	struct snapshot_dir dir = SNAPSHOT_DIR_NONE;
	struct snapshot snapshot;
	struct writer writer;
	uint64_t first = 0;
	size_t i;
	int left;

	if (!sources || snapshot_alloc(&snapshot, n, err))
		return -1;
	for (i = 0; i < n; i++) {
		struct snapshot_block *block = &snapshot.blocks[i];

		snprintf(block->id, sizeof(block->id), "ram%zu", i);
		block->size = strtoull(mib[i], NULL, 10) << 20;
		sources[i].fd = memfd_create("ram", 0);
		if (sources[i].fd < 0 ||
		    memory_write(sources[i].fd, first, snapshot_pages(block)))
			return error_set(err, EXIT_FAILED, "no memory");
		first += snapshot_pages(block);
		sources[i].bitmap = calloc(snapshot_pages(block) / 64 + 1, 8);
	}
	if (snapshot_dir_create(&dir, path, err) ||
	    snapshot_dir_files(&dir, &snapshot, err) ||
	    writer_open(&writer, &snapshot, sources, err) ||
	    writer_first_pass(&writer, err))
		return -1;
	while ((left = writer_copy(&writer, 1 << 20, err)) > 0)
		;
	snapshot.vm = json_object();
	snapshot.state_size = 4;
	snapshot.state_digest = snapshot_digest_all("none", 4);
	if (left || write(snapshot.state_fd, "none", 4) != 4 ||
	    snapshot_dir_commit(&dir, &snapshot, err))
		return -1;
	writer_close(&writer);
	snapshot_close(&snapshot);
	return 0;
}

int main(int argc, char **argv)
{
	struct error err = {};

	if (argc > 3 && !strcmp(argv[1], "-f"))
		return file_make(argv[2], strtoull(argv[3], NULL, 10));
	if (argc < 3)
		return 2;
	if (!snapshot_make(argv[1], argv + 2, (size_t)argc - 2, &err))
		return 0;
	fprintf(stderr, "save: %s\n", err.message);
	return 1;
}
