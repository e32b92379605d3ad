// SPDX-License-Identifier: GPL-2.0-or-later
/* What the writers have in common. */

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"
#include "writer.h"

/**
 * writer_next() - the next stamp, and for which page
 * @w: the writer
 * @i: which of its slots
 * @page: out
 *
 * Return: the stamp; it is in the writer's log before it is in memory.
 */
uint64_t writer_next(struct writer *w, unsigned int i, uint64_t *page)
{
	uint64_t stamp = stamp_next(w->control, w->stampers[i], w->oracle->npages, page);

	w->last[i][*page] = stamp;
	return stamp;
}

/**
 * writer_claim() - data for a page is to come
 * @w: a writer with ops->late
 * @page: the page
 *
 * Return: false if there is some to come already.
 */
bool writer_claim(struct writer *w, uint64_t page)
{
	return !__atomic_exchange_n(&w->late[page], 1, __ATOMIC_SEQ_CST);
}

/**
 * writer_landed() - the data of a page has come
 * @w: a writer with ops->late
 * @page: claimed
 */
void writer_landed(struct writer *w, uint64_t page)
{
	__atomic_store_n(&w->late[page], 0, __ATOMIC_SEQ_CST);
}

/**
 * writer_map() - let a process map the memory for itself
 * @w: the writer
 */
void writer_map(struct writer *w)
{
	w->memory = mmap(NULL, w->oracle->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 w->oracle->mem_fd, 0);
	if (w->memory == MAP_FAILED)
		err(1, "mmap of the memory");
}

static void *writer_thread(void *data)
{
	struct writer_thread *t = data;

	t->writer->ops->run(t->writer, t->i);
	return NULL;
}

/**
 * writer_start_threads() - run a writer in this process
 * @w: the writer
 */
void writer_start_threads(struct writer *w)
{
	unsigned int i;

	for (i = 0; i < w->ops->slots; i++) {
		w->threads[i].writer = w;
		w->threads[i].i = i;
		errno = pthread_create(&w->threads[i].thread, NULL, writer_thread,
				       &w->threads[i]);
		if (errno)
			err(1, "pthread_create");
	}
}

/**
 * writer_stop_threads() - wait for the threads of a writer
 * @w: started by writer_start_threads()
 */
void writer_stop_threads(struct writer *w)
{
	unsigned int i;

	for (i = 0; i < w->ops->slots; i++)
		pthread_join(w->threads[i].thread, NULL);
}

/**
 * writer_start_process() - run a writer in a process of its own
 * @w: the writer
 * @main: what it does there, till it stops; it inherits no mapping of the memory
 */
void writer_start_process(struct writer *w, void (*main)(struct writer *w))
{
	pid_t parent = getpid();

	w->pid = fork();
	if (w->pid < 0)
		err(1, "fork");
	if (w->pid)
		return;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
	main(w);
	_exit(0);
}

/**
 * writer_stop_process() - wait for the process of a writer
 * @w: started by writer_start_process()
 */
void writer_stop_process(struct writer *w)
{
	int status;

	if (waitpid(w->pid, &status, 0) != w->pid || status)
		errx(1, "the process of writer %s ended with status %#x",
		     w->ops->name, status);
	w->pid = 0;
}

/**
 * writer_process_main() - map the memory, and run as threads
 * @w: the writer
 */
void writer_process_main(struct writer *w)
{
	writer_map(w);
	writer_start_threads(w);
	writer_stop_threads(w);
}
