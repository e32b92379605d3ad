// SPDX-License-Identifier: GPL-2.0-or-later
/* The guard, with a VMM that only notes what it is asked. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"
#include "vmm/migration.h"

/*
 * struct notes - seen by this process and by the guard
 * @text: a letter for each call
 * @refuse: how many calls of cancel fail
 * @hold: all of them do
 * @gone: the VMM has ended
 */
static struct notes {
	char text[256];
	int refuse;
	bool hold;
	bool gone;
} *notes;

static int connection[2];

static void note(char letter)
{
	notes->text[strlen(notes->text)] = letter;
}

static int fake_take_over(struct vmm *vmm, struct error *err)
{
	(void)vmm;
	note('t');
	return notes->gone ? error_set(err, EXIT_GONE, "gone") : 0;
}

static int fake_cancel(struct vmm *vmm, struct error *err)
{
	(void)vmm;
	note('c');
	return notes->hold || notes->refuse-- > 0 ? error_set(err, EXIT_VMM, "not yet") : 0;
}

static int fake_restore(struct vmm *vmm, json_t *saved, struct error *err)
{
	(void)vmm;
	(void)err;
	note(json_is_true(json_object_get(saved, "x")) ? 'r' : '?');
	return 0;
}

static int fake_status(struct vmm *vmm, struct vmm_status *status,
		       struct error *err)
{
	(void)vmm;
	(void)err;
	*status = (struct vmm_status) { .state = "running" };
	note('s');
	return 0;
}

static int fake_connection(struct vmm *vmm)
{
	(void)vmm;
	return connection[0];
}

static const struct vmm_migration_ops fake = {
	.take_over = fake_take_over,
	.cancel = fake_cancel,
	.restore = fake_restore,
	.status = fake_status,
	.connection = fake_connection,
};

static struct vmm vmm;
static json_t *saved;
static struct guard_duty duty = { .keep = -1 };

static void prepare(void)
{
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, connection), 0);
	saved = json_pack("{s:b}", "x", 1);
}

static struct guard *start(void)
{
	struct guard *guard = NULL;
	struct error err;

	CHECK_EQ(guard_start(&guard, &vmm, &fake, saved, &duty, &err), 0);
	return guard;
}

/* The guard has it open as long as it lives. */
static void guard_wait(void)
{
	char c;

	close(connection[0]);
	CHECK_EQ(read(connection[1], &c, 1), 0);
}

/* A process with a guard is killed. */
static void die(bool handed_over)
{
	pid_t pid = fork();

	if (!pid) {
		struct guard *guard = start();

		if (handed_over)
			guard_handed_over(guard);
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
	guard_wait();
}

TEST(guard_undoes_when_killed)
{
	prepare();
	die(false);
	CHECK_STR(notes->text, "tcrs");
}

static void undo_more(void *data)
{
	note(*(const char *)data);
}

TEST(guard_has_more_to_undo)
{
	char letter = 'x';

	duty = (struct guard_duty) { .keep = -1, .undo = undo_more, .data = &letter };
	prepare();
	die(false);
	CHECK_STR(notes->text, "xtcrs");
}

TEST(guard_has_no_more_to_undo_after_a_handover)
{
	char letter = 'x';

	duty = (struct guard_duty) { .keep = -1, .undo = undo_more, .data = &letter };
	prepare();
	die(true);
	CHECK_STR(notes->text, "trs");
}

/* Who comes next is kept away until it has finished. */
TEST(guard_keeps_the_lock)
{
	char path[] = "/tmp/guard-XXXXXX";
	int other = mkstemp(path);

	prepare();
	notes->hold = true;
	duty.keep = open(path, O_RDWR);
	CHECK_EQ(flock(duty.keep, LOCK_EX | LOCK_NB), 0);
	if (!fork()) {
		start();
		raise(SIGKILL);
	}
	close(duty.keep);
	while (!strchr(notes->text, 'c'))
		usleep(1000);
	CHECK_EQ(flock(other, LOCK_EX | LOCK_NB), -1);
	notes->hold = false;
	guard_wait();
	CHECK_EQ(flock(other, LOCK_EX | LOCK_NB), 0);
	CHECK_HAS(notes->text, "tcrtcrs");
	unlink(path);
}

/* Its settings are put back, and nothing is cancelled, which would resume it. */
TEST(guard_lets_go_what_was_handed_over)
{
	prepare();
	die(true);
	CHECK_STR(notes->text, "trs");
}

TEST(guard_insists)
{
	prepare();
	notes->refuse = 1;
	die(false);
	CHECK_STR(notes->text, "tcrtcrs");
}

/* Whoever reads what it says has stopped to read: the guest waits for the retry. */
TEST(guard_is_not_held_up_by_what_it_says)
{
	int fds[2];

	CHECK_EQ(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], "x", 1) == 1)
		;
	fcntl(fds[1], F_SETFL, 0);
	dup2(fds[1], STDERR_FILENO);
	prepare();
	notes->refuse = 1;
	die(false);
	CHECK_STR(notes->text, "tcrtcrs");
	close(fds[0]);
}

TEST(guard_leaves_a_vmm_that_is_gone)
{
	prepare();
	notes->gone = true;
	die(false);
	CHECK_STR(notes->text, "t");
}

TEST(guard_stops)
{
	struct guard *guard;

	prepare();
	guard = start();
	CHECK(guard_alive(guard));
	guard_stop(guard);
	guard_wait();
	CHECK_STR(notes->text, "");
	/* No zombie. */
	CHECK_EQ(waitpid(-1, NULL, 0), -1);
	CHECK_EQ(errno, ECHILD);
	guard_stop(NULL);
}

TEST(guard_stops_after_a_handover)
{
	struct guard *guard;

	prepare();
	guard = start();
	guard_handed_over(guard);
	CHECK(guard_alive(guard));
	guard_stop(guard);
	guard_wait();
	CHECK_STR(notes->text, "");
}

/* The only child of this process. */
static pid_t child_pid(void)
{
	char path[64];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%d", &pid) != 1)
		pid = 0;
	fclose(file);
	return pid;
}

TEST(guard_that_is_killed)
{
	struct guard *guard;
	struct error err;
	pid_t pid;

	prepare();
	guard = start();
	pid = child_pid();
	if (!pid) {
		guard_stop(guard);
		return;
	}
	CHECK_EQ(guard_check(guard, &err), 0);
	kill(pid, SIGKILL);
	guard_wait();
	CHECK(!guard_alive(guard));
	CHECK_EQ(guard_check(guard, &err), -1);
	CHECK_HAS(err.message, "killed migctl's guard");
	CHECK(err.advice[0]);
	guard_handed_over(guard);
	guard_stop(guard);
	CHECK_EQ(waitpid(-1, NULL, 0), -1);
}

TEST(guard_that_is_stopped_does_not_hang_us)
{
	struct guard *guard;
	time_t begin;
	pid_t pid;

	prepare();
	guard = start();
	pid = child_pid();
	begin = time(NULL);
	if (pid)
		kill(pid, SIGSTOP);
	guard_stop(guard);
	CHECK(time(NULL) - begin <= 4);
}

static int descriptors(pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

/* Keys and hangups do not reach it; it holds nothing of ours open. */
TEST(guard_keeps_to_itself)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE,
				       SIGQUIT };
	struct guard *guard;
	int spare[2];
	size_t i;
	pid_t pid;
	char c;

	prepare();
	CHECK_EQ(pipe(spare), 0);
	guard = start();
	pid = child_pid();
	close(spare[1]);
	CHECK_EQ(read(spare[0], &c, 1), 0);
	if (pid) {
		for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
			kill(pid, signals[i]);
		/* stdin, stdout, stderr, the socket pair, the connection */
		for (i = 0; i < 3000 && descriptors(pid) != 5; i++)
			usleep(10000);
		CHECK_EQ(descriptors(pid), 5);
		CHECK_EQ(getsid(pid), pid);
	}
	CHECK(guard_alive(guard));
	guard_stop(guard);
}

/* What the VMM did not do when we asked, it may do later. */
TEST(guard_goes_on_where_we_gave_up)
{
	struct error err;
	struct guard *guard;

	prepare();
	notes->refuse = 2;
	guard = start();
	CHECK_EQ(fake.cancel(&vmm, &err), -1);
	CHECK(guard_conclude(guard, &vmm, &err));
	CHECK_HAS(err.advice, "goes on trying");
	guard_wait();
	CHECK_STR(notes->text, "ctcrtcrs");
}

TEST(guard_does_not_go_on_for_nothing)
{
	struct error err;

	prepare();
	CHECK(!guard_conclude(start(), &vmm, NULL));
	CHECK(!guard_conclude(NULL, &vmm, NULL));
	error_set(&err, EXIT_FAILED, "it is in a state that nobody can mend");
	CHECK(!guard_conclude(start(), &vmm, &err));
	guard_wait();
	CHECK_STR(notes->text, "");
}

/* Nobody resumes a guest that was handed over, whoever goes on. */
TEST(guard_goes_on_with_the_settings_only)
{
	struct guard *guard;
	struct error err;

	prepare();
	guard = start();
	guard_handed_over(guard);
	error_set(&err, EXIT_VMM, "not yet");
	CHECK(guard_conclude(guard, &vmm, &err));
	guard_wait();
	CHECK_STR(notes->text, "trs");
}

/* But if it never ran there, and that is known. */
TEST(guard_has_it_back)
{
	prepare();
	if (!fork()) {
		struct guard *guard = start();

		guard_handed_over(guard);
		guard_taken_back(guard);
		raise(SIGKILL);
	}
	guard_wait();
	CHECK_STR(notes->text, "tcrs");
}
