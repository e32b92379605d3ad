// SPDX-License-Identifier: GPL-2.0-or-later
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/privileges.h"
#include "unit.h"

static bool status_has(const char *line)
{
	FILE *file = fopen("/proc/self/status", "re");
	char text[256];
	bool found = false;

	while (!found && fgets(text, sizeof(text), file))
		found = !strcmp(text, line);
	fclose(file);
	return found;
}

TEST(privileges_are_gone_for_good)
{
	struct error err;
	pid_t pid;
	int status;

	/* Of the parent, so that the test sees that it is the call that does it. */
	pid = fork();
	if (!pid) {
		CHECK_EQ(privileges_drop(&err), 0);
		CHECK(status_has("CapEff:\t0000000000000000\n"));
		CHECK(status_has("CapPrm:\t0000000000000000\n"));
		CHECK(status_has("CapInh:\t0000000000000000\n"));
		CHECK(status_has("CapAmb:\t0000000000000000\n"));
		CHECK(status_has("NoNewPrivs:\t1\n"));
		if (!geteuid()) {
			CHECK(status_has("CapBnd:\t0000000000000000\n"));
			CHECK(setuid(65534));
			CHECK(chroot("/"));
		}
		/* Again: what is gone can be given up. */
		CHECK_EQ(privileges_drop(&err), 0);
		_exit(unit_failed);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK(status_has("NoNewPrivs:\t0\n"));
}
