/* SPDX-License-Identifier: GPL-2.0-only */
/* Sizes that somebody reports, and is not believed blindly. Pure. */
#ifndef _MIGTRACK_SIZES_H
#define _MIGTRACK_SIZES_H

#include <linux/limits.h>
#include <linux/types.h>

/* Bytes that are still to be moved. Adding them saturates. */
struct migtrack_counters {
	u64 precopy;
	u64 postcopy;
	u64 stopcopy;
};

/**
 * migtrack_size_take - believe a size, unless it is impossible
 * @to: the last good one; set if this one is good
 * @bytes: what was reported; anything
 *
 * Return: true if it was good.
 */
static inline bool migtrack_size_take(u64 *to, u64 bytes)
{
	if (bytes > S64_MAX)
		return false;
	*to = bytes;
	return true;
}

#endif /* _MIGTRACK_SIZES_H */
