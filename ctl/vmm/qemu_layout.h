/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where devices find the guest's memory in QEMU. */
#ifndef MIGCTL_QEMU_LAYOUT_H
#define MIGCTL_QEMU_LAYOUT_H

#include "vmm/vmm.h"

int qemu_layout(struct vmm *vmm, struct vmm_range **ranges, size_t *n,
		struct error *err);

/* Pure: what "info mtree -f" says; @text is changed. */
int qemu_layout_parse(char *text, struct vmm_range **ranges, size_t *n,
		      struct error *err);

#endif /* MIGCTL_QEMU_LAYOUT_H */
