/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ways to learn which pages a guest wrote, all over the same guest. */
#ifndef METHOD_H
#define METHOD_H

#include <stddef.h>
#include <stdint.h>

#include "kvm_vm.h"

/**
 * struct method - one of them
 * @name: what it is called in tables
 * @start: begin; nothing counts as written after it
 * @collect: find what was written and watch for more: what is measured
 * @stop: end
 *
 * They end the program with a message if they can't.
 */
struct method {
	const char *name;
	void (*start)(struct vm *vm);
	size_t (*collect)(struct vm *vm);
	void (*stop)(void);
};

/* The first one is the floor; it finds nothing and protects nothing. */
enum {
	METHOD_FLOOR,
	METHOD_MIGTRACK,
	METHOD_KVM,
	METHOD_PAGEMAP_SCAN,
	METHOD_SOFT_DIRTY,
	METHODS,
};

extern const struct method methods[METHODS];

#endif /* METHOD_H */
