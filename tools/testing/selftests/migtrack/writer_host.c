// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads and processes of the host, by the means that it has. */

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"
#include "writer.h"

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
static void threads_main(struct writer *w)
{
	writer_start_threads(w);
	writer_stop_threads(w);
}

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
