// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's driver and the guard against real QEMUs. The memory goes over by a plain
 * copy of the file. QEMU and ACCEL name the binary and the accelerator, MIGCTL migctl,
 * O is where qemu_save is; prints TAP.
 */
#include <signal.h>
#include <stdlib.h>

#include "check.h"
#include "machine.h"
#include "tests.h"

#define RANDOM_RUNS	20

bool failed;
static int tests, failures;

void report(const char *name)
{
	tests++;
	failures += failed;
	printf("%sok %d %s\n", failed ? "not " : "", tests, name);
	fflush(stdout);
	failed = false;
}

int main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : RANDOM_RUNS;

	signal(SIGPIPE, SIG_IGN);
	folder_create();
	printf("TAP version 13\n");
	test_moves();
	test_cancels();
	test_guards(runs);
	test_refusals();
	test_commands();
	test_supervises(runs);
	printf("1..%d\n", tests);
	folder_remove();
	return !!failures;
}
