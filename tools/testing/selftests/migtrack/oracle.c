// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oracle.h"

#define MISSES_TOLD	5

static void *oracle_map(size_t size, int prot, int fd)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	void *addr = mmap(NULL, size, prot, flags, fd, 0);

	if (addr == MAP_FAILED)
		err(1, "mmap");
	return addr;
}

/**
 * oracle_create() - make a memory, and nobody writes to it yet
 * @o: filled in
 * @size: of the memory; a power of two
 */
void oracle_create(struct oracle *o, size_t size)
{
	memset(o, 0, sizeof(*o));
	o->size = size;
	o->npages = size / GUEST_PAGE;
	o->iteration = 1;
	o->mem_fd = memfd_create("guest", 0);
	if (o->mem_fd < 0 || ftruncate(o->mem_fd, size))
		err(1, "memfd");
	o->memory = oracle_map(size, PROT_READ | PROT_WRITE, o->mem_fd);
	o->view = oracle_map(size, PROT_READ, o->mem_fd);
	o->copy = oracle_map(size, PROT_READ | PROT_WRITE, -1);
	/* As QEMU does; a writer that is a process maps it for itself. */
	if (madvise(o->memory, size, MADV_DONTFORK) ||
	    madvise((void *)o->view, size, MADV_DONTFORK))
		err(1, "MADV_DONTFORK");
}

/**
 * oracle_add() - there is a writer
 * @o: created, not started
 * @ops: its kind
 */
void oracle_add(struct oracle *o, const struct writer_ops *ops)
{
	struct writer *w = &o->writers[o->nwriters++];
	struct stamper *stampers;
	unsigned int i;

	w->ops = ops;
	w->oracle = o;
	w->memory = o->memory;
	w->slot = o->nslots;
	o->nslots += ops->slots;
	if (o->nslots > STAMP_SLOTS)
		errx(1, "too many writers");
	w->control = oracle_map(GUEST_PAGE, PROT_READ | PROT_WRITE, -1);
	stampers = (void *)(w->control + 1);
	for (i = 0; i < ops->slots; i++) {
		w->stampers[i] = &stampers[i];
		w->stampers[i]->random = 0x2545f4914f6cdd1dULL * (w->slot + i + 1);
		w->last[i] = oracle_map(o->npages * sizeof(*w->last[i]),
					PROT_READ | PROT_WRITE, -1);
	}
	w->late = oracle_map(o->npages, PROT_READ | PROT_WRITE, -1);
	w->was_late = oracle_map(o->npages, PROT_READ | PROT_WRITE, -1);
}

/**
 * oracle_start() - let all writers write
 * @o: with its writers
 */
void oracle_start(struct oracle *o)
{
	struct writer *w;

	for (w = o->writers; w < o->writers + o->nwriters; w++) {
		w->control->iteration = o->iteration;
		w->ops->start(w);
		w->control->iteration = o->iteration;
	}
}

static void oracle_wait(struct writer *w, uint64_t iteration)
{
	unsigned int i, spins = 0;

	for (i = 0; i < w->ops->slots; i++) {
		while (w->stampers[i]->seen < iteration) {
			if (w->pid && ++spins % 1000 == 0 &&
			    waitpid(w->pid, NULL, WNOHANG))
				errx(1, "the process of writer %s has ended",
				     w->ops->name);
			sched_yield();
		}
	}
}

/* All writes that are not of this iteration have been made, or are late. */
static void oracle_next_iteration(struct oracle *o)
{
	struct writer *w;

	o->iteration++;
	for (w = o->writers; w < o->writers + o->nwriters; w++)
		__atomic_store_n(&w->control->iteration, o->iteration,
				 __ATOMIC_SEQ_CST);
	for (w = o->writers; w < o->writers + o->nwriters; w++) {
		if (w->ops->late)
			memcpy(w->was_late, w->late, o->npages);
		else
			oracle_wait(w, o->iteration);
		if (w->ops->next)
			w->ops->next(w);
	}
}

static uint64_t oracle_stamp(const char *memory, size_t page, unsigned int slot)
{
	return __atomic_load_n((uint64_t *)(memory + stamp_place(page, slot)),
			       __ATOMIC_SEQ_CST);
}

/* The first ones, for whoever looks for the reason. */
static void oracle_say_missed(const struct oracle *o, size_t page, unsigned int slot,
			      uint64_t now)
{
	uint64_t copy = oracle_stamp(o->copy, page, slot);

	if (!o->drop && o->missed <= MISSES_TOLD)
		fprintf(stderr, "# page %zu slot %u: stamp %llx of iteration %llu was not reported by the sync of iteration %llu; reported last with %llx of iteration %llu%s\n",
			page, slot, (unsigned long long)now,
			(unsigned long long)stamp_iteration(now),
			(unsigned long long)o->iteration, (unsigned long long)copy,
			(unsigned long long)stamp_iteration(copy),
			stamp_is_torn(copy) ? ", torn" : "");
}

static void oracle_check_page(struct oracle *o, const struct writer *w, size_t page,
			      bool taken)
{
	unsigned int i;

	if (w->ops->late && w->was_late[page]) {
		o->late += __atomic_load_n(&w->late[page], __ATOMIC_SEQ_CST);
		return;
	}
	if (taken)
		return;
	for (i = 0; i < w->ops->slots; i++) {
		uint64_t now = oracle_stamp(o->view, page, w->slot + i);

		if (now == oracle_stamp(o->copy, page, w->slot + i))
			continue;
		o->torn += stamp_is_torn(now);
		if (!stamp_is_older(now, o->iteration))
			continue;
		o->missed++;
		oracle_say_missed(o, page, w->slot + i, now);
	}
}

/* Has it been written to since it was reported last? */
static bool oracle_is_changed(const struct oracle *o, size_t page)
{
	unsigned int slot;

	for (slot = 0; slot < o->nslots; slot++)
		if (oracle_stamp(o->view, page, slot) !=
		    oracle_stamp(o->copy, page, slot))
			return true;
	return false;
}

/* Since before the last sync but one? */
static bool oracle_is_recent(const struct oracle *o, size_t page)
{
	unsigned int slot;

	for (slot = 0; slot < o->nslots; slot++)
		if (!stamp_is_older(oracle_stamp(o->view, page, slot),
				    o->iteration - 1))
			return true;
	return false;
}

/* Does a writer mean to write to it just now? */
static bool oracle_is_target(const struct oracle *o, size_t page)
{
	const struct writer *w;
	unsigned int i;

	for (w = o->writers; w < o->writers + o->nwriters; w++)
		for (i = 0; i < w->ops->slots; i++)
			if (w->stampers[i]->page == page)
				return true;
	return false;
}

/*
 * Reported, and nobody has written to it since before the last sync but one: what
 * was written while a sync ran may be reported by the next one, too. A writer gets
 * the right to write before it writes, and that must be reported.
 */
static void oracle_count_excess(struct oracle *o, size_t page)
{
	bool target = oracle_is_target(o, page);

	if (oracle_is_changed(o, page) || oracle_is_recent(o, page))
		return;
	if (o->process_ended)
		o->gone++;
	else if (target)
		o->early++;
	else
		o->excess++;
}

static void oracle_check(struct oracle *o)
{
	struct writer *w;
	size_t page, n;

	o->syncs++;
	n = harvest_take(&o->harvest);
	/* Those that the first check mapped, by reading them, are reported, too. */
	if (!o->adopted_at && o->syncs > 2 && n < o->npages)
		o->adopted_at = o->syncs;
	for (page = 0; page < o->npages; page++) {
		bool taken = harvest_took(&o->harvest, page);

		o->reported += taken;
		if (taken && o->adopted_at)
			oracle_count_excess(o, page);
		if (o->drop && taken && !(rand() % o->drop))
			taken = false;
		/* What is written meanwhile is reported by the next sync. */
		if (taken)
			memcpy(o->copy + page * GUEST_PAGE,
			       o->view + page * GUEST_PAGE, GUEST_PAGE);
		for (w = o->writers; w < o->writers + o->nwriters; w++)
			oracle_check_page(o, w, page, taken);
	}
	for (w = o->writers; w < o->writers + o->nwriters; w++)
		if (w->ops->check)
			o->missed += w->ops->check(w);
}

/**
 * oracle_open() - begin to track the memory
 * @o: created
 */
void oracle_open(struct oracle *o)
{
	harvest_open(&o->harvest, getpid(), o->mem_fd);
	oracle_next_iteration(o);
	harvest_sync(&o->harvest, MIGTRACK_SYNC_KIND_SETUP);
	oracle_check(o);
}

/**
 * oracle_sync() - sync, and check what it says
 * @o: opened
 */
void oracle_sync(struct oracle *o)
{
	struct migtrack_source source;

	oracle_next_iteration(o);
	harvest_sync(&o->harvest, MIGTRACK_SYNC_KIND_ITERATION);
	oracle_check(o);
	source = harvest_source(&o->harvest);
	o->held = source.held_pages;
	if (source.processes > o->processes)
		o->processes = source.processes;
}

/**
 * oracle_syncs() - many of them, or up to the first that misses a page
 * @o: opened
 * @n: how many
 * @max_delay_us: at random times, up to so long after each other; 0: at once
 */
void oracle_syncs(struct oracle *o, unsigned int n, unsigned int max_delay_us)
{
	while (n-- && !o->missed) {
		if (max_delay_us)
			usleep(rand() % max_delay_us);
		oracle_sync(o);
	}
}

static void oracle_check_lost(struct oracle *o)
{
	const struct writer *w;
	unsigned int i;
	size_t page;

	for (w = o->writers; w < o->writers + o->nwriters; w++)
		for (i = 0; i < w->ops->slots; i++)
			for (page = 0; w->last[i] && page < o->npages; page++)
				o->lost += w->last[i][page] !=
					   oracle_stamp(o->view, page, w->slot + i);
}

static void oracle_compare(struct oracle *o)
{
	size_t page;

	for (page = 0; page < o->npages; page++)
		o->differ += memcmp(o->copy + page * GUEST_PAGE,
				    o->view + page * GUEST_PAGE, GUEST_PAGE) != 0;
}

/**
 * oracle_finish() - stop all writers; after one more sync, all is known
 * @o: opened
 */
void oracle_finish(struct oracle *o)
{
	struct writer *w;

	for (w = o->writers; w < o->writers + o->nwriters; w++)
		w->control->stop = 1;
	for (w = o->writers; w < o->writers + o->nwriters; w++) {
		o->process_ended |= w->pid;
		w->ops->stop(w);
		memset(w->was_late, 0, o->npages);
	}

	harvest_sync(&o->harvest, MIGTRACK_SYNC_KIND_FINAL);
	/* In which nobody writes. */
	o->iteration++;
	oracle_check(o);
	oracle_compare(o);
	oracle_check_lost(o);
}

/**
 * oracle_open_other() - begin to track the memory in another session
 * @other: filled in
 * @o: opened
 */
void oracle_open_other(struct oracle *other, const struct oracle *o)
{
	*other = *o;
	other->syncs = other->reported = other->excess = other->early = 0;
	other->copy = oracle_map(o->size, PROT_READ | PROT_WRITE, -1);
	harvest_open(&other->harvest, getpid(), o->mem_fd);
	oracle_sync_other(other, o, MIGTRACK_SYNC_KIND_SETUP);
}

/**
 * oracle_sync_other() - sync the other session, and check what it says
 * @other: opened
 * @o: the first one, whose iteration this is; if it has finished, all is known
 * @kind: of the sync
 */
void oracle_sync_other(struct oracle *other, const struct oracle *o,
		       enum migtrack_sync_kind kind)
{
	other->iteration = o->iteration;
	harvest_sync(&other->harvest, kind);
	oracle_check(other);
	if (kind == MIGTRACK_SYNC_KIND_FINAL)
		oracle_compare(other);
}

/**
 * oracle_close_other() - end the other session
 * @other: opened
 */
void oracle_close_other(struct oracle *other)
{
	harvest_close(&other->harvest);
	munmap(other->copy, other->size);
}

/**
 * oracle_destroy() - free all
 * @o: finished
 */
void oracle_destroy(struct oracle *o)
{
	harvest_close(&o->harvest);
	munmap(o->copy, o->size);
	munmap((void *)o->view, o->size);
	munmap(o->memory, o->size);
	close(o->mem_fd);
}
