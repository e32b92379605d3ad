// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs inside our own KVM guest, in long mode, on identity-mapped memory.
 * The section is copied there whole, so nothing in it may refer to the outside.
 */

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

/* A command for each time that the host lets it run; halts after it. */
__guest void guest_main(struct guest_control *control, unsigned int vcpu)
{
	struct guest_vcpu *self = &control->vcpus[vcpu];

	for (;;) {
		if (self->command == GUEST_STAMP)
			stamp_run(&control->stamp, &self->stamper, vcpu,
				  (void *)control->memory, control->npages);
		else if (self->command == GUEST_WRITE_LIST)
			guest_write_list(control, self);
		else if (self->command == GUEST_READ_ALL)
			guest_read_all(control, self);
		asm volatile("hlt" ::: "memory");
	}
}

/* The linker names the ends of a section whose name is a C identifier. */
extern const char __start_guest_code[], __stop_guest_code[];
const char *const guest_image[2] = { __start_guest_code, __stop_guest_code };
