/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What migctl asks of a virtual machine monitor. Another VMM is one file that
 * fills in a struct vmm_ops.
 */
#ifndef MIGCTL_VMM_H
#define MIGCTL_VMM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/**
 * struct vmm_memory - one back end of the guest's memory
 * @id: its name in the VMM
 * @kind: its type in the VMM
 * @path: its file as the VMM names it, "" if it has none
 * @size: in bytes
 * @offset: where it starts in its file
 * @share: writes go to the file
 * @mapped: a private mapping of a file that the VMM can't write to: the guest has what
 *	is in the file, and its own writes to itself
 * @fd: the file, open for reading and writing, or -1 if it can't be tracked
 * @reason: why it can't be tracked, "" if it can
 * @advice: what to change in the VMM's configuration so that it can
 */
struct vmm_memory {
	char id[NAME_MAX + 1];
	char kind[64];
	char path[PATH_MAX];
	uint64_t size;
	uint64_t offset;
	bool share;
	bool mapped;
	int fd;
	char reason[256];
	char advice[256];
};

/**
 * struct vmm_range - memory of the guest as its devices find it
 * @id: name of the back end
 * @iova: where, in bytes
 * @length: bytes
 * @offset: where it starts in the back end
 */
struct vmm_range {
	char id[NAME_MAX + 1];
	uint64_t iova;
	uint64_t length;
	uint64_t offset;
};

struct vmm;

/**
 * struct vmm_ops - a driver for one kind of VMM
 * @name: of the VMM
 * @open: connect to @address; @pid is the process if the user named it, else 0
 * @memory: the guest's memory back ends and the files that hold them, in an
 *	array that vmm_memory_free() takes
 * @layout: where the guest's devices find that memory, in an array to be freed,
 *	also after a failure; refused while the VMM migrates the guest
 * @close: disconnect; the VMM goes on as before
 */
struct vmm_ops {
	const char *name;
	int (*open)(struct vmm **vmm, const char *address, pid_t pid,
		    struct error *err);
	int (*memory)(struct vmm *vmm, struct vmm_memory **memory, size_t *n,
		      struct error *err);
	int (*layout)(struct vmm *vmm, struct vmm_range **ranges, size_t *n,
		      struct error *err);
	void (*close)(struct vmm *vmm);
};

/**
 * struct vmm - a VMM that is connected; the driver's own struct begins with it
 * @ops: its driver
 * @pid: its process
 * @version: what it calls itself
 * @stopped_ns: when the guest stopped, by the VMM's own word: CLOCK_MONOTONIC in
 *	ns; 0 if it has not, since the VMM was connected
 */
struct vmm {
	const struct vmm_ops *ops;
	pid_t pid;
	char version[64];
	uint64_t stopped_ns;
};

extern const struct vmm_ops vmm_qemu;
extern const struct vmm_ops vmm_handover;

void vmm_memory_free(struct vmm_memory *memory, size_t n);
/*
 * Is it still in these files? Memory that was taken away, and plugged in again by its
 * name, is not. Reads /proc/PID/maps; EXIT_VMM if it is in others.
 */
int vmm_memory_same(const struct vmm *vmm, const struct vmm_memory *memory, size_t n,
		    struct error *err);
/*
 * Before it is written to: has no other process that memory, as a guest's? Reads
 * /proc/PID/maps of all that it may; EXIT_VMM, with the process, if one has.
 */
int vmm_memory_alone(const struct vmm *vmm, const struct vmm_memory *memory, size_t n,
		     struct error *err);

/* Why the memory can't be tracked, and what to do about it. Returns -1. */
int vmm_memory_refuse(struct vmm_memory *memory, const char *reason,
		      const char *advice);

#endif /* MIGCTL_VMM_H */
