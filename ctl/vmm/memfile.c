// SPDX-License-Identifier: GPL-2.0-or-later
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "vmm/memfile.h"

/* One line of /proc/PID/maps. */
struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	bool shared;
	bool writable;
	dev_t dev;
	ino_t ino;
	const char *path;
	int path_length;
};

static bool mapping_parse(const char *line, struct mapping *map)
{
	unsigned long long start, end, offset, ino;
	unsigned int major_id, minor_id;
	char mode[5];
	int path = 0;

	if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, mode,
		   &offset, &major_id, &minor_id, &ino, &path) < 7 || !path)
		return false;
	map->start = start;
	map->end = end;
	map->offset = offset;
	map->shared = mode[3] == 's';
	map->writable = mode[1] == 'w';
	map->dev = makedev(major_id, minor_id);
	map->ino = ino;
	map->path = line + path;
	map->path_length = (int)strcspn(map->path, "\n");
	return true;
}

static struct memfile *memfiles_find(const struct memfiles *all, dev_t dev,
				     ino_t ino)
{
	size_t i;

	for (i = 0; i < all->n; i++) {
		if (all->files[i].dev == dev && all->files[i].ino == ino)
			return &all->files[i];
	}
	return NULL;
}

bool memfiles_have(const struct memfiles *all, int fd)
{
	struct stat st;

	return !fstat(fd, &st) && memfiles_find(all, st.st_dev, st.st_ino);
}

static int memfiles_add(struct memfiles *all, const struct mapping *map,
			struct error *err)
{
	struct memfile *files, *file;

	file = memfiles_find(all, map->dev, map->ino);
	if (file) {
		file->bytes += map->end - map->start;
		return 0;
	}
	files = reallocarray(all->files, all->n + 1, sizeof(*files));
	if (!files)
		return error_set(err, EXIT_FAILED, "out of memory");
	all->files = files;
	file = &files[all->n++];
	*file = (struct memfile) {
		.dev = map->dev,
		.ino = map->ino,
		.bytes = map->end - map->start,
		.start = map->start,
		.end = map->end,
	};
	snprintf(file->path, sizeof(file->path), "%.*s", map->path_length,
		 map->path);
	return 0;
}

int memfiles_parse(struct memfiles *all, const char *maps, struct error *err)
{
	struct mapping map;
	const char *line;

	*all = (struct memfiles){};
	for (line = maps; *line; line += strcspn(line, "\n"),
				 line += *line == '\n') {
		if (!mapping_parse(line, &map) || !map.shared || !map.ino)
			continue;
		if (memfiles_add(all, &map, err)) {
			memfiles_free(all);
			return -1;
		}
	}
	return 0;
}

void memfiles_free(struct memfiles *all)
{
	free(all->files);
	*all = (struct memfiles){};
}

/* @verb what failed in /proc/PID, with errno. */
static int process_error(pid_t pid, const char *verb, struct error *err)
{
	if (errno == ENOENT || errno == ESRCH) {
		error_set(err, EXIT_GONE, "process %d does not exist", pid);
		return error_advise(err,
				    "it may have exited; see ps, and mind pid namespaces");
	}
	if (errno == EACCES || errno == EPERM) {
		error_set(err, EXIT_PERMISSION, "can't %s process %d: %s", verb,
			  pid, strerror(errno));
		return error_advise(err,
				    "run migctl as root, or with CAP_SYS_PTRACE and CAP_NET_ADMIN");
	}
	return error_set(err, EXIT_FAILED, "can't %s process %d: %s", verb, pid,
			 strerror(errno));
}

/* The text of /proc/PID/maps, or smaps; the caller frees it. */
static int maps_read(pid_t pid, const char *name, char **text, struct error *err)
{
	char path[64];
	size_t room = 0;
	FILE *file;
	int ret = 0;

	*text = NULL;
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "re");
	if (!file)
		return process_error(pid, "read the mappings of", err);
	errno = 0;
	if (getdelim(text, &room, '\0', file) < 0) {
		errno = errno ? errno : ESRCH;
		ret = process_error(pid, "read the mappings of", err);
		free(*text);
	}
	fclose(file);
	return ret;
}

int memfiles_read(struct memfiles *all, pid_t pid, struct error *err)
{
	char *text;
	int ret;

	*all = (struct memfiles){};
	if (maps_read(pid, "maps", &text, err))
		return -1;
	ret = memfiles_parse(all, text, err);
	free(text);
	return ret;
}

/* On some file systems (btrfs) maps has another device than stat. */
static bool mapping_is(const struct mapping *map, pid_t pid, const struct stat *st)
{
	struct stat found;
	char path[96];

	if (map->ino != st->st_ino)
		return false;
	if (map->dev == st->st_dev)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid,
		 (unsigned long long)map->start, (unsigned long long)map->end);
	return !stat(path, &found) && found.st_dev == st->st_dev &&
	       found.st_ino == st->st_ino;
}

bool memfile_stat(pid_t pid, const char *path, struct stat *st)
{
	char *proc;
	bool ok;

	if (asprintf(&proc, "/proc/%d/%s/%s", pid,
		     path[0] == '/' ? "root" : "cwd", path) < 0)
		return false;
	ok = !stat(proc, st);
	free(proc);
	return ok;
}

/*
 * In the part of smaps that begins with this mapping: copies that are in memory, or were
 * swapped out.
 */
static uint64_t mapping_written(const char *line)
{
	static const char anonymous[] = "Anonymous:", swap[] = "Swap:";
	uint64_t kib = 0;
	struct mapping next;

	while (*(line += strcspn(line, "\n")) && !mapping_parse(++line, &next)) {
		if (!strncmp(line, anonymous, sizeof(anonymous) - 1))
			kib += strtoull(line + sizeof(anonymous) - 1, NULL, 10);
		else if (!strncmp(line, swap, sizeof(swap) - 1))
			kib += strtoull(line + sizeof(swap) - 1, NULL, 10);
	}
	return kib << 10;
}

/**
 * memfile_mapped() - whether a process has a file mapped for itself
 * @pid: the process
 * @fd: the file
 * @size: bytes, from the file's begin
 * @mapped: set: in one private mapping
 * @written: bytes that it has written to there, which are not the file's any more
 * @err: why it can't be told
 *
 * Return: 0 or -1.
 */
int memfile_mapped(pid_t pid, int fd, uint64_t size, bool *mapped, uint64_t *written,
		   struct error *err)
{
	struct mapping map;
	const char *line;
	struct stat st;
	char *text;

	*mapped = false;
	*written = 0;
	if (fstat(fd, &st))
		return error_set(err, EXIT_FAILED, "fstat: %s", strerror(errno));
	if (maps_read(pid, "smaps", &text, err))
		return -1;
	for (line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (!mapping_parse(line, &map) || map.shared || map.offset ||
		    map.end - map.start < size || !mapping_is(&map, pid, &st))
			continue;
		*mapped = true;
		*written = mapping_written(line);
		break;
	}
	free(text);
	return 0;
}

static bool mapping_overlaps(const struct mapping *map, const struct memfile_range *range)
{
	return map->offset < range->offset + range->size &&
	       range->offset < map->offset + (map->end - map->start);
}

/**
 * memfile_writable() - which memory a process has mapped such that it can write there
 * @pid: the process
 * @ranges: the memory
 * @n: how many
 *
 * A private mapping counts as well: a guest that has one has in it what others write to
 * the file.
 *
 * Return: the first of @ranges, or -1: none, or its mappings can't be read.
 */
int memfile_writable(pid_t pid, const struct memfile_range *ranges, size_t n)
{
	struct mapping map;
	struct error ignored;
	const char *line;
	int found = -1;
	char *text;
	size_t i;

	if (maps_read(pid, "maps", &text, &ignored))
		return -1;
	for (line = text; *line && found < 0; line += strcspn(line, "\n"),
					      line += *line == '\n') {
		if (!mapping_parse(line, &map) || !map.writable || !map.ino)
			continue;
		for (i = 0; i < n && found < 0; i++) {
			if (mapping_overlaps(&map, &ranges[i]) &&
			    mapping_is(&map, pid, &ranges[i].st))
				found = (int)i;
		}
	}
	free(text);
	return found;
}

static bool is_file(const struct memfile *file, const struct stat *st)
{
	return st->st_dev == file->dev && st->st_ino == file->ino;
}

/* The process's own descriptor of the file, which needs no CAP_SYS_ADMIN. */
static int open_by_fd(const struct memfile *file, pid_t pid)
{
	struct dirent *entry;
	struct stat st;
	char path[64];
	int fd = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while (fd < 0 && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) ||
		    !S_ISREG(st.st_mode) || !is_file(file, &st))
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

static int open_by_mapping(const struct memfile *file, pid_t pid)
{
	struct stat st;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid,
		 (unsigned long long)file->start,
		 (unsigned long long)file->end);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && is_file(file, &st))
		return fd;
	close(fd);
	errno = ESTALE;
	return -1;
}

int memfile_open(const struct memfile *file, pid_t pid, struct error *err)
{
	int fd;

	fd = open_by_fd(file, pid);
	if (fd < 0)
		fd = open_by_mapping(file, pid);
	if (fd < 0)
		return process_error(pid, "open the memory of", err);
	return fd;
}

void process_name(pid_t pid, char *name, size_t size)
{
	char path[64], *c;
	FILE *file;

	name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(name, (int)size, file))
		name[strcspn(name, "\n")] = '\0';
	fclose(file);
	for (c = name; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
}

uint64_t process_start(pid_t pid)
{
	char path[64], text[1024], *at;
	unsigned long long start = 0;
	size_t length;
	FILE *file;
	char state;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = '\0';
	/* After the name, which may hold anything, the 20th number. */
	at = strrchr(text, ')');
	if (at && sscanf(at + 1, " %c", &state) == 1 && state != 'Z' && state != 'X')
		sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		       &start);
	return start;
}

/* Whom a directory lets through to what is in it. */
static void pass(const char *dir, gid_t gid, bool *others, bool *group)
{
	struct stat st;

	if (stat(dir, &st))
		return;
	*others = *others && st.st_mode & S_IXOTH;
	*group = *group && st.st_mode & (st.st_gid == gid ? S_IXGRP : S_IXOTH);
}

/* The name by which this process would find it, "" if there is none. */
static void name_of(int fd, const struct stat *st, char path[PATH_MAX])
{
	struct stat named;
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_MAX - 1);
	path[length < 0 ? 0 : length] = '\0';
	if (stat(path, &named) || named.st_dev != st->st_dev ||
	    named.st_ino != st->st_ino)
		path[0] = '\0';
}

void memfile_identity(int fd, char identity[MEMFILE_IDENTITY_SIZE])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	char boot[37] = "";
	struct stat st;

	identity[0] = '\0';
	if (!file)
		return;
	if (fgets(boot, sizeof(boot), file) && !fstat(fd, &st))
		snprintf(identity, MEMFILE_IDENTITY_SIZE, "%s:%x:%x:%llu", boot,
			 major(st.st_dev), minor(st.st_dev), (unsigned long long)st.st_ino);
	fclose(file);
}

const char *memfile_readers(int fd)
{
	char path[PATH_MAX], *slash;
	bool others, group;
	struct stat st;

	/* Without a name nobody can open it who may not look into the process. */
	if (fstat(fd, &st) || !st.st_nlink)
		return NULL;
	others = st.st_mode & S_IROTH;
	/* Who is in the group root is trusted with more than this. */
	group = st.st_mode & S_IRGRP && st.st_gid;
	name_of(fd, &st, path);
	while ((slash = strrchr(path, '/')) && slash != path) {
		*slash = '\0';
		pass(path, st.st_gid, &others, &group);
	}
	return others ? "everybody" : group ? "its group" : NULL;
}

/**
 * memfile_check() - whether the tracker takes a file's memory
 * @fd: the file
 *
 * Looks at the kind of file only; the kernel looks at the mappings.
 *
 * Return: the verdict.
 */
struct memfile_verdict memfile_check(int fd)
{
	struct memfile_verdict verdict = { .advice = MEMFILE_ADVICE };
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs))
		verdict.reason = "it can't be examined";
	else if (S_ISDIR(st.st_mode))
		verdict.reason = "it is a directory, not the memory's file";
	else if (!S_ISREG(st.st_mode))
		verdict.reason = "it is not a regular file";
	else if (fs.f_type == HUGETLBFS_MAGIC)
		verdict.reason = "huge pages (hugetlbfs) are not supported yet";
	else if (fs.f_type != TMPFS_MAGIC)
		verdict.reason = "it is not on tmpfs and not a memfd";
	else if (!st.st_size)
		verdict.reason = "the file is empty";
	return verdict;
}
