// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/descriptors.h"

union control {
	char space[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
	struct cmsghdr align;
};

/**
 * descriptors_send() - as send(2), with duplicates of some descriptors
 * @socket: to send to; who has closed it is no reason for a SIGPIPE
 * @data: at least a byte
 * @size: of it
 * @fds: the descriptors
 * @n: how many, DESCRIPTORS_MAX at most
 *
 * Return: bytes that were sent, or -1 with errno.
 */
ssize_t descriptors_send(int socket, const void *data, size_t size, const int *fds,
			 size_t n)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = {};
	struct cmsghdr *header;

	if (n) {
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(n * sizeof(*fds));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n * sizeof(*fds));
		memcpy(CMSG_DATA(header), fds, n * sizeof(*fds));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static void message_take(struct msghdr *message, int *fds, size_t *n)
{
	struct cmsghdr *header;
	size_t i, got;
	int fd;

	for (header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		got = (header->cmsg_len - CMSG_LEN(0)) / sizeof(fd);
		for (i = 0; i < got; i++) {
			memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
			if (*n < DESCRIPTORS_MAX)
				fds[(*n)++] = fd;
			else
				close(fd);
		}
	}
}

/**
 * descriptors_receive() - as recv(2), does not wait, and takes what comes with it
 * @socket: to receive from
 * @data: room for what comes
 * @size: of it
 * @fds: room for DESCRIPTORS_MAX descriptors, which are the caller's
 * @n: how many there are; counted on
 *
 * Return: bytes, 0 at the end, or -1 with errno: E2BIG if there were more descriptors
 * than the kernel has passed on.
 */
ssize_t descriptors_receive(int socket, void *data, size_t size, int *fds, size_t *n)
{
	struct iovec iov = { .iov_base = data, .iov_len = size };
	union control control;
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.space, .msg_controllen = sizeof(control.space),
	};
	ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (length < 0)
		return length;
	message_take(&message, fds, n);
	if (!(message.msg_flags & MSG_CTRUNC))
		return length;
	errno = E2BIG;
	return -1;
}
