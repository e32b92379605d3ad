// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"

/* What the back end is asked to do. */
struct arena_shared {
	sem_t go, done;
	arena_event_fn *event;
	int ret;
};

static int arena_event_write(struct arena *a, char *memory, size_t offset,
			     size_t length)
{
	(void)offset;
	(void)length;
	arena_write_list(a, memory);
	return 0;
}

/* The back end maps the memory for itself, and has nothing else of the VMM. */
static void arena_backend(struct arena *a)
{
	char *memory = vm_map_memory(a->vm.mem_fd, a->vm.size);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	munmap(a->vm.memory, a->vm.size);
	close_range(3, a->vm.mem_fd - 1, 0);
	close_range(a->vm.mem_fd + 1, ~0U, 0);

	for (;;) {
		sem_post(&a->shared->done);
		while (sem_wait(&a->shared->go))
			;
		a->shared->ret = a->shared->event(a, memory, ARENA_WINDOW,
						  ARENA_WINDOW_SIZE);
	}
}

static void arena_backend_wait(struct arena *a)
{
	while (sem_wait(&a->shared->done))
		;
}

static void arena_backend_start(struct arena *a)
{
	a->shared = mmap(NULL, sizeof(*a->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (a->shared == MAP_FAILED)
		err(1, "mmap");
	sem_init(&a->shared->go, 1, 0);
	sem_init(&a->shared->done, 1, 0);
	a->backend = fork();
	if (a->backend < 0)
		err(1, "fork");
	if (!a->backend)
		arena_backend(a);
	arena_backend_wait(a);
}

/* What a mover does with a sync's report. pread() maps nothing. */
static void arena_copy(struct arena *a)
{
	size_t page, end;

	for (page = 0; page < ARENA_PAGES; page = end) {
		size_t length, offset = page * GUEST_PAGE;

		for (end = page; end < ARENA_PAGES &&
		     harvest_took(&a->harvest, end); end++)
			;
		length = (end - page) * GUEST_PAGE;
		if (length && pread(a->vm.mem_fd, a->mirror + offset, length,
				    offset) != (ssize_t)length)
			err(1, "reading the memory");
		end += !length;
	}
}

/**
 * arena_open() - make a guest, a session that tracks it, and a mover
 * @a: filled in
 * @who: will write
 */
void arena_open(struct arena *a, enum arena_writer who)
{
	size_t page;

	memset(a, 0, sizeof(*a));
	a->who = who;
	vm_create(&a->vm, 1, ARENA_SIZE);
	a->mirror = calloc(1, ARENA_SIZE);
	a->expected = calloc(ARENA_PAGES, sizeof(*a->expected));
	for (page = 0; page < ARENA_PAGES; page++) {
		a->expected[page].tag = page + 1;
		memcpy(a->vm.memory + page * GUEST_PAGE, &a->expected[page],
		       sizeof(*a->expected));
	}
	if (who == ARENA_BACKEND)
		arena_backend_start(a);

	harvest_open(&a->harvest, getpid(), a->vm.mem_fd);
	harvest_sync(&a->harvest, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(&a->harvest);
	arena_copy(a);
}

/**
 * arena_close() - end all of it
 * @a: opened
 */
void arena_close(struct arena *a)
{
	if (a->backend) {
		kill(a->backend, SIGKILL);
		waitpid(a->backend, NULL, 0);
		munmap(a->shared, sizeof(*a->shared));
	}
	harvest_close(&a->harvest);
	vm_destroy(&a->vm);
	free(a->mirror);
	free(a->expected);
}

/**
 * arena_sync() - sync, and copy what it reports
 * @a: opened
 *
 * Return: how many pages were reported.
 */
size_t arena_sync(struct arena *a)
{
	size_t n;

	harvest_sync(&a->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	n = harvest_take(&a->harvest);
	arena_copy(a);
	return n;
}

/**
 * arena_settle() - sync until nothing is reported, but not for ever
 * @a: opened; nobody writes
 *
 * Return: how many pages the last sync reported, 0 if all is well.
 */
size_t arena_settle(struct arena *a)
{
	time_t end = time(NULL) + ARENA_SETTLE_S;
	size_t n;

	while ((n = arena_sync(a)) && time(NULL) < end)
		usleep(ARENA_SETTLE_US);
	return n;
}

/**
 * arena_pick() - choose other pages of the window to be written
 * @a: opened
 */
void arena_pick(struct arena *a)
{
	const size_t first = ARENA_WINDOW / GUEST_PAGE;
	const size_t npages = ARENA_WINDOW_SIZE / GUEST_PAGE;
	uint32_t *list = a->vm.control->list;
	size_t i, j;
	uint32_t tmp;

	for (i = 0; i < npages; i++)
		list[i] = first + i;
	for (i = 0; i < ARENA_WRITES; i++) {
		j = i + rand() % (npages - i);
		tmp = list[i];
		list[i] = list[j];
		list[j] = tmp;
	}
}

/**
 * arena_write_list() - write to each page that was picked, once
 * @a: opened
 * @memory: where the caller maps it
 */
void arena_write_list(struct arena *a, char *memory)
{
	size_t i;

	for (i = 0; i < ARENA_WRITES; i++) {
		size_t offset = (size_t)a->vm.control->list[i] * GUEST_PAGE;

		++*(volatile uint64_t *)(memory + offset);
	}
}

/**
 * arena_write() - let the writer write to each page that was picked, once
 * @a: opened
 */
void arena_write(struct arena *a)
{
	struct guest_vcpu *vcpu = &a->vm.control->vcpus[0];
	size_t i;

	if (a->who == ARENA_VCPU) {
		vcpu->list_first = 0;
		vcpu->list_len = ARENA_WRITES;
		vm_run(&a->vm, 0, GUEST_WRITE_LIST);
	} else {
		arena_event(a, arena_event_write);
	}
	for (i = 0; i < ARENA_WRITES; i++)
		a->expected[a->vm.control->list[i]].writes++;
}

/**
 * arena_event() - let something happen to the window, by the writer's process
 * @a: opened
 * @event: what
 *
 * Return: what @event returned.
 */
int arena_event(struct arena *a, arena_event_fn *event)
{
	if (a->who != ARENA_BACKEND)
		return event(a, a->vm.memory, ARENA_WINDOW, ARENA_WINDOW_SIZE);
	a->shared->event = event;
	sem_post(&a->shared->go);
	arena_backend_wait(a);
	return a->shared->ret;
}

/**
 * arena_missed() - pages that were written, and not reported by the last sync
 * @a: opened
 *
 * Return: how many.
 */
size_t arena_missed(const struct arena *a)
{
	size_t i, n = 0;

	for (i = 0; i < ARENA_WRITES; i++)
		n += !harvest_took(&a->harvest, a->vm.control->list[i]);
	return n;
}

/**
 * arena_wrong() - pages that do not hold what was written, here or at the mover
 * @a: opened; nobody writes
 *
 * Return: how many.
 */
size_t arena_wrong(struct arena *a)
{
	static char buffer[64 * GUEST_PAGE];
	size_t offset, in, here = 0, there = 0;

	for (offset = 0; offset < ARENA_SIZE; offset += sizeof(buffer)) {
		if (pread(a->vm.mem_fd, buffer, sizeof(buffer), offset) !=
		    sizeof(buffer))
			err(1, "reading the memory");
		for (in = 0; in < sizeof(buffer); in += GUEST_PAGE) {
			size_t page = (offset + in) / GUEST_PAGE;

			here += !!memcmp(buffer + in, &a->expected[page],
					 sizeof(*a->expected));
			there += !!memcmp(buffer + in, a->mirror + offset + in,
					  GUEST_PAGE);
		}
	}
	if (here + there)
		printf("# wrong pages: %zu here, %zu at the mover\n", here, there);
	return here + there;
}

/**
 * arena_expect_hole() - a range was punched out of the file
 * @a: opened
 * @offset: of the range
 * @length: of it
 */
void arena_expect_hole(struct arena *a, size_t offset, size_t length)
{
	memset(a->expected + offset / GUEST_PAGE, 0,
	       length / GUEST_PAGE * sizeof(*a->expected));
}

/**
 * arena_pid() - the writer's process
 * @a: opened
 *
 * Return: its id.
 */
pid_t arena_pid(const struct arena *a)
{
	return a->backend ? a->backend : getpid();
}
