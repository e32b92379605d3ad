// SPDX-License-Identifier: GPL-2.0-or-later
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "common/descriptors.h"
#include "lazy.h"

const char *lazy_register(struct lazy *lazy, const struct machine *m, uint64_t modes)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)m->memory, m->size },
		.mode = modes,
	};

	api.features = UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_MISSING_SHMEM |
		       UFFD_FEATURE_THREAD_ID |
		       (modes & UFFDIO_REGISTER_MODE_WP ?
			UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM : 0);
	lazy->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (lazy->fd < 0)
		return strerror(errno);
	if (!ioctl(lazy->fd, UFFDIO_API, &api) &&
	    (m->broken || !ioctl(lazy->fd, UFFDIO_REGISTER, &reg))) {
		lazy->features = api.features;
		return NULL;
	}
	close(lazy->fd);
	lazy->fd = -1;
	return strerror(errno);
}

/* Whoever waits is woken. */
void lazy_unregister(struct lazy *lazy, const struct machine *m)
{
	struct uffdio_range range = { (uintptr_t)m->memory, m->size };

	if (lazy->fd < 0)
		return;
	ioctl(lazy->fd, UFFDIO_UNREGISTER, &range);
	close(lazy->fd);
	lazy->fd = -1;
}

static void hand_over(const struct machine *m, int sock, const char *path, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t size = m->size / m->regions;
	size_t i, used = 0;
	char text[4096];

	for (i = 0; i < m->regions; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
			"%s{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,\"page_size\":4096}",
			i ? "," : "[", (unsigned long long)(uintptr_t)m->memory + i * size,
			(unsigned long long)size, (unsigned long long)(i * size));
	used += (size_t)snprintf(text + used, sizeof(text) - used, "]");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) ||
	    descriptors_send(sock, text, used, &fd, 1) < 0)
		err(3, "%s", path);
}

static void lazy_connect(struct machine *m, int sock, const char *path)
{
	struct lazy lazy;
	const char *why;

	why = lazy_register(&lazy, m, UFFDIO_REGISTER_MODE_MISSING);
	if (why)
		errx(3, "userfaultfd: %s", why);
	hand_over(m, sock, path, lazy.fd);
}

void lazy_run(struct machine *m, const char *path, const char *state, unsigned int ms)
{
	int fd = open(state, O_RDONLY), sock = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte;

	if (fd < 0 || machine_load(m, fd))
		err(3, "%s", state);
	if (path)
		lazy_connect(m, sock, path);
	answer_begin(m);
	machine_run(m);
	if (m->answer) {
		pthread_join(m->answering, NULL);
		machine_pause(m);
		return;
	}
	usleep(ms * 1000);
	/* Its peer closes the connection when all is loaded. */
	if (path && recv(sock, &byte, 1, 0))
		errx(3, "what came is not the end");
	machine_pause(m);
}
