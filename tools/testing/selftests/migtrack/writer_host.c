// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads and processes of the host, by the means that it has. */

#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"
#include "writer.h"

/* Without a mapping of the memory. */
static void threads_main(struct writer *w)
{
	writer_start_threads(w);
	writer_stop_threads(w);
}

static void store_run(struct writer *w, unsigned int i)
{
	stamp_run(w->control, w->stampers[i], w->slot + i, w->memory,
		  w->oracle->npages, w->last[i]);
}

const struct writer_ops writer_threads = {
	.name	= "threads of the VMM",
	.slots	= 2,
	.start	= writer_start_threads,
	.stop	= writer_stop_threads,
	.run	= store_run,
};

/* Maps the memory for itself, as a vhost-user back end does. */
static void process_start(struct writer *w)
{
	writer_start_process(w, writer_process_main);
}

const struct writer_ops writer_process = {
	.name	= "a second process",
	.slots	= 2,
	.start	= process_start,
	.stop	= writer_stop_process,
	.run	= store_run,
};

/* ---- back ends that come and go ---- */

#define WINDOW_PAGES	64
#define WINDOW_STAMPS	30
#define MAX_WINDOWS	3

enum leave {
	LEAVE_BY_UNMAP,
	LEAVE_BY_EXIT,
	LEAVE_BY_SIGNAL,
	LEAVE_BY_EXEC,
	LEAVES,
};

/* Until a sync has begun and ended: what is mapped between two is not seen. */
static void wait_for_a_whole_sync(struct writer *w, unsigned int i)
{
	uint64_t until = w->control->iteration + 2, now;

	do {
		now = w->control->iteration;
		__atomic_store_n(&w->stampers[i]->seen, now, __ATOMIC_SEQ_CST);
		sched_yield();
	} while (now < until && !w->control->stop);
}

static void stamp_window(struct writer *w, unsigned int i, char *window, uint64_t first)
{
	struct stamper *stamper = w->stampers[i];
	unsigned int n;
	uint64_t page, stamp;

	for (n = 0; n < WINDOW_STAMPS && !w->control->stop; n++) {
		stamp = stamp_next(w->control, stamper, WINDOW_PAGES, &page);
		stamper->page = first + page;
		w->last[i][first + page] = stamp;
		*(volatile uint64_t *)(window + stamp_place(page, w->slot + i)) = stamp;
	}
}

/*
 * Maps some windows of the memory, one after the other, and is gone as soon as it has
 * written to the last one.
 */
static void back_end(struct writer *w, unsigned int i)
{
	uint64_t *random = &w->stampers[i]->random;
	unsigned int left = 1 + stamp_random(random) % MAX_WINDOWS;
	enum leave leave = stamp_random(random) % LEAVES;
	uint64_t first;
	char *window;

	while (left-- && !w->control->stop) {
		first = stamp_random(random) % (w->oracle->npages / WINDOW_PAGES) *
			WINDOW_PAGES;
		window = mmap(NULL, WINDOW_PAGES * GUEST_PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED, w->oracle->mem_fd, first * GUEST_PAGE);
		if (window == MAP_FAILED)
			err(1, "mmap of a window");
		wait_for_a_whole_sync(w, i);
		stamp_window(w, i, window, first);
		if (left || leave == LEAVE_BY_UNMAP)
			munmap(window, WINDOW_PAGES * GUEST_PAGE);
	}
	if (leave == LEAVE_BY_SIGNAL)
		raise(SIGKILL);
	if (leave == LEAVE_BY_EXEC)
		execl("/bin/true", "true", NULL);
	_exit(0);
}

static void back_ends_run(struct writer *w, unsigned int i)
{
	pid_t pid;

	while (!w->control->stop) {
		pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			back_end(w, i);
		}
		waitpid(pid, NULL, 0);
	}
}

static void back_ends_start(struct writer *w)
{
	writer_start_process(w, threads_main);
}

const struct writer_ops writer_back_ends = {
	.name	= "back ends that come and go",
	.slots	= 3,
	/* What they map is reported when they come and when they go. */
	.pins	= true,
	.start	= back_ends_start,
	.stop	= writer_stop_process,
	.run	= back_ends_run,
};

/* ---- by others, for the VMM ---- */

static void read_run(struct writer *w, unsigned int i)
{
	uint64_t page, stamp;
	int fds[2];

	if (pipe(fds))
		err(1, "pipe");
	while (!w->control->stop) {
		stamp = writer_next(w, i, &page);
		if (write(fds[1], &stamp, sizeof(stamp)) != sizeof(stamp) ||
		    read(fds[0], w->memory + stamp_place(page, w->slot + i),
			 sizeof(stamp)) != sizeof(stamp))
			err(1, "read from a pipe");
	}
	close(fds[0]);
	close(fds[1]);
}

const struct writer_ops writer_read = {
	.name	= "read(2)",
	.slots	= 2,
	.start	= writer_start_threads,
	.stop	= writer_stop_threads,
	.run	= read_run,
};

/* These two do not map the memory: they write to the VMM's. */
static void remote_start(struct writer *w)
{
	writer_start_process(w, threads_main);
}

static void vm_writev_run(struct writer *w, unsigned int i)
{
	uint64_t page, stamp;

	while (!w->control->stop) {
		struct iovec from = { &stamp, sizeof(stamp) }, to = from;

		stamp = writer_next(w, i, &page);
		to.iov_base = w->memory + stamp_place(page, w->slot + i);
		if (process_vm_writev(getppid(), &from, 1, &to, 1, 0) != sizeof(stamp))
			err(1, "process_vm_writev");
	}
}

const struct writer_ops writer_vm_writev = {
	.name	= "process_vm_writev",
	.slots	= 2,
	.pins	= true,
	.start	= remote_start,
	.stop	= writer_stop_process,
	.run	= vm_writev_run,
};

static void proc_mem_run(struct writer *w, unsigned int i)
{
	uint64_t page, stamp;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", getppid());
	fd = open(path, O_RDWR);
	if (fd < 0)
		err(1, "%s", path);
	while (!w->control->stop) {
		stamp = writer_next(w, i, &page);
		if (pwrite(fd, &stamp, sizeof(stamp),
			   (off_t)(w->memory + stamp_place(page, w->slot + i))) !=
		    sizeof(stamp))
			err(1, "writing %s", path);
	}
	close(fd);
}

const struct writer_ops writer_proc_mem = {
	.name	= "/proc/PID/mem",
	.slots	= 2,
	.pins	= true,
	.start	= remote_start,
	.stop	= writer_stop_process,
	.run	= proc_mem_run,
};

/* A debugger writes to a process that maps the memory and is stopped. */
static pid_t tracee_start(struct writer *w)
{
	int status;
	pid_t pid;

	writer_map(w);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(1);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		errx(1, "the tracee did not stop");
	return pid;
}

static void ptrace_main(struct writer *w)
{
	pid_t pid = tracee_start(w);
	uint64_t page, stamp;

	while (!w->control->stop) {
		stamp = writer_next(w, 0, &page);
		if (ptrace(PTRACE_POKEDATA, pid,
			   w->memory + stamp_place(page, w->slot), stamp))
			err(1, "PTRACE_POKEDATA");
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void ptrace_start(struct writer *w)
{
	writer_start_process(w, ptrace_main);
}

const struct writer_ops writer_ptrace = {
	.name	= "ptrace",
	.slots	= 1,
	.pins	= true,
	.start	= ptrace_start,
	.stop	= writer_stop_process,
};
