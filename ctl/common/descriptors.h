/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that go over UNIX sockets with the bytes (SCM_RIGHTS). */
#ifndef MIGCTL_DESCRIPTORS_H
#define MIGCTL_DESCRIPTORS_H

#include <stddef.h>
#include <sys/types.h>

/* That are kept for one who receives; more are closed. */
#define DESCRIPTORS_MAX	64

ssize_t descriptors_send(int socket, const void *data, size_t size, const int *fds,
			 size_t n);
ssize_t descriptors_receive(int socket, void *data, size_t size, int *fds, size_t *n);

#endif /* MIGCTL_DESCRIPTORS_H */
