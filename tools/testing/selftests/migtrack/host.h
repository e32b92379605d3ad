/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests set on the host, and read of it: swap, groups, /proc and /sys. */
#ifndef HOST_H
#define HOST_H

#include <stddef.h>

/* All but the first three end the test program with a message if they can't. */
int host_try_write(const char *path, const char *text);
long host_number(const char *path, const char *key);
size_t host_resident(const void *memory, size_t length);

void host_write(const char *path, const char *text);
void host_write_number(const char *path, long number);
char *host_read(const char *path, char *line, size_t size);

/* Swap to compressed memory; the same calls again do nothing. */
void host_swap_on(size_t size);
void host_swap_off(void);

/* A control group for this process and its children. */
void host_group_enter(void);
void host_group_leave(void);
#define HOST_GROUP "/sys/fs/cgroup/migtrack-test"

#endif /* HOST_H */
