// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <unistd.h>

#include "machine.h"

int write_all(int fd, const void *data, size_t size)
{
	ssize_t length;

	for (; size; size -= (size_t)length, data = (const char *)data + length) {
		length = write(fd, data, size);
		if (length < 0 && errno == EINTR)
			length = 0;
		else if (length < 0)
			return -1;
	}
	return 0;
}

int read_all(int fd, void *data, size_t size)
{
	ssize_t length;

	for (; size; size -= (size_t)length, data = (char *)data + length) {
		length = read(fd, data, size);
		if (length < 0 && errno == EINTR)
			length = 0;
		else if (length <= 0)
			return -1;
	}
	return 0;
}
