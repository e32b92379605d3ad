// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU moves the guest, and its controller watches, or is killed. Whatever happens,
 * one of both QEMUs runs the guest, and never both.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "common/units.h"
#include "drive.h"
#include "tests.h"
#include "vmm/supervise.h"

static const struct vmm_supervise_ops * const supervise = &vmm_qemu_supervise;

/* What decides: all of this guest fits. */
static const struct vmm_limits limits = {
	.downtime_ns = 300 * NS_PER_MS,
	.bandwidth = 1ull << 30,
};

static char address[160];

enum step { SAVED, SET_UP, STARTED, PAUSED, CONTINUED, DONE, N_STEPS };

static const char * const steps[] = {
	[SAVED] = "before anything was changed",
	[SET_UP] = "with the capabilities set",
	[STARTED] = "while QEMU migrates",
	[PAUSED] = "at pre-switchover",
	[CONTINUED] = "as QEMU hands over",
	[DONE] = "after completed",
};

static bool progress_wait(struct vmm *vmm, enum vmm_phase phase)
{
	int64_t end = now_us() + PATIENCE_MS * 1000ll;
	struct vmm_progress progress = {};
	struct error err;

	do {
		if (supervise->progress(vmm, &progress, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
		if (progress.phase == phase)
			return true;
		usleep(500);
	} while (now_us() < end);
	printf("# %s instead of phase %d: %s\n", progress.name, phase,
	       progress.reason);
	return false;
}

static void supervise_to(enum step step, struct vmm *vmm)
{
	struct vmm_supervise_options options = { .to = address };

	if (step == SAVED)
		return;
	OK(supervise->prepare(vmm, &options, &err));
	OK(supervise->limit(vmm, &limits, NULL, &err));
	if (step == SET_UP)
		return;
	OK(supervise->start(vmm, address, &err));
	if (step == STARTED)
		return;
	CHECK(progress_wait(vmm, VMM_PRE_SWITCHOVER));
	if (step == PAUSED)
		return;
	OK(supervise->guard->go_on(vmm, &err));
	if (step == DONE)
		CHECK(progress_wait(vmm, VMM_COMPLETED));
}

/* It takes what comes, over as many channels as the source has, and runs it. */
static void arrival_start(struct machine *dst)
{
	destination_start(dst);
	snprintf(address, sizeof(address), "unix:%s/arrival", folder);
	unlink(address + strlen("unix:"));
	OK(qmp_execute(dst->eyes, "migrate-set-capabilities",
		       json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability",
				 "multifd", "state", 1), NULL, &err));
	OK(qmp_execute(dst->eyes, "migrate-set-parameters",
		       json_pack("{s:i}", "multifd-channels", 3), NULL, &err));
	OK(qmp_execute(dst->eyes, "migrate-incoming",
		       json_pack("{s:s}", "uri", address), NULL, &err));
	OK(qmp_execute(dst->eyes, "cont", NULL, NULL, &err));
}

/* Its settings, but for a destination that has not ended yet. */
static bool same_settings(const struct machine *m, const char *before, int ms)
{
	int64_t end = now_us() + (int64_t)ms * 1000;
	bool same;
	char *now;

	do {
		now = settings(m);
		same = !strcmp(before, now);
		free(now);
		usleep(2000);
	} while (!same && now_us() < end);
	return same;
}

static void test_moves_itself(void)
{
	struct machine src, dst;
	json_t *saved = NULL;
	struct vmm *vmm;
	char *before;

	source_start(&src);
	arrival_start(&dst);
	before = settings(&src);
	vmm = connect_to(&src);
	OK(supervise->check(vmm, src.qmp, &(struct vmm_supervise_options) {
		.to = address }, &err));
	OK(supervise->save(vmm, &saved, &err));
	supervise_to(PAUSED, vmm);
	CHECK(counts_within(&src, 100) < 0);
	OK(supervise->guard->go_on(vmm, &err));
	CHECK(progress_wait(vmm, VMM_COMPLETED));
	CHECK(counts_within(&dst, PATIENCE_MS) >= 0);
	/* Somebody undoes it nevertheless: the guest is not ours any more. */
	OK(supervise->guard->cancel(vmm, &err));
	CHECK(counts_within(&src, 300) < 0);
	OK(supervise->guard->restore(vmm, saved, &err));
	CHECK(same_settings(&src, before, 0));
	vmm->ops->close(vmm);
	json_decref(saved);
	free(before);
	machine_end(&src);
	machine_end(&dst);
	report("QEMU moves a guest, and the source is never resumed");
}

static void test_takes_back(enum step step)
{
	struct machine src, dst;
	json_t *saved = NULL;
	char *before, name[128];
	struct vmm *vmm;

	source_start(&src);
	arrival_start(&dst);
	before = settings(&src);
	vmm = connect_to(&src);
	OK(supervise->save(vmm, &saved, &err));
	supervise_to(step, vmm);
	OK(supervise->guard->cancel(vmm, &err));
	CHECK(counts_within(&src, PATIENCE_MS) >= 0);
	OK(supervise->guard->restore(vmm, saved, &err));
	CHECK(same_settings(&src, before, 0));
	vmm->ops->close(vmm);
	json_decref(saved);
	free(before);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "supervised, taken back %s", steps[step]);
	report(name);
}

static void controller(enum step step, const struct machine *src, int ready)
{
	struct guard *guard = NULL;
	json_t *saved = NULL;
	struct vmm *vmm;

	vmm = connect_to(src);
	OK(supervise->save(vmm, &saved, &err));
	OK(guard_start(&guard, vmm, supervise->guard, saved, &GUARD_NO_DUTY, &err));
	supervise_to(step, vmm);
	fflush(stdout);
	if (ready >= 0)
		CHECK(write(ready, failed ? "x" : ".", 1) == 1);
	pause();
}

/* One of both runs the guest, and the other never does. */
static void one_runs(const struct machine *src, const struct machine *dst,
		     bool may_be_moved, const char *before)
{
	int where;

	/* All is undone then, and no memory arrives there any more, which counts as well. */
	CHECK(same_settings(src, before, PATIENCE_MS));
	sleep_ms(20);
	where = which_counts(src, dst, PATIENCE_MS);
	if (where < 0)
		printf("# it runs nowhere\n");
	CHECK(where == 0 || (may_be_moved && where == 1));
	if (where == 0)
		CHECK(counts_within(dst, 50) < 0);
	else
		CHECK(counts_within(src, 50) < 0);
}

static void test_killed(enum step step)
{
	struct machine src, dst;
	char *before, word = 'x', name[128];
	int ready[2];
	pid_t pid;

	source_start(&src);
	arrival_start(&dst);
	before = settings(&src);
	CHECK(!pipe(ready));
	fflush(stdout);
	pid = fork();
	if (!pid)
		controller(step, &src, ready[1]);
	CHECK(read(ready[0], &word, 1) == 1 && word == '.');
	close(ready[0]);
	close(ready[1]);
	kill(pid, SIGKILL);
	one_runs(&src, &dst, step >= CONTINUED, before);
	waitpid(pid, NULL, 0);
	free(before);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "supervised, SIGKILL %s", steps[step]);
	report(name);
}

static void test_killed_random(int runs)
{
	struct machine src, dst;
	int i, delay, moved = 0;
	char *before;
	pid_t pid;

	srandom(2);
	for (i = 0; i < runs && !failed; i++) {
		source_start(&src);
		arrival_start(&dst);
		before = settings(&src);
		fflush(stdout);
		pid = fork();
		if (!pid)
			controller(DONE, &src, -1);
		delay = (int)(random() % 150000);
		usleep((useconds_t)delay);
		kill(pid, SIGKILL);
		one_runs(&src, &dst, true, before);
		moved += counts_within(&src, 50) < 0;
		if (failed)
			printf("# killed after %d us\n", delay);
		waitpid(pid, NULL, 0);
		free(before);
		machine_end(&src);
		machine_end(&dst);
	}
	printf("# %d random instants, %d of them too late\n", i, moved);
	report("supervised, SIGKILL at random instants");
}

/* What somebody else has started goes on, but for where it would wait for ever. */
static void test_attached(enum step step, bool runs)
{
	struct machine src, dst;
	json_t *saved = NULL;
	struct vmm *vmm;
	char name[128];

	source_start(&src);
	arrival_start(&dst);
	vmm = connect_to(&src);
	OK(supervise->save(vmm, &saved, &err));
	supervise_to(PAUSED, vmm);
	vmm->ops->close(vmm);
	json_decref(saved);
	vmm = connect_to(&src);
	OK(supervise->check(vmm, src.qmp, &(struct vmm_supervise_options) {}, &err));
	OK(supervise->save(vmm, &saved, &err));
	supervise->attach(vmm, false);
	if (step == CONTINUED) {
		OK(supervise->guard->go_on(vmm, &err));
		CHECK(progress_wait(vmm, VMM_COMPLETED));
	}
	OK(supervise->guard->cancel(vmm, &err));
	CHECK((counts_within(&src, runs ? PATIENCE_MS : 1000) >= 0) == runs);
	vmm->ops->close(vmm);
	json_decref(saved);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "another's migration, left %s", steps[step]);
	report(name);
}

static void test_refused(void)
{
	struct vmm_supervise_options options = { .to = "unix:/nowhere" };
	struct machine src;
	struct vmm *vmm;

	machine_start(&src, "src", "q35", NULL, "-chardev", "null,id=charmonitor",
		      NULL);
	vmm = connect_to(&src);
	REFUSED(supervise->check(vmm, src.qmp, &options, &err), "libvirt");
	options.force = true;
	OK(supervise->check(vmm, src.qmp, &options, &err));
	options.to = NULL;
	REFUSED(supervise->check(vmm, src.qmp, &options, &err), "under way");
	options.force = false;
	REFUSED(supervise->check(vmm, "/run/libvirt/qemu/x.monitor", &options, &err),
		"libvirt");
	vmm->ops->close(vmm);
	machine_end(&src);
	report("a guest of libvirt's, or without a migration, is refused");
}

static void test_nobody_there(void)
{
	struct machine src;
	json_t *saved = NULL;
	struct vmm *vmm;
	struct error err;

	source_start(&src);
	snprintf(address, sizeof(address), "unix:%s/nobody", folder);
	vmm = connect_to(&src);
	OK(supervise->save(vmm, &saved, &err));
	supervise_to(SET_UP, vmm);
	if (!supervise->start(vmm, address, &err))
		CHECK(progress_wait(vmm, VMM_FAILED));
	OK(supervise->guard->cancel(vmm, &err));
	OK(supervise->guard->restore(vmm, saved, &err));
	CHECK(counts_within(&src, PATIENCE_MS) >= 0);
	vmm->ops->close(vmm);
	json_decref(saved);
	machine_end(&src);
	report("a destination that is not there");
}

void test_supervises(int random_runs)
{
	enum step step;

	test_moves_itself();
	for (step = SET_UP; step <= PAUSED; step++)
		test_takes_back(step);
	for (step = SAVED; step < N_STEPS; step++)
		test_killed(step);
	test_killed_random(random_runs);
	test_attached(PAUSED, true);
	test_attached(CONTINUED, false);
	test_refused();
	test_nobody_there();
}
