// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/ram.h"
#include "common/units.h"
#include "vmm/memfile.h"

static int range_parse(struct ram_spec *spec, const char *text,
		       struct error *err)
{
	uint64_t *value;

	if (!strncmp(text, "offset=", 7))
		value = &spec->offset;
	else
		value = &spec->length;
	if (!parse_size(text + 7, value) &&
	    (value == &spec->offset || *value))
		return 0;
	error_set(err, EXIT_USAGE, "--ram: %s is not a size", text);
	return error_advise(err, "write it as bytes, 0x1000, 4K, 512M or 2G");
}

/* The last ",offset=" or ",length=", NULL if there is none. */
static char *range_find(char *text)
{
	char *comma = strrchr(text, ',');

	if (comma && (!strncmp(comma, ",offset=", 8) ||
		      !strncmp(comma, ",length=", 8)))
		return comma;
	return NULL;
}

/**
 * ram_parse() - understand the argument of --ram
 * @spec: filled
 * @text: the argument; a file name may hold commas
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int ram_parse(struct ram_spec *spec, const char *text, struct error *err)
{
	uint64_t fd;
	char *comma;

	*spec = (struct ram_spec) { .fd = -1 };
	if (strlen(text) >= sizeof(spec->path))
		return error_set(err, EXIT_USAGE, "--ram: the path is too long");
	memcpy(spec->path, text, strlen(text));
	while ((comma = range_find(spec->path))) {
		*comma = '\0';
		if (range_parse(spec, comma + 1, err))
			return -1;
	}
	if (!spec->path[0]) {
		error_set(err, EXIT_USAGE, "--ram %s: which file?", text);
		return error_advise(err, "give PATH or fd:N, then what you like of ,offset=BYTES,length=BYTES");
	}
	if (strncmp(spec->path, "fd:", 3))
		return 0;
	if (parse_number(spec->path + 3, INT32_MAX, &fd)) {
		error_set(err, EXIT_USAGE,
			  "--ram %s: not a descriptor's number", text);
		return error_advise(err, "give fd:N for what ls -l /proc/PID/fd shows as N, or ./%s for a file of that name",
				    spec->path);
	}
	spec->fd = (int)fd;
	spec->path[0] = '\0';
	return 0;
}

static int open_error(const char *path, struct error *err)
{
	switch (errno) {
	case EACCES:
	case EPERM:
		error_set(err, EXIT_PERMISSION, "%s: %s", path,
			  strerror(errno));
		return error_advise(err,
				    "run migctl as root; the file is opened for reading and writing, but not written");
	case EISDIR:
		error_set(err, EXIT_UNTRACKABLE,
			  "%s: it is a directory, not the memory's file", path);
		return error_advise(err,
				    "name the file in it; for one that was deleted use fd:N, see ls -l /proc/PID/fd");
	case ENOENT:
		error_set(err, EXIT_UNTRACKABLE, "%s: no such file", path);
		return error_advise(err,
				    "name a file or descriptor that the process maps, see /proc/PID/maps");
	default:
		error_set(err, EXIT_UNTRACKABLE, "%s: %s", path,
			  strerror(errno));
		return error_advise(err, MEMFILE_ADVICE);
	}
}

static int range_check(const struct ram_spec *spec, struct vmm_memory *mem,
		       struct error *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size;
	struct stat st;

	if (fstat(mem->fd, &st))
		return open_error(mem->path, err);
	size = (uint64_t)st.st_size;
	if (spec->offset % page || spec->length % page) {
		error_set(err, EXIT_USAGE,
			  "%s: offset and length must be multiples of %llu",
			  mem->path, (unsigned long long)page);
		return error_advise(err, "the tracker counts whole pages");
	}
	if (spec->offset >= size || spec->length > size - spec->offset) {
		error_set(err, EXIT_USAGE,
			  "%s: the range ends past the file's end at %llu",
			  mem->path, (unsigned long long)size);
		return error_advise(err,
				    "leave out length to track up to the end");
	}
	mem->offset = spec->offset;
	mem->size = spec->length ? spec->length : size - spec->offset;
	return 0;
}

static int memory_check(const struct ram_spec *spec, struct vmm_memory *mem,
			struct error *err)
{
	struct memfile_verdict verdict = memfile_check(mem->fd);

	if (!verdict.reason)
		return range_check(spec, mem, err);
	error_set(err, EXIT_UNTRACKABLE, "%s: %s", mem->path, verdict.reason);
	return error_advise(err, "%s", verdict.advice);
}

int ram_open(const struct ram_spec *spec, pid_t pid, struct vmm_memory *mem,
	     struct error *err)
{
	char path[PATH_MAX];
	bool by_fd = spec->fd >= 0;

	*mem = (struct vmm_memory) { .share = true };
	if (by_fd) {
		snprintf(mem->id, sizeof(mem->id), "fd:%d", spec->fd);
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, spec->fd);
	} else {
		snprintf(mem->id, sizeof(mem->id), "%.*s", NAME_MAX,
			 basename(spec->path));
		snprintf(path, sizeof(path), "%s", spec->path);
	}
	snprintf(mem->kind, sizeof(mem->kind), "%s", by_fd ? "fd" : "file");
	snprintf(mem->path, sizeof(mem->path), "%s", path);
	mem->fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (mem->fd < 0)
		return open_error(path, err);
	if (!memory_check(spec, mem, err))
		return 0;
	close(mem->fd);
	mem->fd = -1;
	return -1;
}
