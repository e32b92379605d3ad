/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --ram: memory that the user names. */
#ifndef MIGCTL_RAM_H
#define MIGCTL_RAM_H

#include "vmm/vmm.h"

/**
 * struct ram_spec - PATH|fd:N[,offset=BYTES][,length=BYTES]
 * @path: of the file, "" if @fd names it
 * @fd: a descriptor of the tracked process, -1 if @path names the file
 * @offset: where the range starts
 * @length: its bytes, 0 up to the end of the file
 */
struct ram_spec {
	char path[PATH_MAX];
	int fd;
	uint64_t offset;
	uint64_t length;
};

int ram_parse(struct ram_spec *spec, const char *text, struct error *err);

/* Opens the file and checks the range; @mem is like a VMM's back end. */
int ram_open(const struct ram_spec *spec, pid_t pid, struct vmm_memory *mem,
	     struct error *err);

#endif /* MIGCTL_RAM_H */
