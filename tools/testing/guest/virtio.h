/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In a test guest: the drivers of virtio devices, and what uses them. */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include <stdbool.h>

/* Load the drivers that the initramfs has. Says what is missing if that fails. */
bool virtio_start(void);

/*
 * Write the disk /dev/vda from several threads, and check what comes back, also of
 * what was written long ago: "WRONG disk ..." if that differs. Direct I/O, so that
 * the data land where the threads read them.
 */
bool disk_start(void);
/* All is as it was written so far; how many blocks have come back. */
bool disk_check(void);
unsigned long disk_checked(void);

/* Give eth0 an address, A.B.C.D, of a network of 24 bits. */
bool net_start(const char *address);

#endif
