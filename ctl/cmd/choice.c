// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/choice.h"

/**
 * choice_take() - an option that names a VMM
 * @choice: all 0, or with what was named before
 * @driver: of the option
 * @socket: its value
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int choice_take(struct vmm_choice *choice, const struct vmm_driver *driver,
		const char *socket, struct error *err)
{
	if (choice->socket && choice->driver != driver) {
		error_set(err, EXIT_USAGE, "--qmp and --vmm exclude each other");
		return error_advise(err, "--qmp is the socket of a QEMU, --vmm that of a VMM which hands over its memory");
	}
	*choice = (struct vmm_choice) { .socket = socket, .driver = driver };
	return 0;
}

int choice_open(const struct vmm_choice *choice, struct vmm **vmm, struct error *err)
{
	return choice->driver->vmm->open(vmm, choice->socket, 0, err);
}
