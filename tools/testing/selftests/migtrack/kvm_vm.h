/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VMM of our own: as little as it takes to run guest.c on KVM. */
#ifndef KVM_VM_H
#define KVM_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "guest.h"

/* Guest-physical address of the memory that is tracked: above what is the APIC's. */
#define VM_MEMORY_GPA	(4ULL << 30)
#define VM_MEMORY_SLOT	1

struct vm_vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	int stats_fd;
	struct kvm_run *run;
	struct kvm_dirty_gfn *ring;
	uint32_t ring_next;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool go, quit;
	bool pause, held;		/* the guest is to stop where it is; it does */
};

struct vm {
	int kvm, fd;
	int mem_fd;			/* the tracked memory */
	char *memory;			/* its mapping */
	size_t size;
	char *low;			/* memory that is not tracked */
	struct guest_control *control;
	unsigned int ring_size;		/* entries; 0: KVM's log is a bitmap */
	unsigned int nvcpus;
	volatile unsigned long *faults;	/* counted there, if its memory may be read-only */
	struct vm_vcpu vcpus[GUEST_MAX_VCPUS];
};

/* The low memory: page tables, code, a stack for each vCPU, the control block. */
#define VM_LOW_SIZE	(4UL << 20)

/* What a vCPU of a guest that is paused has, beyond the memory. */
struct vm_vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

/* All end the test program with a message if they can't. */
void vm_create(struct vm *vm, unsigned int nvcpus, size_t size);
char *vm_map_memory(int fd, size_t size);
void vm_prepare(struct vm *vm);
void vm_boot(struct vm *vm, unsigned int nvcpus, int mem_fd, size_t size,
	     unsigned int ring_size);
void vm_destroy(struct vm *vm);
void vm_start(struct vm *vm, unsigned int vcpu, enum guest_command command);
void vm_wait(struct vm *vm, unsigned int vcpu);
void vm_run(struct vm *vm, unsigned int vcpu, enum guest_command command);
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
void vm_get_state(struct vm *vm, struct vm_vcpu_state *state);
void vm_set_state(struct vm *vm, const struct vm_vcpu_state *state);
uint64_t vm_stat(struct vm *vm, unsigned int vcpu, const char *name);
void vm_dirty_log(struct vm *vm, bool on);
void vm_get_dirty_log(struct vm *vm, unsigned long *bitmap);
void vm_clear_dirty_log(struct vm *vm, unsigned long *bitmap, size_t first, size_t npages);
void vm_manual_dirty_log(struct vm *vm);
void vm_read_dirty_ring(struct vm *vm, unsigned long *bitmap);

#endif /* KVM_VM_H */
