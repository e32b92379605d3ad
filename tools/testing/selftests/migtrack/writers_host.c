// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads and processes of the host. */

#include "writer.h"

#define WRITERS		WRITERS_HOST
#include "writers.h"

TEST_HARNESS_MAIN
