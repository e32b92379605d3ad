/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which VMM: --qmp SOCKET or --vmm SOCKET. */
#ifndef MIGCTL_CHOICE_H
#define MIGCTL_CHOICE_H

#include "common/error.h"
#include "vmm/migration.h"

/**
 * struct vmm_choice - a VMM that the user named
 * @socket: where it listens, NULL if none was named
 * @driver: for its kind
 */
struct vmm_choice {
	const char *socket;
	const struct vmm_driver *driver;
};

int choice_take(struct vmm_choice *choice, const struct vmm_driver *driver,
		const char *socket, struct error *err);
int choice_open(const struct vmm_choice *choice, struct vmm **vmm, struct error *err);

#endif /* MIGCTL_CHOICE_H */
