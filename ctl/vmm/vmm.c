// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/migration.h"

const struct vmm_driver vmm_driver_qemu = { "qmp", &vmm_qemu, &vmm_qemu_migration };
const struct vmm_driver vmm_driver_handover = {
	"vmm", &vmm_handover, &vmm_handover_migration
};

/**
 * vmm_memory_free() - close and free what vmm_ops.memory returned
 * @memory: the array, or NULL
 * @n: its length
 */
void vmm_memory_free(struct vmm_memory *memory, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (memory[i].fd >= 0)
			close(memory[i].fd);
	}
	free(memory);
}

int vmm_memory_refuse(struct vmm_memory *memory, const char *reason,
		      const char *advice)
{
	snprintf(memory->reason, sizeof(memory->reason), "%s", reason);
	snprintf(memory->advice, sizeof(memory->advice), "%s", advice);
	return -1;
}
