/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Points of a migration at which a test build (make TEST_FAULTS=1) fails on demand,
 * as MIGCTL_FAULT=POINT=ACTION says:
 *
 *	kill	the process is killed
 *	stop	it stops, as a host that hangs, until somebody has it go on
 *	int	it is interrupted, as by Ctrl-C
 *	cut	its TCP connections die, without a word
 *	fail	what it does there fails
 *	late	for a second it is not done: switchover, where the VMM is told to begin
 *
 * In any other build there is nothing of it. The points are, in the order in which they
 * are reached, of migctl migrate: connected joined precopy switchover vmm-started
 * stopped copied loaded handed-over go verify; of migctl receive: accepted vmm-start
 * loading loaded-there go-taken running. At "pages" fail damages a frame of memory on
 * its way; outside, unaligned and block have it be of a place that is none.
 */
#ifndef MIGCTL_FAULT_H
#define MIGCTL_FAULT_H

#include <stdbool.h>

#include "common/error.h"

#ifdef MIGCTL_TEST_FAULTS
int fault(const char *point, struct error *err);
bool fault_is(const char *point, const char *action);
bool fault_late(const char *point);
#else
static inline int fault(const char *point, struct error *err)
{
	(void)point;
	(void)err;
	return 0;
}

static inline bool fault_is(const char *point, const char *action)
{
	(void)point;
	(void)action;
	return false;
}

static inline bool fault_late(const char *point)
{
	(void)point;
	return false;
}
#endif

#endif /* MIGCTL_FAULT_H */
