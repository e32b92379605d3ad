// SPDX-License-Identifier: GPL-2.0-or-later
#include "virtio.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool missing(const char *what)
{
	printf("virtio: %s: %m\n", what);
	return false;
}

static bool module_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return missing(path);
	ret = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return !ret || errno == EEXIST || missing(path);
}

bool virtio_start(void)
{
	char path[128];
	FILE *list;
	bool good = true;

	/* Nodes of what the drivers find. */
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
		return missing("/dev");
	list = fopen("/modules", "r");
	if (!list)
		return missing("/modules");
	while (good && fscanf(list, "%127s", path) == 1)
		good = module_load(path);
	fclose(list);
	return good;
}

static bool set_address(struct ifreq *ifr, unsigned long request, const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd, ret;

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		return missing(text);
	memcpy(&ifr->ifr_addr, &address, sizeof(address));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return missing("socket");
	ret = ioctl(fd, request, ifr);
	close(fd);
	return !ret || missing(text);
}

static bool set_up(struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return missing("socket");
	ifr->ifr_flags = IFF_UP;
	ret = ioctl(fd, SIOCSIFFLAGS, ifr);
	close(fd);
	return !ret || missing("eth0");
}

bool net_start(const char *address)
{
	struct ifreq ifr = { .ifr_name = "eth0" };

	return set_address(&ifr, SIOCSIFADDR, address) &&
	       set_address(&ifr, SIOCSIFNETMASK, "255.255.255.0") && set_up(&ifr);
}
