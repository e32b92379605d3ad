// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kcmp.h>

#include "vmm/vfio.h"

#define ANON		"anon_inode:"
#define CDEV		"/dev/vfio/devices/"
#define SYSPATH		"vfio-device-syspath:"

bool vfio_link_is_device(const char *link)
{
	return !strcmp(link, ANON "[vfio-device]") ||
	       !strncmp(link, CDEV, strlen(CDEV));
}

/* Each driver calls its data as it likes; these are known to be something else. */
bool vfio_link_may_be_data(const char *link, unsigned int flags)
{
	static const char * const others[] = {
		"[vfio-device]", "[userfaultfd]", "inotify", "kvm", "bpf",
	};
	size_t i;

	if (strncmp(link, ANON, strlen(ANON)) ||
	    (flags & O_ACCMODE) != O_RDONLY)
		return false;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (!strncmp(link + strlen(ANON), others[i],
			     strlen(others[i])))
			return false;
	}
	return true;
}

/**
 * struct fd_info - what /proc/PID/fdinfo says
 * @flags: as of open(2)
 * @name: of a VFIO device, "" where the kernel does not say
 */
struct fd_info {
	unsigned int flags;
	char name[VFIO_NAME_SIZE];
};

static void fd_info_line(struct fd_info *info, char *line)
{
	const char *base;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "flags: %o", &info->flags) == 1)
		return;
	if (strncmp(line, SYSPATH, strlen(SYSPATH)))
		return;
	base = strrchr(line, '/');
	if (base)
		snprintf(info->name, sizeof(info->name), "%.*s",
			 VFIO_NAME_SIZE - 1, base + 1);
}

static int fd_info_read(struct fd_info *info, pid_t pid, int number)
{
	char path[64], line[PATH_MAX + 32];
	FILE *file;

	*info = (struct fd_info){};
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, number);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		fd_info_line(info, line);
	fclose(file);
	return 0;
}

/* /sys/class/vfio-dev/vfioN/device is the device. */
static void cdev_name(const char *link, char *name)
{
	char path[PATH_MAX + 64], target[PATH_MAX];
	const char *base;
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/class/vfio-dev/%s/device",
		 link + strlen(CDEV));
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return;
	target[len] = '\0';
	base = strrchr(target, '/');
	snprintf(name, VFIO_NAME_SIZE, "%.*s", VFIO_NAME_SIZE - 1,
		 base ? base + 1 : target);
}

/* Two descriptors can be of one open file: it is one device. */
static bool is_known(const struct vfio_files *files, pid_t pid, int number)
{
	size_t i;

	for (i = 0; i < files->n_devices; i++) {
		if (!syscall(SYS_kcmp, pid, pid, KCMP_FILE,
			     files->devices[i].number, number))
			return true;
	}
	return false;
}

static int files_add(struct vfio_file **files, size_t *n, int number,
		     const char *name, struct error *err)
{
	struct vfio_file *more;

	more = reallocarray(*files, *n + 1, sizeof(*more));
	if (!more)
		return error_set(err, EXIT_FAILED, "out of memory");
	*files = more;
	more[*n].number = number;
	if (name[0])
		snprintf(more[*n].name, VFIO_NAME_SIZE, "%s", name);
	else
		snprintf(more[*n].name, VFIO_NAME_SIZE, "fd:%d", number);
	(*n)++;
	return 0;
}

static int files_look(struct vfio_files *files, pid_t pid, int number,
		      struct error *err)
{
	char path[64], link[PATH_MAX];
	struct fd_info info;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0 || fd_info_read(&info, pid, number))
		return 0;
	link[len] = '\0';
	if (vfio_link_may_be_data(link, info.flags))
		return files_add(&files->data, &files->n_data, number,
				 link + strlen(ANON), err);
	if (!vfio_link_is_device(link) || is_known(files, pid, number))
		return 0;
	if (!info.name[0] && !strncmp(link, CDEV, strlen(CDEV)))
		cdev_name(link, info.name);
	return files_add(&files->devices, &files->n_devices, number, info.name,
			 err);
}

/* The only device of the only group that the process has open. */
static void group_name(struct vfio_file *device, const char *group)
{
	char path[PATH_MAX], name[VFIO_NAME_SIZE] = "";
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%s/devices",
		 group);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		n++;
		snprintf(name, sizeof(name), "%.*s", VFIO_NAME_SIZE - 1,
			 entry->d_name);
	}
	closedir(dir);
	if (n == 1)
		snprintf(device->name, VFIO_NAME_SIZE, "%s", name);
}

/* Kernels before 6.18 do not say which device a descriptor is of. */
static void files_name(struct vfio_files *files, pid_t pid)
{
	char path[64], link[PATH_MAX], group[32] = "";
	struct dirent *entry;
	size_t n = 0;
	ssize_t len;
	DIR *dir;

	if (files->n_devices != 1 ||
	    strncmp(files->devices[0].name, "fd:", 3))
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		len = readlinkat(dirfd(dir), entry->d_name, link,
				 sizeof(link) - 1);
		if (len < 0)
			continue;
		link[len] = '\0';
		n += sscanf(link, "/dev/vfio/%31[0-9]", group);
	}
	closedir(dir);
	if (n == 1)
		group_name(&files->devices[0], group);
}

/**
 * vfio_files_find() - the VFIO devices that a process has open
 * @files: filled; to be freed
 * @pid: the process
 * @err: why that can't be told
 *
 * Return: 0 or -1.
 */
int vfio_files_find(struct vfio_files *files, pid_t pid, struct error *err)
{
	struct dirent *entry;
	char path[64];
	int ret = 0;
	DIR *dir;

	*files = (struct vfio_files){};
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir) {
		error_set(err, errno == ENOENT ? EXIT_GONE : EXIT_PERMISSION,
			  "%s: %s", path, strerror(errno));
		return error_advise(err,
				    "run migctl as root, on the host of the guest");
	}
	while (!ret && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			ret = files_look(files, pid, atoi(entry->d_name), err);
	}
	closedir(dir);
	if (!ret)
		files_name(files, pid);
	return ret;
}

void vfio_files_free(struct vfio_files *files)
{
	free(files->devices);
	free(files->data);
	*files = (struct vfio_files){};
}

/**
 * vfio_file_take() - a copy of a descriptor of a process
 * @pid: the process
 * @number: of the descriptor there
 *
 * Return: the copy, to be closed soon: it keeps a device from being unplugged. Or
 * a negative errno.
 */
int vfio_file_take(pid_t pid, int number)
{
	int pidfd, fd;

	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (fd < 0)
		fd = -errno;
	close(pidfd);
	return fd;
}
