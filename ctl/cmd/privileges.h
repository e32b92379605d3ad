/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process that listens to the network does without. */
#ifndef MIGCTL_PRIVILEGES_H
#define MIGCTL_PRIVILEGES_H

#include "common/error.h"

/*
 * For good: no capability is left, and no program that is run gives one back.
 * Before there are other threads: they would keep theirs.
 */
int privileges_drop(struct error *err);

#endif /* MIGCTL_PRIVILEGES_H */
