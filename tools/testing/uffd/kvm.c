// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest on KVM, that of the kernel module's own tests: real vCPUs, real faults. */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../selftests/migtrack/kvm_vm.h"
#include "machine.h"

const char machine_name[] = "KVM";

static struct vm vm;
static bool started;

bool machine_possible(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int fd = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	if (fd < 0)
		perror("KVM can't be used here");
	close(fd);
	close(kvm);
	return fd >= 0;
}

void machine_make(struct machine *m, uint64_t pace)
{
	unsigned int i;

	vm_prepare(&vm);
	vm_boot(&vm, m->writers, m->fd, m->size, 0);
	m->memory = vm.memory;
	for (i = 0; i < m->writers; i++)
		machine_writer(m, i)->pace = pace;
}

void machine_run(struct machine *m)
{
	unsigned int i;

	for (i = 0; i < m->writers && !started; i++)
		vm_start(&vm, i, GUEST_SEQUENCE);
	started = true;
	vm_resume(&vm);
}

void machine_pause(struct machine *m)
{
	(void)m;
	vm_pause(&vm);
}

struct sequencer *machine_writer(struct machine *m, unsigned int i)
{
	(void)m;
	return &vm.control->vcpus[i].sequencer;
}

/* Anywhere in their loops: their registers and the low memory are the rest of it. */
int machine_save(struct machine *m, int fd)
{
	struct vm_vcpu_state state[GUEST_MAX_VCPUS] = {};

	vm_get_state(&vm, state);
	return state_save(m, fd) || write_all(fd, state, sizeof(state)) ||
	       write_all(fd, vm.low, VM_LOW_SIZE) ? -1 : 0;
}

int machine_load(struct machine *m, int fd)
{
	struct vm_vcpu_state state[GUEST_MAX_VCPUS];
	struct machine_state head;

	if (state_load(m, &head, fd) || read_all(fd, state, sizeof(state)) ||
	    read_all(fd, vm.low, VM_LOW_SIZE))
		return -1;
	vm_set_state(&vm, state);
	return 0;
}
