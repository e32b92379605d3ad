// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/memfile.h"
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

int vmm_memory_same(const struct vmm *vmm, const struct vmm_memory *memory, size_t n,
		    struct error *err)
{
	struct memfiles now;
	int ret = 0;
	size_t i;

	if (memfiles_read(&now, vmm->pid, err))
		return -1;
	for (i = 0; i < n && !ret; i++) {
		if (memfiles_have(&now, memory[i].fd))
			continue;
		error_set(err, EXIT_VMM, "memory %.200s is in another file than at the start",
			  memory[i].id);
		ret = error_advise(err, "do not plug memory meanwhile: the guest runs on here, start again");
	}
	memfiles_free(&now);
	return ret;
}

int vmm_memory_refuse(struct vmm_memory *memory, const char *reason,
		      const char *advice)
{
	snprintf(memory->reason, sizeof(memory->reason), "%s", reason);
	snprintf(memory->advice, sizeof(memory->advice), "%s", advice);
	return -1;
}
