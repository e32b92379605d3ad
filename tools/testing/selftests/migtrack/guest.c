// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs inside our own KVM guest, in long mode, on identity-mapped memory.
 * The section is copied there whole, so nothing in it may refer to the outside.
 */

#include <stddef.h>

#include "guest.h"

#define __guest __attribute__((section("guest_code"), used))

static __guest __attribute__((noinline)) uint64_t guest_ticks(void)
{
	uint32_t low, high;

	asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high) :: "memory");
	return (uint64_t)high << 32 | low;
}

static __guest __attribute__((noinline))
void guest_write_list(struct guest_control *control, struct guest_vcpu *self)
{
	uint64_t i;

	for (i = self->list_first; i < self->list_first + self->list_len; i++)
		*(volatile uint64_t *)(control->memory +
				       (uint64_t)control->list[i] * GUEST_PAGE) += 1;
}

static __guest __attribute__((noinline))
void guest_read_all(struct guest_control *control, struct guest_vcpu *self)
{
	uint64_t start = guest_ticks(), page;

	for (page = 0; page < control->npages; page++)
		(void)*(volatile uint64_t *)(control->memory + page * GUEST_PAGE);
	self->result = guest_ticks() - start;
}

static __guest __attribute__((noinline))
void guest_sequence(struct guest_control *control, unsigned int vcpu)
{
	while (!control->stamp.stop)
		sequence_next(&control->vcpus[vcpu].sequencer, vcpu,
			      (void *)control->memory, control->npages);
}

/* AMD64 Architecture Programmer's Manual, volume 2, appendix B. */
struct vmcb_segment {
	uint16_t selector, attributes;
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	uint8_t reserved1[0x00c];
	uint32_t intercept3, intercept4;	/* 0x00c */
	uint8_t reserved2[0x058 - 0x014];
	uint32_t asid;				/* 0x058 */
	uint8_t reserved3[0x070 - 0x05c];
	uint64_t exit_code;			/* 0x070 */
	uint8_t reserved4[0x090 - 0x078];
	uint64_t nested_control;		/* 0x090 */
	uint8_t reserved5[0x0b0 - 0x098];
	uint64_t nested_cr3;			/* 0x0b0 */
	uint8_t reserved6[0x400 - 0x0b8];
	struct vmcb_segment es, cs, ss, ds;	/* 0x400 */
	uint8_t reserved7[0x4d0 - 0x440];
	uint64_t efer;				/* 0x4d0 */
	uint8_t reserved8[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;	/* 0x548 */
	uint8_t reserved9[0x5d8 - 0x580];
	uint64_t rsp;				/* 0x5d8 */
	uint8_t reserved10[0x5f8 - 0x5e0];
	uint64_t rax;				/* 0x5f8 */
	uint8_t reserved11[0x668 - 0x600];
	uint64_t pat;				/* 0x668 */
};

_Static_assert(offsetof(struct vmcb, rax) ==
	       STAMP_VMCB_SLOT * STAMP_SECTOR + STAMP_OFFSET, "RAX is a stamp");

#define VMCB_INTERCEPT_SHUTDOWN	(1U << 31)	/* intercept3 */
#define VMCB_INTERCEPT_VMRUN	(1U << 0)	/* intercept4 */
#define VMCB_INTERCEPT_VMMCALL	(1U << 1)
#define MSR_EFER		0xc0000080
#define MSR_VM_HSAVE_PA		0xc0010117
#define EFER_SVME		(1U << 12)
#define NESTED_STAMPS		16

static __guest __attribute__((noinline)) uint64_t guest_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static __guest __attribute__((noinline)) void guest_wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" :: "c"(msr), "a"((uint32_t)value),
		     "d"((uint32_t)(value >> 32)) : "memory");
}

/*
 * The nested guest: a few stamps, then an exit with one in RAX, which KVM writes
 * to the VMCB. It begins anew at each entry.
 */
static __guest __attribute__((noinline, noreturn))
void nested_main(struct guest_control *control, unsigned int vcpu)
{
	struct guest_vcpu *self = &control->vcpus[vcpu];
	uint64_t stamp, page;
	unsigned int i;

	for (i = 0; i < NESTED_STAMPS; i++)
		stamp_once(&control->stamp, &self->stamper, vcpu,
			   (void *)control->memory, control->npages,
			   control->last[vcpu]);
	stamp = stamp_next(&control->stamp, &self->stamper, control->npages, &page);
	control->last_exit[vcpu] = stamp;
	asm volatile("vmmcall" :: "a"(stamp) : "memory");
	__builtin_unreachable();
}

/* The VMCB of each vCPU is a page of the memory that is tracked. */
static __guest __attribute__((noinline))
void guest_nest(struct guest_control *control, unsigned int vcpu)
{
	struct guest_vcpu *self = &control->vcpus[vcpu];
	uint64_t stack = control->stacks + vcpu * GUEST_PAGE;
	struct vmcb *vmcb = (void *)(control->memory + vcpu * GUEST_PAGE);
	struct vmcb_segment *code = &vmcb->cs;

	guest_wrmsr(MSR_EFER, guest_rdmsr(MSR_EFER) | EFER_SVME);
	/* Nothing but KVM of real hardware writes there. */
	guest_wrmsr(MSR_VM_HSAVE_PA, control->stacks + GUEST_MAX_VCPUS * GUEST_PAGE);

	vmcb->intercept3 = VMCB_INTERCEPT_SHUTDOWN;
	vmcb->intercept4 = VMCB_INTERCEPT_VMRUN | VMCB_INTERCEPT_VMMCALL;
	vmcb->asid = 1;
	vmcb->nested_control = 1;
	vmcb->nested_cr3 = control->page_tables;
	code->selector = 8;
	code->attributes = 0xa9b;
	code->limit = ~0U;
	vmcb->ds.selector = 16;
	vmcb->ds.attributes = 0xc93;
	vmcb->ds.limit = ~0U;
	vmcb->es = vmcb->ss = vmcb->ds;
	vmcb->efer = guest_rdmsr(MSR_EFER);
	vmcb->cr4 = 0x20;
	vmcb->cr3 = control->page_tables;
	vmcb->cr0 = 0x80000033;
	vmcb->dr7 = 0x400;
	vmcb->dr6 = 0xffff0ff0;
	vmcb->pat = 0x0007040600070406;

	while (!control->stamp.stop) {
		uint64_t rax = (uintptr_t)vmcb, rdi = (uintptr_t)control, rsi = vcpu;

		vmcb->rip = (uintptr_t)&nested_main;
		vmcb->rsp = stack + GUEST_PAGE - 8;
		vmcb->rflags = 2;
		asm volatile("push %%rbp\n\t"
			     "vmrun\n\t"
			     "pop %%rbp"
			     : "+a"(rax), "+D"(rdi), "+S"(rsi)
			     :: "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11",
				"r12", "r13", "r14", "r15", "memory", "cc");
		self->result = vmcb->exit_code;
		if (self->result != VMCB_EXIT_VMMCALL)
			break;
	}
}

/* A command for each time that the host lets it run; halts after it. */
__guest void guest_main(struct guest_control *control, unsigned int vcpu)
{
	struct guest_vcpu *self = &control->vcpus[vcpu];

	for (;;) {
		if (self->command == GUEST_STAMP)
			stamp_run(&control->stamp, &self->stamper, vcpu,
				  (void *)control->memory, control->npages,
				  control->last[vcpu]);
		else if (self->command == GUEST_NEST)
			guest_nest(control, vcpu);
		else if (self->command == GUEST_STAMP_BURST)
			stamp_burst(&control->stamp, &self->stamper, vcpu,
				    (void *)control->memory, control->npages,
				    control->last[vcpu]);
		else if (self->command == GUEST_WRITE_LIST)
			guest_write_list(control, self);
		else if (self->command == GUEST_READ_ALL)
			guest_read_all(control, self);
		else if (self->command == GUEST_SEQUENCE)
			guest_sequence(control, vcpu);
		asm volatile("hlt" ::: "memory");
	}
}

/* The linker names the ends of a section whose name is a C identifier. */
extern const char __start_guest_code[], __stop_guest_code[];
const char *const guest_image[2] = { __start_guest_code, __stop_guest_code };
