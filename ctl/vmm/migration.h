/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a migration in drive mode asks of a VMM: it moves device and CPU state
 * through its own stream, migctl moves the memory.
 */
#ifndef MIGCTL_MIGRATION_H
#define MIGCTL_MIGRATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/units.h"
#include "vmm/vmm.h"

struct uffd_offer;

/* Where the VMM's own migration stands. */
enum vmm_phase {
	VMM_NONE,		/* never started */
	VMM_SETUP,
	VMM_ACTIVE,		/* moving */
	VMM_PRE_SWITCHOVER,	/* the guest has stopped, and it waits for us */
	VMM_DEVICE,		/* saving the devices */
	VMM_COMPLETED,
	VMM_FAILED,
	VMM_CANCELLING,		/* or failing: on its way to one of the others */
	VMM_CANCELLED,
};

/**
 * struct vmm_status - what the VMM is doing
 * @phase: of its migration
 * @running: the guest's vCPUs run
 * @state: the VMM's own name of the guest's state
 * @reason: why the migration failed, "" if it did not
 */
struct vmm_status {
	enum vmm_phase phase;
	bool running;
	char state[32];
	char reason[256];
};

/**
 * struct vmm_migration_ops - a driver's part in a migration
 *
 * All return 0, or -1 with the error filled in.
 *
 * @describe: the VM as JSON, to be compared by vmm_compare(): machine type and
 *	its version, CPU model and count, UUID, and each memory block (name,
 *	size, shared, file-backed, kind) in a fixed order
 * @memory_blocks: the member "blocks" of the description alone, quickly: it is
 *	asked for while the guest is stopped
 * @vcpus: the threads that run the guest's CPUs, in an array to be freed
 * @check_source: refuse what can't be moved, with the reason: blocked
 *	migration, a migration under way, a memory back end that the VMM would
 *	skip or move itself (memfd, private), a VFIO device, a balloon with
 *	free-page-hint
 * @check_disks: refuse a guest that writes to disks, which nobody moves, unless
 *	they are reached over a network
 * @check_destination: it waits for an incoming migration (-incoming defer) and
 *	will not start the guest by itself (-S)
 * @check_waiting: of @check_destination, what can be another thing later: it still waits,
 *	and nobody else has begun to give it a guest. Needs no privilege
 * @check_mapped: as @check_destination, but its memory is the files of a snapshot,
 *	see struct vmm_memory. NULL: it can't have such memory
 * @save: read the capabilities and parameters that @prepare_* change, for @restore
 * @prepare_source: capabilities and parameters for our kind of migration
 * @prepare_destination: likewise
 * @prepare_save: as @prepare_source, for a stream that goes to a file
 * @prepare_load: as @prepare_destination, for one that comes from there
 * @restore: put back what @save read
 * @start: begin the migration, the VMM's stream goes to @fd (a socket; the VMM
 *	gets a duplicate)
 * @incoming: load the VMM's stream from @fd
 * @status: see struct vmm_status
 * @go_on: leave VMM_PRE_SWITCHOVER
 * @cancel: cancel the migration; returns when it is over. The guest runs if it
 *	ran before
 * @ran: did the guest run when the migration was started?
 * @run: let the guest run (cont)
 * @quit: end the VMM
 * @userfaultfd: have all of its memory registered for UFFD_*, and hand over its
 *	userfaultfd; the regions are its memory back ends, in their order. NULL: it can't
 * @release: that is over: its memory is its own again
 * @connection: the descriptor that commands go through
 * @take_over: in a process forked from the one that opened @vmm and died,
 *	however: make the connection usable again. EXIT_GONE if the VMM has ended
 */
struct vmm_migration_ops {
	int (*describe)(struct vmm *vmm, json_t **description, struct error *err);
	int (*memory_blocks)(struct vmm *vmm, json_t **blocks, struct error *err);
	int (*vcpus)(struct vmm *vmm, pid_t **threads, size_t *n, struct error *err);
	int (*check_source)(struct vmm *vmm, struct error *err);
	int (*check_disks)(struct vmm *vmm, struct error *err);
	int (*check_destination)(struct vmm *vmm, struct error *err);
	int (*check_waiting)(struct vmm *vmm, struct error *err);
	int (*check_mapped)(struct vmm *vmm, struct error *err);
	int (*save)(struct vmm *vmm, json_t **saved, struct error *err);
	int (*prepare_source)(struct vmm *vmm, struct error *err);
	int (*prepare_destination)(struct vmm *vmm, struct error *err);
	int (*prepare_save)(struct vmm *vmm, struct error *err);
	int (*prepare_load)(struct vmm *vmm, struct error *err);
	int (*restore)(struct vmm *vmm, json_t *saved, struct error *err);
	int (*start)(struct vmm *vmm, int fd, struct error *err);
	int (*incoming)(struct vmm *vmm, int fd, struct error *err);
	int (*status)(struct vmm *vmm, struct vmm_status *status, struct error *err);
	int (*go_on)(struct vmm *vmm, struct error *err);
	int (*cancel)(struct vmm *vmm, struct error *err);
	bool (*ran)(struct vmm *vmm);
	int (*run)(struct vmm *vmm, struct error *err);
	int (*quit)(struct vmm *vmm, struct error *err);
	int (*userfaultfd)(struct vmm *vmm, unsigned int modes, struct uffd_offer *offer,
			   struct error *err);
	int (*release)(struct vmm *vmm, struct error *err);
	int (*connection)(struct vmm *vmm);
	int (*take_over)(struct vmm *vmm, struct error *err);
};

extern const struct vmm_migration_ops vmm_qemu_migration;
extern const struct vmm_migration_ops vmm_handover_migration;

/**
 * struct vmm_driver - a kind of VMM that can be migrated and saved
 * @option: of the command line that takes its socket, without the dashes
 * @vmm: its driver
 * @migration: the driver's part in a migration
 */
struct vmm_driver {
	const char *option;
	const struct vmm_ops *vmm;
	const struct vmm_migration_ops *migration;
};

extern const struct vmm_driver vmm_driver_qemu;
extern const struct vmm_driver vmm_driver_handover;

/* Pure: are these two descriptions of VMs that can take each other's state? */
int vmm_compare(const json_t *source, const json_t *destination, struct error *err);
/* What a VM was found to be need not be asked again for so long. */
#define VMM_COMPARED_FOR	(2 * NS_PER_S)
/* Pure: the member "blocks" of one VM's descriptions, earlier and later. */
int vmm_blocks_changed(const json_t *then, const json_t *now, struct error *err);

struct guard;

/**
 * struct guard_duty - what the guard has to do besides the VMM
 * @keep: a descriptor that it holds open until it has finished, -1 for none. With
 *	the lock's nobody else begins while it undoes
 * @undo: called first if this process dies, in the guard; NULL for nothing
 * @data: for it, as it was when the guard was made
 */
struct guard_duty {
	int keep;
	void (*undo)(void *data);
	void *data;
};

#define GUARD_NO_DUTY	((struct guard_duty) { .keep = -1 })

/*
 * The guard: a child process that undoes what was done to the VMM if this
 * process dies, however. Forked before the first command that changes the VMM;
 * it shares @vmm's connection and uses it only when this process is dead (its
 * end of a pipe says so). It then cancels the VMM's migration, waits until the
 * guest runs again if it ran when the guard was made, restores @saved, and
 * exits. It never resumes a guest that was handed over, and then restores
 * @saved only.
 */
int guard_start(struct guard **guard, struct vmm *vmm,
		const struct vmm_migration_ops *ops, json_t *saved,
		const struct guard_duty *duty, struct error *err);
/* Whether it is there: without it nobody undoes anything if we die. */
bool guard_alive(const struct guard *guard);
/* To be asked before what only the guard can undo: -1 with the reason. */
int guard_check(const struct guard *guard, struct error *err);
/* The guest was handed over: the guard will not resume it any more. */
void guard_handed_over(struct guard *guard);
/* It never ran there, and the guest is ours again: it is to be resumed if we die. */
void guard_taken_back(struct guard *guard);
/* All was undone by ourselves, or nothing is left to undo: end it. */
void guard_stop(struct guard *guard);
/*
 * The end of an undo of our own, NULL or why it failed. If the VMM may do later what it
 * has not done now, the guard goes on, as if we had died: true, and @failed says so.
 * Nobody here uses @vmm any more then.
 */
bool guard_conclude(struct guard *guard, const struct vmm *vmm, struct error *failed);

#endif /* MIGCTL_MIGRATION_H */
