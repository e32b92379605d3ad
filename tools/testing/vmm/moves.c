// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest moves, or its destination fails. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "drive.h"
#include "tests.h"

static void test_round_trip(void)
{
	char *source_before, *destination_before, *after;
	json_t *here = NULL, *there = NULL, *saved = NULL, *kept = NULL;
	struct machine src, dst;
	struct vmm *from, *to;
	int pair[2];
	uint32_t last;
	int64_t start;

	source_start(&src);
	destination_start(&dst);
	source_before = settings(&src);
	destination_before = settings(&dst);
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->describe(from, &here, &err));
	OK(ops->describe(to, &there, &err));
	OK(vmm_compare(here, there, &err));
	OK(ops->check_source(from, &err));
	OK(ops->check_destination(to, &err));
	OK(ops->check_waiting(to, &err));
	OK(ops->save(from, &saved, &err));
	OK(ops->save(to, &kept, &err));
	OK(ops->prepare_source(from, &err));
	OK(ops->prepare_destination(to, &err));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(ops->start(from, pair[0], &err));
	OK(ops->incoming(to, pair[1], &err));
	close(pair[0]);
	close(pair[1]);
	CHECK(phase_wait(from, VMM_PRE_SWITCHOVER, PATIENCE_MS));
	REFUSED(ops->check_waiting(to, &err), "from elsewhere");
	CHECK(counts_within(&src, 100) < 0);
	REFUSED(ops->check_source(from, &err), "under way");
	REFUSED(ops->run(to, &err), "has not loaded");
	copy_ram(&src, &dst);
	last = *src.counter;
	start = now_us();
	OK(ops->go_on(from, &err));
	CHECK(phase_wait(from, VMM_COMPLETED, PATIENCE_MS));
	CHECK(phase_wait(to, VMM_COMPLETED, PATIENCE_MS));
	printf("# continue to completed: %lld us\n",
	       (long long)(now_us() - start));
	CHECK(counts_within(&dst, 100) < 0);
	REFUSED(ops->check_waiting(to, &err), "does not wait for a guest");
	OK(ops->restore(to, kept, &err));
	start = now_us();
	OK(ops->run(to, &err));
	CHECK(counts_within(&dst, PATIENCE_MS) >= 0);
	printf("# run to running: %lld us\n", (long long)(now_us() - start));
	CHECK(*dst.counter - last < 1u << 31);
	CHECK(counts_within(&src, 100) < 0);
	REFUSED(ops->check_source(from, &err), "postmigrate");
	OK(ops->restore(from, saved, &err));
	after = settings(&src);
	CHECK(!strcmp(source_before, after));
	free(after);
	after = settings(&dst);
	CHECK(!strcmp(destination_before, after));
	free(after);
	OK(ops->quit(from, &err));
	from->ops->close(from);
	to->ops->close(to);
	json_decref(here);
	json_decref(there);
	json_decref(saved);
	json_decref(kept);
	free(source_before);
	free(destination_before);
	machine_end(&src);
	machine_end(&dst);
	report("a guest moves and goes on where it stopped");
}

/* Somebody sent cont to the destination before: it must not start by itself. */
static void test_destination_waits(void)
{
	struct machine src, dst;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2];

	source_start(&src);
	destination_start(&dst);
	OK(qmp_execute(dst.eyes, "cont", NULL, NULL, &err));
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->check_destination(to, &err));
	OK(ops->save(from, &saved, &err));
	go_to(COMPLETED, from, to, &src, &dst, pair);
	CHECK(phase_wait(to, VMM_COMPLETED, PATIENCE_MS));
	CHECK(counts_within(&dst, 300) < 0);
	from->ops->close(from);
	to->ops->close(to);
	json_decref(saved);
	machine_end(&src);
	machine_end(&dst);
	report("a destination that was told cont before waits nevertheless");
}

/* A stream that is no migration: the destination says why. */
static void test_destination_fails(void)
{
	struct vmm_status status = {};
	struct machine dst;
	struct vmm *to;
	int pair[2];

	destination_start(&dst);
	to = connect_to(&dst);
	OK(ops->prepare_destination(to, &err));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(ops->incoming(to, pair[1], &err));
	CHECK(write(pair[0], "nonsense, nonsense", 18) == 18);
	close(pair[0]);
	close(pair[1]);
	if (phase_wait(to, VMM_FAILED, PATIENCE_MS)) {
		OK(ops->status(to, &status, &err));
		printf("# reason: %s\n", status.reason);
		CHECK(status.reason[0]);
		REFUSED(ops->run(to, &err), "has not loaded");
	} else {
		/* Before 9.1. */
		REFUSED(ops->status(to, &status, &err), "closed the connection");
	}
	OK(ops->quit(to, &err));
	to->ops->close(to);
	machine_end(&dst);
	report("a destination that can't load says why");
}

void test_moves(void)
{
	test_round_trip();
	test_destination_waits();
	test_destination_fails();
}
