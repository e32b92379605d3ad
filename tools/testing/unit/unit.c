// SPDX-License-Identifier: GPL-2.0-or-later
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#define TEST_TIMEOUT_S	60

bool unit_failed;

static struct unit_test *first;

/* In the order of their names' files: constructors run in link order. */
void unit_register(struct unit_test *test)
{
	struct unit_test **end = &first;

	while (*end)
		end = &(*end)->next;
	*end = test;
}

int unit_words(const char *command, const char *line, char *argv[UNIT_WORDS])
{
	static char text[512];
	int argc = 1;
	char *word;

	snprintf(text, sizeof(text), "%s", line);
	argv[0] = (char *)command;
	for (word = strtok(text, " "); word && argc < UNIT_WORDS - 1;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	/* From the start, also of its own state. */
	optind = 0;
	return argc;
}

static int run_child(const struct unit_test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -1;
	if (!pid) {
		alarm(TEST_TIMEOUT_S);
		dup2(STDOUT_FILENO, STDERR_FILENO);
		test->run();
		exit(unit_failed);
	}
	if (waitpid(pid, &status, 0) < 0)
		return -1;
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	return status;
}

int main(void)
{
	const struct unit_test *test;
	int n = 0, failed = 0, ret;

	for (test = first; test; test = test->next)
		n++;
	printf("TAP version 13\n1..%d\n", n);
	n = 0;
	for (test = first; test; test = test->next) {
		ret = run_child(test);
		failed += !!ret;
		printf("%sok %d %s\n", ret ? "not " : "", ++n, test->name);
	}
	return !!failed;
}
