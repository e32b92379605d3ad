// SPDX-License-Identifier: GPL-2.0-or-later
#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

static struct memfile_range *ranges_make(const struct vmm_memory *memory, size_t n,
					 struct error *err)
{
	struct memfile_range *ranges = calloc(n + 1, sizeof(*ranges));
	size_t i;

	if (!ranges) {
		error_set(err, EXIT_FAILED, "out of memory");
		return NULL;
	}
	for (i = 0; i < n; i++) {
		/* Nobody writes there; one of no size is in no mapping. */
		if (memory[i].fd < 0)
			continue;
		if (fstat(memory[i].fd, &ranges[i].st)) {
			error_set(err, EXIT_FAILED, "memory %.200s: %s", memory[i].id,
				  strerror(errno));
			free(ranges);
			return NULL;
		}
		ranges[i].offset = memory[i].offset;
		ranges[i].size = memory[i].size;
	}
	return ranges;
}

/* As a child has its parent's, from vfork to exec. */
static bool have_same_memory(pid_t one, pid_t other)
{
	return !syscall(SYS_kcmp, one, other, KCMP_VM, 0, 0);
}

static int shared_refuse(const struct vmm_memory *memory, pid_t pid, struct error *err)
{
	char name[32];

	process_name(pid, name, sizeof(name));
	error_set(err, EXIT_VMM, "memory %.200s is that of process %d (%s), too: it has mapped the same file, and what it has there would be overwritten",
		  memory->id, pid, name);
	return error_advise(err, "start this VMM with a memory file of its own (QEMU: another mem-path), or end process %d if nobody needs it",
			    pid);
}

/**
 * vmm_memory_alone() - refuse memory that another process has, too
 * @vmm: the VMM, whose memory is to be overwritten
 * @memory: its back ends
 * @n: how many
 * @err: which of them, who has it, and what to do
 *
 * A VMM that was started with the command line of one whose guest runs has that guest's
 * memory. A back end of the VMM's devices that runs in another process maps it only when
 * they start. Processes whose mappings can't be read are passed over, as are those that
 * only read.
 *
 * Return: 0 or -1.
 */
int vmm_memory_alone(const struct vmm *vmm, const struct vmm_memory *memory, size_t n,
		     struct error *err)
{
	struct memfile_range *ranges = ranges_make(memory, n, err);
	struct dirent *entry;
	int i, ret = 0;
	pid_t pid;
	DIR *proc;

	if (!ranges)
		return -1;
	proc = opendir("/proc");
	if (!proc)
		ret = error_set(err, EXIT_FAILED, "/proc: %s", strerror(errno));
	while (!ret && (entry = readdir(proc))) {
		pid = atoi(entry->d_name);
		if (pid <= 0 || pid == vmm->pid)
			continue;
		i = memfile_writable(pid, ranges, n);
		if (i >= 0 && !have_same_memory(pid, vmm->pid))
			ret = shared_refuse(&memory[i], pid, err);
	}
	if (proc)
		closedir(proc);
	free(ranges);
	return ret;
}

int vmm_memory_refuse(struct vmm_memory *memory, const char *reason,
		      const char *advice)
{
	snprintf(memory->reason, sizeof(memory->reason), "%s", reason);
	snprintf(memory->advice, sizeof(memory->advice), "%s", advice);
	return -1;
}
