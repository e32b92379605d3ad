// SPDX-License-Identifier: GPL-2.0-or-later
/* What tells a running migration something, and what keeps a second one away. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/control.h"
#include "cmd/lock.h"
#include "cmd/record.h"
#include "unit.h"

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

	for (i = 0; i < 2000 && served < until; i++) {
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
