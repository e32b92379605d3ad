// SPDX-License-Identifier: GPL-2.0-or-later
/* So does one whose controller is killed. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "drive.h"
#include "tests.h"
#include "vmm/migration.h"

/* So soon a guest runs again; a busy machine may need longer now and then. */
#define SOON_US		1000000

/* What migctl does, up to a moment; then it waits to be killed. */
static void victim(enum moment moment, const struct machine *src,
		   const struct machine *dst, bool handed_over, int ready)
{
	struct guard *guard = NULL;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2] = { -1, -1 };

	from = connect_to(src);
	to = connect_to(dst);
	OK(ops->save(from, &saved, &err));
	OK(guard_start(&guard, from, ops, saved, &GUARD_NO_DUTY, &err));
	CHECK(guard_alive(guard));
	go_to(moment, from, to, src, dst, pair);
	if (handed_over)
		guard_handed_over(guard);
	CHECK(write(ready, failed ? "x" : ".", 1) == 1);
	fflush(stdout);
	pause();
}

static char victim_start(pid_t *pid, enum moment moment,
			 const struct machine *src, const struct machine *dst,
			 bool handed_over)
{
	char word = 'x';
	int ready[2];

	CHECK(!pipe(ready));
	fflush(stdout);
	*pid = fork();
	if (!*pid) {
		close(ready[0]);
		victim(moment, src, dst, handed_over, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &word, 1) != 1)
		word = 'x';
	close(ready[0]);
	return word;
}

static void settings_wait(const struct machine *m, const char *before, int ms)
{
	int64_t start = now_us();
	bool same = false;
	char *now;

	while (!same && now_us() - start < (int64_t)ms * 1000) {
		now = settings(m);
		same = !strcmp(before, now);
		free(now);
		usleep(1000);
	}
	CHECK(same);
}

static void test_guard(enum moment moment)
{
	struct machine src, dst;
	char *before, name[128];
	int64_t start, counts;
	pid_t pid;

	source_start(&src);
	destination_start(&dst);
	before = settings(&src);
	CHECK(victim_start(&pid, moment, &src, &dst, false) == '.');
	start = now_us();
	kill(pid, SIGKILL);
	counts = counts_within(&src, PATIENCE_MS);
	CHECK(counts >= 0);
	settings_wait(&src, before, PATIENCE_MS);
	printf("# SIGKILL %s: counts after %lld us, settings after %lld us\n",
	       moments[moment], (long long)counts,
	       (long long)(now_us() - start));
	waitpid(pid, NULL, 0);
	/* The guard lets go of the connection. */
	sleep_ms(50);
	CHECK(socket_there(src.qmp));
	free(before);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "SIGKILL %s", moments[moment]);
	report(name);
}

static void test_guard_handed_over(void)
{
	struct machine src, dst;
	char *before;
	pid_t pid;

	source_start(&src);
	destination_start(&dst);
	before = settings(&src);
	CHECK(victim_start(&pid, COMPLETED, &src, &dst, true) == '.');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	settings_wait(&src, before, PATIENCE_MS);
	CHECK(counts_within(&src, 1500) < 0);
	free(before);
	machine_end(&src);
	machine_end(&dst);
	report("SIGKILL after the guest was handed over: never resumed, settings as before");
}

/* The whole way with a kill at a random instant of it. */
static void traveller(const struct machine *src, const struct machine *dst)
{
	struct guard *guard = NULL;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2];

	from = connect_to(src);
	to = connect_to(dst);
	OK(ops->save(from, &saved, &err));
	OK(guard_start(&guard, from, ops, saved, &GUARD_NO_DUTY, &err));
	go_to(COMPLETED, from, to, src, dst, pair);
	pause();
}

static void test_guard_random(int runs)
{
	int64_t worst = 0, counts;
	struct machine src, dst;
	int i, delay, late = 0;
	char *before;
	pid_t pid;

	source_start(&src);
	before = settings(&src);
	srandom(1);
	for (i = 0; i < runs && !failed; i++) {
		destination_start(&dst);
		fflush(stdout);
		pid = fork();
		if (!pid)
			traveller(&src, &dst);
		delay = (int)(random() % 150000);
		usleep((useconds_t)delay);
		kill(pid, SIGKILL);
		counts = counts_within(&src, PATIENCE_MS);
		if (counts < 0)
			printf("# after %d us it does not run again\n", delay);
		CHECK(counts >= 0);
		settings_wait(&src, before, PATIENCE_MS);
		waitpid(pid, NULL, 0);
		late += counts > SOON_US;
		if (counts > worst)
			worst = counts;
		machine_end(&dst);
		sleep_ms(50);
	}
	printf("# %d random instants: at worst %lld us to counting\n", i,
	       (long long)worst);
	CHECK(late <= runs / 2);
	free(before);
	machine_end(&src);
	report("SIGKILL at random instants");
}

void test_guards(int random_runs)
{
	enum moment moment;

	for (moment = IDLE; moment < N_MOMENTS; moment++)
		test_guard(moment);
	test_guard_handed_over();
	test_guard_random(random_runs);
}
