// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who serves a VMM holds one end of a socket pair, a process that does nothing else the
 * other. If it ends without a word nobody serves the VMM any more, whose threads would
 * wait for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/restore.h"

static void watch_main(int socket, int vmm_fd)
{
	char word = 0;

	/* Who ends all of a terminal's processes, or of a parent's, does not mean this one. */
	setsid();
	prctl(PR_SET_NAME, "migctl-watch");
	/* They may have any number, if migctl was started without standard ones. */
	socket = fcntl(socket, F_DUPFD, 2);
	vmm_fd = fcntl(vmm_fd, F_DUPFD, 2);
	/* The others' descriptors are theirs: the VMM sees it when they are closed. */
	if (dup2(socket, 0) < 0 || dup2(vmm_fd, 1) < 0 || close_range(2, ~0u, 0))
		_exit(EXIT_FAILED);
	while (recv(0, &word, sizeof(word), 0) < 0) {
		if (errno != EINTR)
			_exit(EXIT_FAILED);
	}
	if (!word)
		syscall(SYS_pidfd_send_signal, 1, SIGKILL, NULL, 0);
	_exit(0);
}

/**
 * restore_watch() - have a VMM ended that nobody serves any more
 * @s: @watch is filled, which all that serve it have to hold
 *
 * It is served without, if its process is not known, or there can be no other process.
 */
void restore_watch(struct serving *s)
{
	int pair[2];
	pid_t pid;

	if (s->vmm_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return;
	pid = fork();
	if (!pid) {
		/* It is nobody's child. */
		pid = fork();
		if (pid)
			_exit(0);
		watch_main(pair[1], s->vmm_fd);
	}
	close(pair[1]);
	s->watch = pair[0];
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/**
 * restore_watch_end() - the VMM needs nobody any more
 * @s: watched, or not
 */
void restore_watch_end(const struct serving *s)
{
	if (s->watch >= 0)
		send(s->watch, "1", 1, MSG_NOSIGNAL);
}
