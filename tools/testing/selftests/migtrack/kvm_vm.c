// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_vm.h"

#define VM_ALIGNMENT	(2UL << 20)

/* Where what is in the low memory. */
#define LOW_PML4	0x10000
#define LOW_PDPT	0x11000
#define LOW_PD		0x12000		/* a page for each GiB */
#define LOW_CODE	0x20000
#define LOW_STACKS	0x40000		/* a page for each vCPU, growing down */
#define LOW_NESTED	0x60000		/* the same of nested guests, and one more */
#define LOW_CONTROL	0x100000

/* Of its addresses; the page directories end before the code. */
#define VM_GIB		8

#define PTE_PRESENT	1
#define PTE_WRITE	2
#define PTE_USER	4		/* they are a nested guest's as well */
#define PTE_HUGE	0x80

static void vm_page_tables(struct vm *vm)
{
	uint64_t *pml4 = (void *)(vm->low + LOW_PML4);
	uint64_t *pdpt = (void *)(vm->low + LOW_PDPT);
	uint64_t *pd = (void *)(vm->low + LOW_PD);
	const uint64_t flags = PTE_PRESENT | PTE_WRITE | PTE_USER;
	uint64_t i;

	pml4[0] = LOW_PDPT | flags;
	for (i = 0; i < VM_GIB; i++)
		pdpt[i] = (LOW_PD + i * GUEST_PAGE) | flags;
	for (i = 0; i < VM_GIB * 512; i++)
		pd[i] = i << 21 | flags | PTE_HUGE;
}

static void vm_set_memory(struct vm *vm, unsigned int slot, uint32_t flags,
			  uint64_t gpa, void *addr, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)addr,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		err(1, "KVM_SET_USER_MEMORY_REGION");
}

static void vm_enable_cap(struct vm *vm, unsigned int cap, uint64_t arg)
{
	struct kvm_enable_cap enable = { .cap = cap, .args[0] = arg };

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &enable))
		err(1, "KVM_ENABLE_CAP %u", cap);
}

static void vcpu_registers(struct vm_vcpu *vcpu)
{
	struct kvm_segment code = {
		.limit = ~0U, .selector = 8, .type = 11, .present = 1, .s = 1,
		.l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = ~0U, .selector = 16, .type = 3, .present = 1, .s = 1,
		.db = 1, .g = 1,
	};
	size_t entry = (char *)guest_main - guest_image[0];
	struct kvm_regs regs = {
		.rip = LOW_CODE + entry,
		/* As after a call: the ABI wants 8 modulo 16. */
		.rsp = LOW_STACKS + (vcpu->id + 1) * GUEST_PAGE - 8,
		.rflags = 2,
		.rdi = LOW_CONTROL,
		.rsi = vcpu->id,
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		err(1, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = LOW_PML4;
	sregs.cr4 = 0x20;			/* PAE */
	sregs.cr0 = 0x80000033;			/* PG, NE, ET, MP, PE */
	sregs.efer = 0x500;			/* LMA, LME */
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
		err(1, "KVM_SET_SREGS");
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		err(1, "KVM_SET_REGS");
}

/* Without it, what the guest may put into its registers is next to nothing. */
static void vcpu_cpuid(struct vm_vcpu *vcpu)
{
	unsigned int n = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) +
					  n * sizeof(cpuid->entries[0]));

	cpuid->nent = n;
	if (ioctl(vcpu->vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
		err(1, "KVM_GET_SUPPORTED_CPUID");
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid))
		err(1, "KVM_SET_CPUID2");
	free(cpuid);
}

static void vcpu_died(struct vm_vcpu *vcpu)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		err(1, "KVM_GET_REGS");
	errx(1, "vCPU %u: exit reason %u (%u), rip %#llx, rsp %#llx, cr2 %#llx, cr3 %#llx, efer %#llx",
	     vcpu->id, vcpu->run->exit_reason, vcpu->run->internal.suberror, regs.rip,
	     regs.rsp, sregs.cr2, sregs.cr3, sregs.efer);
}

static void vcpu_hold(struct vm_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->pause) {
		vcpu->held = true;
		pthread_cond_broadcast(&vcpu->changed);
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	}
	vcpu->held = false;
	pthread_mutex_unlock(&vcpu->lock);
}

static void vcpu_run(struct vm_vcpu *vcpu)
{
	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0)) {
			if (errno == EFAULT && vcpu->vm->faults)
				__atomic_add_fetch(vcpu->vm->faults, 1, __ATOMIC_RELAXED);
			else if (errno != EINTR && errno != EAGAIN)
				err(1, "KVM_RUN");
			vcpu_hold(vcpu);
			continue;
		}
		if (vcpu->run->exit_reason != KVM_EXIT_DIRTY_RING_FULL)
			break;
		sched_yield();
	}
	if (vcpu->run->exit_reason != KVM_EXIT_HLT)
		vcpu_died(vcpu);
}

static void *vcpu_thread(void *data)
{
	struct vm_vcpu *vcpu = data;

	pthread_mutex_lock(&vcpu->lock);
	for (;;) {
		while (!vcpu->go && !vcpu->quit)
			pthread_cond_wait(&vcpu->changed, &vcpu->lock);
		if (vcpu->quit)
			break;
		pthread_mutex_unlock(&vcpu->lock);
		vcpu_run(vcpu);
		pthread_mutex_lock(&vcpu->lock);
		vcpu->go = false;
		pthread_cond_broadcast(&vcpu->changed);
	}
	pthread_mutex_unlock(&vcpu->lock);
	return NULL;
}

static void vcpu_create(struct vm *vm, unsigned int id, int run_size)
{
	struct vm_vcpu *vcpu = &vm->vcpus[id];

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		err(1, "KVM_CREATE_VCPU");
	vcpu->stats_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, NULL);
	if (vcpu->stats_fd < 0)
		err(1, "KVM_GET_STATS_FD");
	vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		err(1, "mmap of the vCPU");
	if (vcpu->vm->ring_size) {
		vcpu->ring = mmap(NULL, vm->ring_size * sizeof(*vcpu->ring),
				  PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd,
				  KVM_DIRTY_LOG_PAGE_OFFSET * GUEST_PAGE);
		if (vcpu->ring == MAP_FAILED)
			err(1, "mmap of the dirty ring");
	}
	vcpu_cpuid(vcpu);
	vcpu_registers(vcpu);
	vm->control->vcpus[id].stamper.random = 0x9e3779b97f4a7c15ULL * (id + 1);

	pthread_mutex_init(&vcpu->lock, NULL);
	pthread_cond_init(&vcpu->changed, NULL);
	errno = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	if (errno)
		err(1, "pthread_create");
}

/**
 * vm_map_memory() - map a guest's memory, where huge pages are possible
 * @fd: the memory
 * @size: of it
 *
 * Return: the address.
 */
char *vm_map_memory(int fd, size_t size)
{
	char *room, *memory;
	size_t before;

	room = mmap(NULL, size + VM_ALIGNMENT, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		err(1, "mmap of guest memory");
	before = -(uintptr_t)room % VM_ALIGNMENT;
	memory = mmap(room + before, size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED, fd, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap of guest memory");
	if (before)
		munmap(room, before);
	munmap(memory + size, VM_ALIGNMENT - before);
	return memory;
}

/**
 * vm_prepare() - make what a guest shares with the host
 * @vm: filled in
 *
 * A child may boot it, and its parent use @vm->control.
 */
void vm_prepare(struct vm *vm)
{
	memset(vm, 0, sizeof(*vm));
	vm->low = mmap(NULL, VM_LOW_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (vm->low == MAP_FAILED)
		err(1, "mmap of guest memory");

	vm_page_tables(vm);
	memcpy(vm->low + LOW_CODE, guest_image[0], guest_image[1] - guest_image[0]);
	vm->control = (void *)(vm->low + LOW_CONTROL);
	vm->control->memory = VM_MEMORY_GPA;
	vm->control->page_tables = LOW_PML4;
	vm->control->stacks = LOW_NESTED;
}

/**
 * vm_boot() - make the guest
 * @vm: prepared
 * @nvcpus: halted; vm_start() lets them run
 * @mem_fd: the memory that is tracked; it is the guest's now
 * @size: its size; a power of two
 * @ring_size: entries of KVM's dirty ring, 0: it has a bitmap
 */
void vm_boot(struct vm *vm, unsigned int nvcpus, int mem_fd, size_t size,
	     unsigned int ring_size)
{
	unsigned int i;
	int run_size;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		err(1, "/dev/kvm");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		err(1, "KVM_CREATE_VM");
	run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ring_size)
		vm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
			      ring_size * sizeof(struct kvm_dirty_gfn));
	vm->ring_size = ring_size;

	vm->size = size;
	vm->mem_fd = mem_fd;
	vm->memory = vm_map_memory(mem_fd, size);
	vm->control->npages = size / GUEST_PAGE;
	vm_set_memory(vm, 0, 0, 0, vm->low, VM_LOW_SIZE);
	vm_set_memory(vm, VM_MEMORY_SLOT, 0, VM_MEMORY_GPA, vm->memory, size);

	vm->nvcpus = nvcpus;
	for (i = 0; i < nvcpus; i++)
		vcpu_create(vm, i, run_size);
}

/**
 * vm_create() - make a guest and its memory
 * @vm: filled in
 * @nvcpus: halted; vm_start() lets them run
 * @size: bytes of the memory that is tracked, a memfd; a power of two
 */
void vm_create(struct vm *vm, unsigned int nvcpus, size_t size)
{
	int mem_fd = memfd_create("guest", MFD_CLOEXEC);

	if (mem_fd < 0 || ftruncate(mem_fd, size))
		err(1, "memfd");
	vm_prepare(vm);
	vm_boot(vm, nvcpus, mem_fd, size, 0);
}

/**
 * vm_destroy() - end a guest and free its memory
 * @vm: its vCPUs have halted
 */
void vm_destroy(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nvcpus; i++) {
		struct vm_vcpu *vcpu = &vm->vcpus[i];

		pthread_mutex_lock(&vcpu->lock);
		vcpu->quit = true;
		pthread_cond_broadcast(&vcpu->changed);
		pthread_mutex_unlock(&vcpu->lock);
		pthread_join(vcpu->thread, NULL);
		close(vcpu->stats_fd);
		close(vcpu->fd);
	}
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->memory, vm->size);
	munmap(vm->low, VM_LOW_SIZE);
	close(vm->mem_fd);
}

/**
 * vm_start() - let a vCPU run a command
 * @vm: the guest
 * @vcpu: halted
 * @command: what to do
 */
void vm_start(struct vm *vm, unsigned int vcpu, enum guest_command command)
{
	struct vm_vcpu *v = &vm->vcpus[vcpu];

	vm->control->vcpus[vcpu].command = command;
	pthread_mutex_lock(&v->lock);
	v->go = true;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

/**
 * vm_wait() - wait until a vCPU halts
 * @vm: the guest
 * @vcpu: started
 */
void vm_wait(struct vm *vm, unsigned int vcpu)
{
	struct vm_vcpu *v = &vm->vcpus[vcpu];

	pthread_mutex_lock(&v->lock);
	while (v->go)
		pthread_cond_wait(&v->changed, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

static void ignore(int signal)
{
	(void)signal;
}

static void vcpu_pause(struct vm_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	vcpu->pause = true;
	/* Also if it has not entered the guest yet. */
	vcpu->run->immediate_exit = 1;
	if (vcpu->go)
		pthread_kill(vcpu->thread, SIGUSR1);
	while (vcpu->go && !vcpu->held)
		pthread_cond_wait(&vcpu->changed, &vcpu->lock);
	pthread_mutex_unlock(&vcpu->lock);
}

/**
 * vm_pause() - stop the vCPUs, wherever they are
 * @vm: the guest
 */
void vm_pause(struct vm *vm)
{
	struct sigaction action = { .sa_handler = ignore };
	unsigned int i;

	sigaction(SIGUSR1, &action, NULL);
	for (i = 0; i < vm->nvcpus; i++)
		vcpu_pause(&vm->vcpus[i]);
}

/**
 * vm_resume() - let them go on
 * @vm: the guest, paused
 */
void vm_resume(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->nvcpus; i++) {
		struct vm_vcpu *vcpu = &vm->vcpus[i];

		pthread_mutex_lock(&vcpu->lock);
		vcpu->pause = false;
		vcpu->run->immediate_exit = 0;
		pthread_cond_broadcast(&vcpu->changed);
		pthread_mutex_unlock(&vcpu->lock);
	}
}

/**
 * vm_get_state() - what the vCPUs have
 * @vm: the guest, paused
 * @state: one for each of them
 *
 * The low memory is the rest of what is not tracked. The guest has no FPU registers.
 */
void vm_get_state(struct vm *vm, struct vm_vcpu_state *state)
{
	unsigned int i;

	for (i = 0; i < vm->nvcpus; i++) {
		if (ioctl(vm->vcpus[i].fd, KVM_GET_REGS, &state[i].regs) ||
		    ioctl(vm->vcpus[i].fd, KVM_GET_SREGS, &state[i].sregs))
			err(1, "KVM_GET_REGS");
	}
}

/**
 * vm_set_state() - have the vCPUs go on as others
 * @vm: the guest, halted or paused
 * @state: one for each of them
 */
void vm_set_state(struct vm *vm, const struct vm_vcpu_state *state)
{
	unsigned int i;

	for (i = 0; i < vm->nvcpus; i++) {
		if (ioctl(vm->vcpus[i].fd, KVM_SET_SREGS, &state[i].sregs) ||
		    ioctl(vm->vcpus[i].fd, KVM_SET_REGS, &state[i].regs))
			err(1, "KVM_SET_REGS");
	}
}

/**
 * vm_run() - run a command to its end
 * @vm: the guest
 * @vcpu: halted
 * @command: what to do
 */
void vm_run(struct vm *vm, unsigned int vcpu, enum guest_command command)
{
	vm_start(vm, vcpu, command);
	vm_wait(vm, vcpu);
}

/**
 * vm_stat() - one of KVM's binary statistics of a vCPU
 * @vm: the guest
 * @vcpu: any
 * @name: as in KVM's documentation
 *
 * Return: its value.
 */
uint64_t vm_stat(struct vm *vm, unsigned int vcpu, const char *name)
{
	int fd = vm->vcpus[vcpu].stats_fd;
	struct kvm_stats_header header;
	struct kvm_stats_desc *desc;
	size_t desc_size;
	uint64_t value;
	uint32_t i;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header))
		err(1, "KVM's statistics");
	desc_size = sizeof(*desc) + header.name_size;
	desc = malloc(desc_size);
	for (i = 0; i < header.num_desc; i++) {
		if (pread(fd, desc, desc_size, header.desc_offset + i * desc_size) !=
		    (ssize_t)desc_size)
			err(1, "KVM's statistics");
		if (!strcmp(desc->name, name))
			break;
	}
	if (i == header.num_desc)
		errx(1, "KVM has no statistic %s", name);
	if (pread(fd, &value, sizeof(value), header.data_offset + desc->offset) !=
	    sizeof(value))
		err(1, "KVM's statistics");
	free(desc);
	return value;
}

/**
 * vm_dirty_log() - switch KVM's own dirty log of the tracked memory
 * @vm: the guest
 * @on: or off
 */
void vm_dirty_log(struct vm *vm, bool on)
{
	vm_set_memory(vm, VM_MEMORY_SLOT, on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		      VM_MEMORY_GPA, vm->memory, vm->size);
}

/**
 * vm_get_dirty_log() - read and clear KVM's dirty log
 * @vm: the guest
 * @bitmap: a bit per page
 */
void vm_get_dirty_log(struct vm *vm, unsigned long *bitmap)
{
	struct kvm_dirty_log log = {
		.slot = VM_MEMORY_SLOT,
		.dirty_bitmap = bitmap,
	};

	if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log))
		err(1, "KVM_GET_DIRTY_LOG");
}

/**
 * vm_manual_dirty_log() - reading KVM's dirty log does not clear it from now on
 * @vm: the guest
 */
void vm_manual_dirty_log(struct vm *vm)
{
	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
}

/**
 * vm_clear_dirty_log() - clear a part of KVM's dirty log
 * @vm: the guest, in manual mode
 * @bitmap: what of it to clear; @first is its first bit
 * @first: page, a multiple of 64
 * @npages: how many
 */
void vm_clear_dirty_log(struct vm *vm, unsigned long *bitmap, size_t first,
			size_t npages)
{
	struct kvm_clear_dirty_log log = {
		.slot = VM_MEMORY_SLOT,
		.first_page = first,
		.num_pages = npages,
		.dirty_bitmap = bitmap,
	};

	if (ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log))
		err(1, "KVM_CLEAR_DIRTY_LOG");
}

static bool vcpu_read_ring(struct vm_vcpu *vcpu, unsigned long *bitmap)
{
	const size_t bits = 8 * sizeof(*bitmap);
	bool found = false;

	for (;;) {
		struct kvm_dirty_gfn *entry =
			&vcpu->ring[vcpu->ring_next % vcpu->vm->ring_size];
		uint64_t page;

		if (__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) !=
		    KVM_DIRTY_GFN_F_DIRTY)
			return found;
		page = entry->offset;
		if (entry->slot == VM_MEMORY_SLOT)
			bitmap[page / bits] |= 1UL << page % bits;
		__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET,
				 __ATOMIC_RELEASE);
		vcpu->ring_next++;
		found = true;
	}
}

/**
 * vm_read_dirty_ring() - read and reset KVM's dirty rings
 * @vm: the guest, with rings
 * @bitmap: a bit per page is added
 */
void vm_read_dirty_ring(struct vm *vm, unsigned long *bitmap)
{
	bool found = false;
	unsigned int i;

	for (i = 0; i < vm->nvcpus; i++)
		found |= vcpu_read_ring(&vm->vcpus[i], bitmap);
	if (found && ioctl(vm->fd, KVM_RESET_DIRTY_RINGS) < 0)
		err(1, "KVM_RESET_DIRTY_RINGS");
}
