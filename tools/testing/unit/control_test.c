// SPDX-License-Identifier: GPL-2.0-or-later
/* What tells a running migration something, and what keeps a second one away. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/control.h"
#include "cmd/lock.h"
#include "cmd/record.h"
#include "unit.h"
#include "vmm/memfile.h"

static const struct vmm_choice guest = { "q", &vmm_driver_qemu };

/* No session of a kernel has it. */
#define SESSION	(1ull << 62)

static int served;

static int answer(const char *command, const json_t *request, void *data,
		  struct error *err)
{
	uint64_t *number = data;

	served++;
	control_number(request, "number", number);
	if (!strcmp(command, "refuse")) {
		error_set(err, EXIT_FAILED, "too late");
		return error_advise(err, "come earlier");
	}
	return 0;
}

struct ask {
	const char *command;
	struct error err;
	int ret;
};

static void *ask_main(void *data)
{
	struct ask *ask = data;

	ask->ret = control_ask(SESSION, json_pack("{s:s, s:i}", "command",
						  ask->command, "number", 7),
			       &ask->err);
	return NULL;
}

static struct control listen_there(void)
{
	struct control control = CONTROL_NONE;
	struct error err = {};

	mkdir(RECORD_DIR, 0755);
	CHECK_EQ(control_open(&control, SESSION, &err), 0);
	return control;
}

static void serve(struct control *control, int until, uint64_t *number)
{
	int i;

	for (i = 0; i < 20000 && served < until; i++) {
		control_serve(control, answer, number);
		usleep(1000);
	}
	CHECK_EQ(served, until);
}

TEST(control_answers)
{
	struct control control = listen_there();
	struct ask ask = { .command = "set" };
	uint64_t number = 0;
	struct stat st;
	pthread_t thread;

	CHECK_EQ(stat(control.path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	pthread_create(&thread, NULL, ask_main, &ask);
	serve(&control, 1, &number);
	pthread_join(thread, NULL);
	CHECK_EQ(ask.ret, 0);
	CHECK_EQ(number, 7);

	ask.command = "refuse";
	pthread_create(&thread, NULL, ask_main, &ask);
	serve(&control, 2, &number);
	pthread_join(thread, NULL);
	CHECK_EQ(ask.ret, -1);
	CHECK_EQ(ask.err.code, EXIT_FAILED);
	CHECK_STR(ask.err.message, "too late");
	CHECK_STR(ask.err.advice, "come earlier");
	control_close(&control);
	CHECK(stat(control.path, &st));
}

TEST(control_without_a_migration)
{
	struct ask ask = { .command = "set" };

	ask_main(&ask);
	CHECK_EQ(ask.ret, -1);
	CHECK_EQ(ask.err.code, EXIT_GONE);
	CHECK(ask.err.advice[0]);
}

static int connect_there(const struct control *control)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, control->path);
	CHECK_EQ(connect(fd, (void *)&address, sizeof(address)), 0);
	return fd;
}

/* One that says nothing, or nonsense, is not waited for, and does no harm. */
TEST(control_bad_clients)
{
	static const char * const lines[] = { "", "nonsense\n", "[]\n", "{}\n",
					      "{\"command\": 3}\n" };
	struct control control = listen_there();
	uint64_t number = 0;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = connect_there(&control);
		size_t length = strlen(lines[i]);
		char reply[512] = "";

		CHECK_EQ(send(fd, lines[i], length, 0), length);
		control_serve(&control, answer, &number);
		if (length) {
			CHECK(recv(fd, reply, sizeof(reply) - 1, MSG_DONTWAIT) > 0);
			CHECK_HAS(reply, "that is no request");
		}
		close(fd);
	}
	CHECK_EQ(served, 0);
	control_close(&control);
	/* Nobody can come. */
	control_serve(&control, answer, &number);
}

/* A guest that is stopped does not wait for who is silent. */
TEST(control_does_not_wait)
{
	struct control control = listen_there();
	uint64_t number = 0, begin;
	char reply[512] = "";
	int fds[2 * CONTROL_CLIENTS], late;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connect_there(&control);
		control_serve(&control, answer, &number);
	}
	begin = clock_ns(CLOCK_MONOTONIC);
	control_serve(&control, answer, &number);
	CHECK(clock_ns(CLOCK_MONOTONIC) - begin < NS_PER_S);
	/* The last ones may still say something, in parts. */
	late = fds[ARRAY_SIZE(fds) - 1];
	CHECK_EQ(send(late, "{\"command\": \"set\", ", 19, 0), 19);
	control_serve(&control, answer, &number);
	CHECK_EQ(served, 0);
	CHECK_EQ(send(late, "\"number\": 9}\n", 13, 0), 13);
	control_serve(&control, answer, &number);
	CHECK_EQ(served, 1);
	CHECK_EQ(number, 9);
	CHECK(recv(late, reply, sizeof(reply) - 1, MSG_DONTWAIT) > 0);
	CHECK_HAS(reply, "done");
	/* The first ones had to go. */
	CHECK_EQ(recv(fds[0], reply, sizeof(reply), MSG_DONTWAIT), 0);
	control_close(&control);
}

static void say(int fd, const char *line)
{
	CHECK_EQ(send(fd, line, strlen(line), 0), strlen(line));
}

/* It has told its user that nobody answers. */
TEST(control_does_nothing_for_who_has_left)
{
	struct control control = listen_there();
	char reply[512] = "";
	uint64_t number = 0;
	int fd = connect_there(&control);

	say(fd, "{\"command\": \"switchover\"}\n");
	close(fd);
	control_serve(&control, answer, &number);
	CHECK_EQ(served, 0);
	CHECK_EQ(control.n, 0);
	/* One that was let in before it has said all. */
	fd = connect_there(&control);
	say(fd, "{\"command\": ");
	control_serve(&control, answer, &number);
	say(fd, "\"switchover\"}\n");
	close(fd);
	control_serve(&control, answer, &number);
	CHECK_EQ(served, 0);
	/* One that has nothing more to say waits. */
	fd = connect_there(&control);
	say(fd, "{\"command\": \"switchover\"}\n");
	shutdown(fd, SHUT_WR);
	control_serve(&control, answer, &number);
	CHECK_EQ(served, 1);
	CHECK(recv(fd, reply, sizeof(reply) - 1, MSG_DONTWAIT) > 0);
	CHECK_HAS(reply, "done");
	close(fd);
	control_close(&control);
}

/* Until nobody else can connect. */
static void fill(const struct control *control)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int i, fd;

	strcpy(address.sun_path, control->path);
	for (i = 0; i < 100; i++) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(fd, (void *)&address, sizeof(address)))
			break;
	}
	CHECK(i < 100);
}

/* Whoever asks gives up, in the queue or before it; later nothing is done for them. */
TEST(control_that_hangs)
{
	struct control control = listen_there();
	struct ask first = { .command = "switchover" }, last = first;
	uint64_t number = 0, begin = clock_ns(CLOCK_MONOTONIC);
	pthread_t thread;
	int i;

	pthread_create(&thread, NULL, ask_main, &first);
	usleep(300000);
	fill(&control);
	ask_main(&last);
	pthread_join(thread, NULL);
	CHECK(clock_ns(CLOCK_MONOTONIC) - begin < 20 * NS_PER_S);
	CHECK_EQ(first.ret, -1);
	CHECK_EQ(last.ret, -1);
	CHECK_EQ(last.err.code, EXIT_GONE);
	CHECK_HAS(first.err.message, "does not answer");
	CHECK_HAS(last.err.message, "does not answer");
	for (i = 0; i < 10; i++)
		control_serve(&control, answer, &number);
	CHECK_EQ(served, 0);
	control_close(&control);
}

static pid_t dead(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static bool is_there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), RECORD_DIR "/%s", name);
	return !access(path, F_OK);
}

static void leave(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), RECORD_DIR "/%s", name);
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static void leave_record(const char *name, pid_t pid, const char *state)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"pid\": %d, \"qmp\": \"q\", \"to\": \"t\", \"state\": \"%s\"}", pid,
		 state);
	leave(name, text);
}

/* What killed ones leave goes; what may be a guest's only trace stays. */
TEST(record_sweeps)
{
	struct record record;
	struct error err = {};
	pid_t pid = dead();
	char lock[64];

	mkdir(RECORD_DIR, 0755);
	prctl(PR_SET_NAME, "migctl");
	snprintf(lock, sizeof(lock), "vmm-%d.lock", pid);
	leave_record("9000001.json", pid, "migrating");
	leave("9000001.sock", "");
	leave_record("9000002.json", pid, "handed-over");
	leave_record("9000003.json", pid, "in-doubt");
	leave("9000003.sock", "");
	leave_record("9000004.json", getpid(), "migrating");
	leave("9000004.sock", "");
	leave("9000005.sock", "");
	leave("other", "");
	leave(lock, "");
	record_sweep();
	CHECK(!is_there("9000001.json") && !is_there("9000001.sock"));
	CHECK(is_there("9000002.json") && is_there("9000003.json"));
	CHECK(!is_there("9000003.sock") && !is_there("9000005.sock"));
	CHECK(is_there("9000004.json") && is_there("9000004.sock"));
	CHECK(is_there("other") && !is_there(lock));
	/* Nor is it written over. */
	CHECK_EQ(record_create(&record, 9000003, &guest, getpid(), "t", &err), -1);
	CHECK_EQ(err.code, EXIT_FAILED);
	unlink(RECORD_DIR "/9000002.json");
	unlink(RECORD_DIR "/9000003.json");
	unlink(RECORD_DIR "/9000004.json");
	unlink(RECORD_DIR "/9000004.sock");
	unlink(RECORD_DIR "/other");
}

static void take_no_notice(const struct record *record, void *data)
{
	(void)record;
	(void)data;
}

/* Else nothing would seem to be in doubt. */
TEST(record_of_somebody_else)
{
	int status = -1;
	pid_t pid;

	mkdir(RECORD_DIR, 0755);
	leave_record("9000006.json", getpid(), "in-doubt");
	CHECK_EQ(chmod(RECORD_DIR "/9000006.json", 0600), 0);
	pid = fork();
	if (!pid) {
		struct error err = {};

		if (setuid(65534))
			_exit(2);
		_exit(record_each(take_no_notice, NULL, &err) != -1 ||
		      err.code != EXIT_PERMISSION || !err.advice[0]);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	unlink(RECORD_DIR "/9000006.json");
}

/* Its parent has not asked how it ended: it runs nothing any more. */
TEST(record_of_a_vmm_that_nobody_has_reaped)
{
	struct record record = {};
	siginfo_t info;
	pid_t pid;
	int go[2];

	CHECK_EQ(pipe(go), 0);
	pid = fork();
	if (!pid) {
		close(go[1]);
		_exit((int)read(go[0], &pid, 1));
	}
	record.vmm = pid;
	record.vmm_start = process_start(pid);
	CHECK(record_vmm_is_there(&record));
	close(go[1]);
	CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	CHECK(!record_vmm_is_there(&record));
	waitpid(pid, NULL, 0);
	close(go[0]);
}

TEST(record_knows_a_paused_guest)
{
	struct record record, read;
	struct error err = {};

	CHECK_EQ(record_create(&record, SESSION, &guest, getpid(), "t", &err), 0);
	CHECK_EQ(record_read(&read, SESSION, &err), 0);
	CHECK(!read.paused);
	record.paused = true;
	CHECK_EQ(record_set(&record, "in-doubt", &err), 0);
	CHECK_EQ(record_read(&read, SESSION, &err), 0);
	CHECK(read.paused);
	record_remove(&record);
}

/* A number alone may be another process's. */
TEST(record_knows_processes)
{
	struct record record, read;
	struct error err = {};
	pid_t gone = dead();

	prctl(PR_SET_NAME, "migctl");
	CHECK_EQ(record_create(&record, SESSION, &guest, getpid(), "t", &err), 0);
	CHECK_EQ(record_read(&read, SESSION, &err), 0);
	CHECK(record_is_of(&read, getpid()) && !record_is_of(&read, gone));
	CHECK(record_owner_lives(&read));
	record.pid_start++;
	record.vmm_start++;
	CHECK_EQ(record_set(&record, "in-doubt", &err), 0);
	CHECK_EQ(record_read(&read, SESSION, &err), 0);
	CHECK(!record_is_of(&read, getpid()));
	CHECK(!record_owner_lives(&read));
	record_remove(&record);
}

static const char *recorded(const char *socket)
{
	const struct vmm_choice choice = { socket, &vmm_driver_qemu };
	static struct record read;
	struct record record;
	struct error err = {};

	CHECK_EQ(record_create(&record, SESSION, &choice, getpid(), "t", &err), 0);
	CHECK_EQ(record_read(&read, SESSION, &err), 0);
	record_remove(&record);
	return read.qmp;
}

/* Whoever reads it connects to what was named, and can. */
TEST(record_names_the_socket_as_it_was_named)
{
	char name[200], dir[] = "/tmp/record-XXXXXX", path[64];

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/link", dir);
	CHECK_EQ(symlink("/dev/null", path), 0);
	/* What a link of another root points to is not what it does here. */
	CHECK_STR(recorded(path), path);
	CHECK_STR(recorded("/proc/1/root/run/vm.qmp"), "/proc/1/root/run/vm.qmp");
	CHECK_EQ(chdir(dir), 0);
	CHECK_STR(recorded("link"), path);
	/* With its directory it would be too long for a socket. */
	memset(name, 'x', sizeof(name));
	name[sizeof(((struct sockaddr_un *)NULL)->sun_path) - 2] = '\0';
	CHECK_STR(recorded(name), name);
	unlink(path);
	rmdir(dir);
}

/* migctl resolve SESSION --here, with no VMM at its socket, of a migctl that has ended. */
static void resolve_here(pid_t owner, pid_t vmm, uint64_t later, struct error *err)
{
	static const struct vmm_choice choice = { "/nowhere/vm.qmp", &vmm_driver_qemu };
	struct output out = { .stream = fopen("/dev/null", "w") };
	char line[64], *argv[UNIT_WORDS];
	struct record record;
	int argc;

	CHECK_EQ(record_create(&record, SESSION, &choice, vmm, "t", err), 0);
	record.pid = owner;
	record.vmm_start += later;
	CHECK_EQ(record_set(&record, "in-doubt", err), 0);
	snprintf(line, sizeof(line), "%" PRIu64 " --here", (uint64_t)SESSION);
	argc = unit_words("resolve", line, argv);
	CHECK_EQ(cmd_resolve(&out, argc, argv, err), -1);
	record_remove(&record);
	fclose(out.stream);
}

TEST(resolve_of_a_vmm_that_has_ended)
{
	struct error err = {};
	pid_t pid = dead();
	char text[64];

	resolve_here(dead(), pid, 0, &err);
	snprintf(text, sizeof(text), "process %d, has ended", pid);
	CHECK_HAS(err.message, text);
	CHECK_HAS(err.advice, "--there");
	/* The number is another process's. */
	resolve_here(dead(), getpid(), 1, &err);
	CHECK_HAS(err.message, "has ended");
	CHECK_HAS(err.advice, "--there");
}

/* Its guest may run on here: nothing else is to be advised, and not to boot it anew. */
TEST(resolve_of_a_vmm_that_is_not_found)
{
	struct error err = {};
	char text[64];

	resolve_here(dead(), getpid(), 0, &err);
	snprintf(text, sizeof(text), "process %d, is still there", getpid());
	CHECK_HAS(err.message, text);
	CHECK_HAS(err.message, "/nowhere/vm.qmp");
	CHECK(!strstr(err.advice, "--there"));
	CHECK_HAS(err.advice, "-qmp");
}

/* It may hear of the destination just then, and do the opposite. */
TEST(resolve_of_a_migctl_that_still_asks)
{
	struct error err = {};

	resolve_here(getpid(), getpid(), 0, &err);
	CHECK_HAS(err.message, "is still moved, by process");
	CHECK_HAS(err.advice, "asks the destination");
}

TEST(lock_is_of_one)
{
	struct lock lock = LOCK_NONE;
	struct error err = {};
	char text[64], word;
	int ready[2];
	pid_t pid;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		CHECK_EQ(lock_take(&lock, INT_MAX, &err), 0);
		CHECK_EQ(write(ready[1], ".", 1), 1);
		pause();
	}
	CHECK_EQ(read(ready[0], &word, 1), 1);
	CHECK_EQ(lock_take(&lock, INT_MAX, &err), -1);
	snprintf(text, sizeof(text), "(process %d)", pid);
	CHECK_HAS(err.message, text);
	CHECK(err.advice[0]);
	/* It goes with who has it, however that ends. */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK_EQ(lock_take(&lock, INT_MAX, &err), 0);
	lock_drop(&lock);
	CHECK(access(lock.path, F_OK));
	lock_drop(&lock);
}

/* A guard that is about to end is waited for. */
TEST(lock_of_a_guard_is_waited_for)
{
	struct lock lock = LOCK_NONE;
	struct error err = {};
	int ready[2];
	pid_t pid;
	char word;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		CHECK_EQ(lock_take(&lock, INT_MAX, &err), 0);
		if (!fork()) {
			usleep(300000);
			_exit(0);
		}
		CHECK_EQ(write(ready[1], ".", 1), 1);
		_exit(0);
	}
	CHECK_EQ(read(ready[0], &word, 1), 1);
	waitpid(pid, NULL, 0);
	CHECK_EQ(lock_take(&lock, INT_MAX, &err), 0);
	lock_drop(&lock);
}

TEST(lock_of_a_guard_that_hangs)
{
	struct lock lock = LOCK_NONE;
	struct error err = {};
	int ready[2], guard = 0;
	pid_t pid;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		CHECK_EQ(lock_take(&lock, INT_MAX - 1, &err), 0);
		guard = fork();
		if (!guard) {
			pause();
			_exit(0);
		}
		CHECK_EQ(write(ready[1], &guard, sizeof(guard)), sizeof(guard));
		_exit(0);
	}
	CHECK_EQ(read(ready[0], &guard, sizeof(guard)), sizeof(guard));
	waitpid(pid, NULL, 0);
	CHECK_EQ(lock_take(&lock, INT_MAX - 1, &err), -1);
	CHECK_HAS(err.message, "its guard undoes");
	CHECK(err.advice[0]);
	kill(guard, SIGKILL);
	CHECK_EQ(lock_take(&lock, INT_MAX - 1, &err), 0);
	lock_drop(&lock);
}
