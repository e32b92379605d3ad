// SPDX-License-Identifier: GPL-2.0-or-later
/* vCPUs while KVM's own dirty log is on and being cleared, and nested guests. */

#include "writer.h"

#define WRITERS		WRITERS_KVM_LOG
#include "writers.h"

TEST_HARNESS_MAIN
