// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The supervisor: it takes a VMM's userfaultfd and holds it, while a process of its
 * own handles the faults. If that is killed another one goes on. With --keep each VMM
 * has a supervisor of its own: one that misbehaves is nobody else's trouble.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/privileges.h"
#include "cmd/restore.h"
#include "cmd/runs.h"

#define OFFER_TIMEOUT_MS	10000
#define MAX_RESTARTS		16
#define MAX_VMMS		64
/* Between two rows, while it is served. */
#define ROW_MS			1000

/* ---- the socket ---- */

static int listen_error(const char *path, struct error *err)
{
	error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_FAILED, "%s: %s", path,
		  strerror(errno));
	if (errno == EADDRINUSE)
		error_advise(err, "something is there already: remove it, or choose another path");
	return -1;
}

/* Nobody else may even connect: it is made with these permissions. */
static int socket_listen(const char *path, int *fd, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int ret;

	if (!strncmp(path, "unix:", 5))
		path += 5;
	if (!path[0] || strlen(path) >= sizeof(address.sun_path))
		return error_set(err, EXIT_USAGE, "--listen %s: not a path of a socket", path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return listen_error(path, err);
	mask = umask(0177);
	ret = bind(*fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (!ret && !listen(*fd, MAX_VMMS))
		return 0;
	listen_error(path, err);
	close(*fd);
	*fd = -1;
	return -1;
}

static void socket_unlisten(int fd)
{
	struct sockaddr_un address;
	socklen_t length = sizeof(address);

	if (!getsockname(fd, (struct sockaddr *)&address, &length) && address.sun_path[0])
		unlink(address.sun_path);
	close(fd);
}

/* ---- one VMM ---- */

static void vmm_identify(struct serving *s)
{
	struct ucred credentials = {};
	socklen_t length = sizeof(credentials);

	s->vmm_fd = -1;
	if (getsockopt(s->socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) ||
	    !credentials.pid)
		return;
	s->vmm_pid = credentials.pid;
	s->vmm_fd = (int)syscall(SYS_pidfd_open, s->vmm_pid, 0);
}

static int serving_open(struct serving *s, struct error *err)
{
	vmm_identify(s);
	if (uffd_offer_receive(&s->offer, s->socket, s->supply->size, OFFER_TIMEOUT_MS,
			       err) ||
	    uffd_claims_open(&s->claims, uffd_regions_pages(s->offer.regions, s->offer.n),
			     s->options->record_ns, err))
		return -1;
	s->result = mmap(NULL, sizeof(*s->result), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->result == MAP_FAILED) {
		s->result = NULL;
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	s->result->started_ns = clock_ns(CLOCK_MONOTONIC);
	restore_watch(s);
	return 0;
}

static void serving_close(struct serving *s)
{
	uffd_claims_close(&s->claims);
	uffd_offer_free(&s->offer);
	if (s->result)
		munmap(s->result, sizeof(*s->result));
	if (s->vmm_fd >= 0)
		close(s->vmm_fd);
	if (s->watch >= 0)
		close(s->watch);
	close(s->socket);
}

static void handler_main(struct serving *s)
{
	struct error err;

	/* It goes on without its supervisor: the VMM needs its pages. */
	prctl(PR_SET_NAME, "migctl-uffd");
	/* All is open: a VMM that gets the better of it gains no privilege. */
	if (!privileges_drop(&err) && !restore_handle(s, &err))
		_exit(0);
	/* What came first is the cause. */
	if (!s->result->failed)
		s->result->err = err;
	s->result->failed = true;
	_exit(EXIT_FAILED);
}

enum { PID, ELAPSED, PAGES, LEFT, FAULT_COUNT, FIELDS };

static const struct out_field fields[FIELDS] = {
	[PID] = { "pid", "VMM", 8, OUT_ID },
	[ELAPSED] = { "elapsed_ns", "TIME", 8, OUT_TIME },
	[PAGES] = { "pages", "PAGES", 10, OUT_NUMBER },
	[LEFT] = { "left_pages", "LEFT AT MOST", 12, OUT_NUMBER },
	[FAULT_COUNT] = { "faults", "FAULTS", 0, OUT_NUMBER },
};

static void out_progress(struct serving *s)
{
	const struct uffd_stats *stats = s->claims.stats;

	out_begin(s->out, OUT_ROW, "progress");
	out_uint(s->out, &fields[PID], (uint64_t)s->vmm_pid);
	out_uint(s->out, &fields[ELAPSED], clock_ns(CLOCK_MONOTONIC) - s->result->started_ns);
	out_uint(s->out, &fields[PAGES], stats->loaded);
	out_uint(s->out, &fields[LEFT], uffd_claims_left(&s->claims));
	out_uint(s->out, &fields[FAULT_COUNT], stats->faults);
	out_end(s->out);
	fflush(s->out->stream);
}

static int handler_wait(struct serving *s, pid_t pid)
{
	struct pollfd pfd = { .events = POLLIN };
	int status;

	pfd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	while (pfd.fd >= 0 && poll(&pfd, 1, ROW_MS) == 0)
		out_progress(s);
	if (pfd.fd >= 0)
		close(pfd.fd);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return SIGKILL;
	}
	return status;
}

/* Its guest can't go on, and would wait for ever. */
static void vmm_end(const struct serving *s)
{
	if (s->vmm_fd >= 0)
		syscall(SYS_pidfd_send_signal, s->vmm_fd, SIGKILL, NULL, 0);
}

/* Returns 0 once a handler has ended by itself, well or not. */
static int handlers_run(struct serving *s, struct error *err)
{
	pid_t pid;
	int status;

	for (;;) {
		fflush(s->out->stream);
		pid = fork();
		if (pid < 0)
			return error_set(err, EXIT_FAILED, "fork: %s", strerror(errno));
		if (!pid)
			handler_main(s);
		status = handler_wait(s, pid);
		if (WIFEXITED(status))
			return 0;
		if (++s->restarts > MAX_RESTARTS) {
			error_set(err, EXIT_FAILED,
				  "the handler was killed %u times, by signal %d at last",
				  s->restarts, WTERMSIG(status));
			return error_advise(err, "see the kernel's log: does it lack memory?");
		}
		uffd_claims_recover(&s->claims);
	}
}

static int working_set_write(const struct serving *s, struct error *err)
{
	uint64_t n = s->claims.stats->recorded, i, used = 0, *pages;
	int ret;

	if (n > s->claims.pages)
		n = s->claims.pages;
	pages = calloc(n + 1, sizeof(*pages));
	if (!pages)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < n; i++) {
		uint64_t page = s->claims.order[i], first = 0;
		size_t r;

		for (r = 0; r < s->offer.n; r++) {
			const struct uffd_region *region = &s->offer.regions[r];
			uint64_t count = region->size / region->page_size;

			if (page - first < count) {
				pages[used++] = (region->offset + (page - first) *
						 region->page_size) / SNAPSHOT_PAGE_SIZE;
				break;
			}
			first += count;
		}
	}
	ret = supply_working_set_write(s->supply, pages, used, err);
	free(pages);
	return ret;
}

enum {
	RESULT, VMM, TOTAL, SET_TIME, LOADED, FAULTS, WAITED, ZEROS, REMOVED, POISONED,
	SET, RECORDED, RESTARTS, WHY,
};

static const struct out_field summary[] = {
	[RESULT] = { "result", "restore", 0, OUT_TEXT },
	[VMM] = { "pid", "VMM", 0, OUT_ID },
	[TOTAL] = { "total_ns", "all loaded after", 0, OUT_TIME },
	[SET_TIME] = { "working_set_ns", "working set after", 0, OUT_TIME },
	[LOADED] = { "pages", "pages loaded", 0, OUT_NUMBER },
	[FAULTS] = { "faults", "faults", 0, OUT_NUMBER },
	[WAITED] = { "waited_faults", "  already under way", 0, OUT_NUMBER },
	[ZEROS] = { "zero_faults", "  of pages given back", 0, OUT_NUMBER },
	[REMOVED] = { "removed_pages", "pages given back", 0, OUT_NUMBER },
	[POISONED] = { "poisoned_pages", "pages damaged", 0, OUT_NUMBER },
	[SET] = { "working_set_pages", "working set", 0, OUT_NUMBER },
	[RECORDED] = { "recorded_pages", "recorded", 0, OUT_NUMBER },
	[RESTARTS] = { "restarts", "handler restarted", 0, OUT_NUMBER },
	[WHY] = { "why", NULL, 0, OUT_TEXT },
};

static void out_summary(struct serving *s, int ret, const struct error *err)
{
	const struct uffd_stats *stats = s->claims.stats;
	struct output *out = s->out;

	out_begin(out, OUT_RECORD, "summary");
	out_text(out, &summary[RESULT], ret ? "failed" : "completed");
	out_uint(out, &summary[VMM], (uint64_t)s->vmm_pid);
	if (s->result && s->result->loaded_ns)
		out_uint(out, &summary[TOTAL],
			 s->result->loaded_ns - s->result->started_ns);
	if (s->result && s->result->set_ns)
		out_uint(out, &summary[SET_TIME],
			 s->result->set_ns - s->result->started_ns);
	if (stats) {
		out_uint(out, &summary[LOADED], stats->loaded);
		out_uint(out, &summary[FAULTS], stats->faults);
		out_uint(out, &summary[WAITED], stats->waited);
		out_uint(out, &summary[ZEROS], stats->zero_faults);
		out_uint(out, &summary[REMOVED], stats->removed);
		out_uint(out, &summary[POISONED], stats->poisoned);
		out_uint(out, &summary[SET], s->n_set);
		out_uint(out, &summary[RECORDED], stats->recorded);
	}
	out_uint(out, &summary[RESTARTS], s->restarts);
	if (ret)
		out_text(out, &summary[WHY], err->message);
	out_end(out);
	fflush(out->stream);
}

static void run_conclude(struct serving *s, struct run *run, const struct error *err)
{
	if (s->result->loaded_ns)
		run_note(run, "total_ns", json_integer((json_int_t)(s->result->loaded_ns -
								    s->result->started_ns)));
	run_note(run, "pages", json_integer((json_int_t)s->claims.stats->loaded));
	run_note(run, "faults", json_integer((json_int_t)s->claims.stats->faults));
	run_end(run, err ? "failed" : "completed", err);
}

/* A VMM that was served in part, and can't be any more, is ended. */
static int serve_one(struct serving *s, struct error *err)
{
	struct run run;
	bool begun;
	int ret;

	ret = serving_open(s, err);
	begun = !ret;
	if (begun) {
		run_begin(&run, NULL, "restore", s->options->listen, s->options->listen);
		run_note(&run, "from", json_string(s->options->dir));
		ret = handlers_run(s, err);
	}
	if (!ret && s->result->failed) {
		*err = s->result->err;
		ret = -1;
	}
	if (begun && ret && !s->result->loaded_ns && err->code != EXIT_GONE)
		vmm_end(s);
	restore_watch_end(s);
	if (begun && s->options->record_ns && (!ret || err->code == EXIT_GONE)) {
		struct error later;

		if (working_set_write(s, ret ? &later : err))
			ret = -1;
	}
	out_summary(s, ret, err);
	if (begun)
		run_conclude(s, &run, ret ? err : NULL);
	serving_close(s);
	return ret;
}

/* ---- all of them ---- */

/**
 * struct page_server - where VMMs come to
 * @listen_fd: the socket
 * @signals: Ctrl-C, and with --keep the ends of the children
 * @supply: what they get
 * @set: its working set
 * @n_set: how many pages
 * @children: that are running
 * @pids: these
 */
struct page_server {
	int listen_fd;
	int signals;
	struct supply supply;
	uint64_t *set;
	size_t n_set;
	unsigned int children;
	pid_t pids[MAX_VMMS];
};

/* As process 1 of a container it also is the parent of who was left by its parent. */
static void children_reap(struct page_server *server)
{
	size_t i;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		for (i = 0; i < server->children && server->pids[i] != pid; i++)
			;
		if (i < server->children)
			server->pids[i] = server->pids[--server->children];
	}
}

/* A connection, or -1. The end of a child is noted meanwhile. */
static int vmm_accept(struct page_server *server, struct error *err)
{
	struct pollfd fds[] = {
		{ .fd = server->signals, .events = POLLIN },
		{ .fd = server->listen_fd, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	int fd;

	for (;;) {
		fds[1].fd = server->children < MAX_VMMS ? server->listen_fd : -1;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return error_set(err, EXIT_FAILED, "poll: %s", strerror(errno));
		if (read(server->signals, &info, sizeof(info)) == sizeof(info)) {
			if (info.ssi_signo != SIGCHLD)
				return error_set(err, EXIT_CANCELLED, "cancelled");
			children_reap(server);
		}
		if (fds[1].fd < 0)
			continue;
		fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
}

static int serve_accepted(struct page_server *server, struct output *out,
			  const struct restore_options *options, int socket,
			  struct error *err)
{
	struct serving s = {
		.out = out,
		.options = options,
		.supply = &server->supply,
		.set = server->set,
		.n_set = options->record_ns ? 0 : server->n_set,
		.socket = socket,
		.offer.fd = -1,
		.vmm_fd = -1,
		.watch = -1,
	};
	struct error ignored;
	int ret, signals;

	/* A handler that ends is not to wait for who reads: its VMM waits for the next one. */
	out_never_wait(out);
	ret = serve_one(&s, err);
	/* Those that end it; that a child has ended does not. */
	signals_drain(server->signals);
	signals = signals_open(&ignored);
	out_may_wait(out, signals);
	if (signals >= 0)
		close(signals);
	return ret;
}

static void serve_apart(struct page_server *server, struct output *out,
			const struct restore_options *options, int socket)
{
	struct error err;
	pid_t pid;

	fflush(out->stream);
	pid = fork();
	if (!pid) {
		/* Ctrl-C ends the one that listens; VMMs get all of their pages. */
		setsid();
		close(server->listen_fd);
		if (serve_accepted(server, out, options, socket, &err))
			out_error(out, &err);
		fflush(out->stream);
		_exit(0);
	}
	if (pid > 0)
		server->pids[server->children++] = pid;
	close(socket);
}

static int signals_of_children(int *signals, struct error *err)
{
	sigset_t set;

	*signals = signals_open_for_guest(err);
	if (*signals < 0)
		return -1;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(*signals, &set, SFD_CLOEXEC | SFD_NONBLOCK) < 0 ?
	       error_set(err, EXIT_FAILED, "signalfd: %s", strerror(errno)) : 0;
}

static int server_open(struct page_server *server, const struct restore_options *options,
		       struct error *err)
{
	if (signals_of_children(&server->signals, err) ||
	    supply_open(&server->supply, options->dir, err) ||
	    supply_working_set(&server->supply, &server->set, &server->n_set, err))
		return -1;
	return socket_listen(options->listen, &server->listen_fd, err);
}

static int server_run(struct page_server *server, struct output *out,
		      const struct restore_options *options, struct error *err)
{
	char size[UNIT_TEXT_SIZE];
	int socket;

	out_say(out, "%s of memory for a VMM that connects to %s.",
		format_bytes(size, server->supply.size), options->listen);
	out_header(out, fields, FIELDS);
	fflush(out->stream);
	for (;;) {
		socket = vmm_accept(server, err);
		if (socket < 0)
			return -1;
		if (!options->keep)
			return serve_accepted(server, out, options, socket, err);
		serve_apart(server, out, options, socket);
	}
}

/**
 * restore_lazy() - load a VMM's memory as it is touched
 * @out: for the user
 * @options: what the user asked for
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int restore_lazy(struct output *out, const struct restore_options *options,
		 struct error *err)
{
	struct page_server server = { .listen_fd = -1, .signals = -1,
				      .supply = SUPPLY_NONE };
	int ret;

	ret = server_open(&server, options, err);
	if (!ret)
		ret = server_run(&server, out, options, err);
	if (server.listen_fd >= 0)
		socket_unlisten(server.listen_fd);
	free(server.set);
	supply_close(&server.supply);
	if (server.signals >= 0)
		close(server.signals);
	return ret;
}
