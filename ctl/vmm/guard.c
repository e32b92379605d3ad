// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guard: it outlives this process and undoes what was done to the VMM.
 *
 * It waits on one end of a socket pair whose other end only this process has.
 * However this process ends, the kernel closes that end, and the guard reads
 * the end of the file; unless it read before that there is nothing to undo, or
 * no more than the VMM's settings. A message that was sent before the end is
 * read before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/migration.h"

/* A VMM that hangs now may answer later, and its guest waits for us. */
#define PATIENCE_S	120
#define RETRY_S		1

/* The guard ends as soon as it is told to. */
#define STOP_TIMEOUT_MS	2000

/* What it is told. */
enum { MESSAGE_END, MESSAGE_HANDED_OVER, MESSAGE_TAKEN_BACK };

/* What there is to undo. */
enum undoing { UNDO_NOTHING, UNDO_SETTINGS, UNDO_ALL };

/**
 * struct guard - a child process
 * @pid: of it
 * @fd: our end of the socket pair
 */
struct guard {
	pid_t pid;
	int fd;
};

/**
 * struct charge - what the guard knows
 * @vmm: the VMM, over the connection of the process that died
 * @ops: its driver
 * @saved: for @ops->restore
 * @duty: what else there is to do
 * @fd: the guard's end of the socket pair
 * @parent: the process that it watches
 */
struct charge {
	struct vmm *vmm;
	const struct vmm_migration_ops *ops;
	json_t *saved;
	struct guard_duty duty;
	int fd;
	pid_t parent;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Keys and hangups that end migctl are not meant for the guard. */
static void signals_ignore(void)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
				       SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2 };
	sigset_t none;
	size_t i;

	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * All but these. A descriptor that the guard kept would keep what it stands for:
 * sessions, channels, the pipe of a shell.
 */
static void descriptors_close(int *kept, size_t n)
{
	int null = open("/dev/null", O_RDWR), next = STDERR_FILENO + 1;
	size_t i;

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	qsort(kept, n, sizeof(*kept), compare);
	for (i = 0; i < n; i++) {
		if (kept[i] < next)
			continue;
		if (kept[i] > next)
			close_range((unsigned int)next, (unsigned int)kept[i] - 1, 0);
		next = kept[i] + 1;
	}
	close_range((unsigned int)next, ~0u, 0);
}

/* Until the parent has told the end, or has come to one. */
static enum undoing parent_wait(int fd)
{
	enum undoing undoing = UNDO_ALL;
	char message;
	ssize_t len;

	for (;;) {
		len = recv(fd, &message, sizeof(message), 0);
		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			return undoing;
		if (message == MESSAGE_END)
			return UNDO_NOTHING;
		undoing = message == MESSAGE_HANDED_OVER ? UNDO_SETTINGS : UNDO_ALL;
	}
}

/* One line on whatever stderr is; nobody may be left to read it, and the guest waits. */
static void say(const struct charge *charge, const char *text)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (poll(&pfd, 1, 0) <= 0)
		return;
	dprintf(STDERR_FILENO, "migctl: guard of %d: %s\n", charge->parent,
		text);
}

static int undo(const struct charge *charge, enum undoing undoing, struct error *err)
{
	struct error later;
	int ret;

	if (charge->ops->take_over(charge->vmm, err))
		return -1;
	ret = undoing == UNDO_ALL ? charge->ops->cancel(charge->vmm, err) : 0;
	if (charge->ops->restore(charge->vmm, charge->saved,
				 ret ? &later : err))
		ret = -1;
	return ret;
}

static void undo_report(const struct charge *charge, enum undoing undoing)
{
	struct vmm_status status;
	struct error ignored;
	char text[256];

	if (charge->ops->status(charge->vmm, &status, &ignored))
		return;
	snprintf(text, sizeof(text),
		 "migctl ended %s; the guest is in state %s, its VMM's settings are as before",
		 undoing == UNDO_ALL ? "in the middle of a migration: undone" :
		 "when the guest had been handed over", status.state);
	say(charge, text);
}

/* Only what a VMM does not answer or refuses now may go better later. */
static void undo_insist(const struct charge *charge, enum undoing undoing)
{
	int64_t deadline = now_ms() + PATIENCE_S * 1000;
	bool said = false, last;
	struct error err;

	while (undo(charge, undoing, &err)) {
		last = err.code != EXIT_VMM || now_ms() > deadline;
		if (!said || last)
			say(charge, err.message);
		if (last)
			return;
		said = true;
		poll(NULL, 0, RETRY_S * 1000);
	}
	undo_report(charge, undoing);
}

static void guard_main(const struct charge *charge)
{
	int kept[] = {
		charge->fd, charge->ops->connection(charge->vmm), charge->duty.keep,
	};
	enum undoing undoing;

	signals_ignore();
	setsid();
	prctl(PR_SET_NAME, "migctl-guard");
	descriptors_close(kept, sizeof(kept) / sizeof(kept[0]));
	undoing = parent_wait(charge->fd);
	if (undoing == UNDO_ALL && charge->duty.undo)
		charge->duty.undo(charge->duty.data);
	if (undoing != UNDO_NOTHING)
		undo_insist(charge, undoing);
	/* Nothing that this process was forked with is to be run or flushed. */
	_exit(0);
}

/**
 * guard_start() - have what was done to a VMM undone if this process dies
 * @guard: for the other functions
 * @vmm: the VMM, as yet unchanged; the guard uses its connection once this
 *	process is dead
 * @ops: its driver
 * @saved: what @ops->save read
 * @duty: what else the guard has to do
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int guard_start(struct guard **guard, struct vmm *vmm,
		const struct vmm_migration_ops *ops, json_t *saved,
		const struct guard_duty *duty, struct error *err)
{
	struct charge charge = { .vmm = vmm, .ops = ops, .saved = saved,
				 .duty = *duty, .parent = getpid() };
	struct guard *new;
	int fds[2];

	new = calloc(1, sizeof(*new));
	if (!new)
		return error_set(err, EXIT_FAILED, "out of memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		error_set(err, EXIT_FAILED, "socketpair: %s", strerror(errno));
		goto err_free;
	}
	new->fd = fds[0];
	charge.fd = fds[1];
	new->pid = fork();
	if (new->pid < 0) {
		error_set(err, EXIT_FAILED, "fork: %s", strerror(errno));
		goto err_close;
	}
	if (!new->pid)
		guard_main(&charge);
	close(fds[1]);
	*guard = new;
	return 0;

err_close:
	close(fds[0]);
	close(fds[1]);
err_free:
	free(new);
	return -1;
}

/**
 * guard_alive() - whether it still watches
 * @guard: from guard_start()
 *
 * Somebody may have killed it. False too after it was told to end.
 */
bool guard_alive(const struct guard *guard)
{
	struct pollfd pfd = { .fd = guard->fd };

	/* Its end of the socket pair is closed with it. */
	return poll(&pfd, 1, 0) == 0;
}

int guard_check(const struct guard *guard, struct error *err)
{
	if (guard_alive(guard))
		return 0;
	error_set(err, EXIT_FAILED,
		  "somebody has killed migctl's guard (process %d), and without it a guest whose migctl dies stays stopped",
		  guard->pid);
	return error_advise(err, "leave the processes named migctl-guard alone, and start again");
}

static void guard_tell(struct guard *guard, char message)
{
	send(guard->fd, &message, sizeof(message), MSG_NOSIGNAL);
}

/**
 * guard_handed_over() - the guest runs elsewhere: never resume it here again
 * @guard: from guard_start()
 *
 * Holds from the moment that this function returns, also if this process dies
 * right then. The VMM's settings are still put back: its guest may be said to be
 * here, or it is given another one. guard_stop() is still to be called.
 */
void guard_handed_over(struct guard *guard)
{
	guard_tell(guard, MESSAGE_HANDED_OVER);
}

void guard_taken_back(struct guard *guard)
{
	guard_tell(guard, MESSAGE_TAKEN_BACK);
}

/* Wait for the process, but not for ever. */
static void guard_reap(const struct guard *guard)
{
	struct pollfd pfd = { .events = POLLIN };
	int ret = 0;

	pfd.fd = (int)syscall(SYS_pidfd_open, guard->pid, 0);
	if (pfd.fd >= 0) {
		do {
			ret = poll(&pfd, 1, STOP_TIMEOUT_MS);
		} while (ret < 0 && errno == EINTR);
		close(pfd.fd);
	}
	/* Stopped by somebody, or swapped out: it has nothing to do any more. */
	if (ret <= 0)
		kill(guard->pid, SIGKILL);
	while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/**
 * guard_stop() - all was undone by ourselves, or nothing is left to undo
 * @guard: from guard_start(), freed; or NULL
 */
void guard_stop(struct guard *guard)
{
	if (!guard)
		return;
	guard_tell(guard, MESSAGE_END);
	guard_reap(guard);
	close(guard->fd);
	free(guard);
}

/**
 * guard_conclude() - our own undo is over
 * @guard: from guard_start(), freed; or NULL
 * @vmm: the VMM, which nobody in this process uses any more
 * @failed: why that failed, to which it is added who goes on; NULL if it did not
 *
 * What a VMM does not answer or refuses now may go better later, and its guest waits for
 * it. The guard's end of file is what it would see if this process had died.
 *
 * Return: true if the guard goes on.
 */
bool guard_conclude(struct guard *guard, const struct vmm *vmm, struct error *failed)
{
	if (!guard || !failed || failed->code != EXIT_VMM || !guard_alive(guard) ||
	    (kill(vmm->pid, 0) && errno == ESRCH)) {
		guard_stop(guard);
		return false;
	}
	error_advise(failed, "migctl's guard, process %d, goes on trying for %d s and says how that ends: wait for it",
		     guard->pid, PATIENCE_S);
	close(guard->fd);
	free(guard);
	return true;
}
