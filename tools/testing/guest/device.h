/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In a test guest: uses the VFIO test device, and knows what it must hold. */
#ifndef GUEST_DEVICE_H
#define GUEST_DEVICE_H

#include <stdbool.h>

/*
 * Finds it, and has it write memory so many times a second, 0 for never. Says what
 * is missing if that fails.
 */
bool device_start(unsigned int dma_rate);

/*
 * Checks all of it and changes some of it; false, and a line "WRONG device ...", if
 * something is not as it must be. Says so when it was loaded from a stream.
 */
bool device_check(void);

#endif
