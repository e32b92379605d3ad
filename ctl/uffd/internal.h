/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files that make up the set-up, and by nobody else. */
#ifndef MIGCTL_UFFD_INTERNAL_H
#define MIGCTL_UFFD_INTERNAL_H

#include "uffd/uffd.h"

/**
 * struct uffd_thread - one that handles faults
 * @uffd: for
 * @channel: it loads into
 * @thread: it
 */
struct uffd_thread {
	struct uffd *uffd;
	struct uffd_channel channel;
	pthread_t thread;
};

/**
 * struct uffd_saving - pages that a thread saves just now
 * @page: the first, as the claims number them
 * @n: how many
 * @max_s: so long may somebody wait for them
 * @awaited: somebody does, who wants to write there
 * @looks: how often the watchdog has seen that
 * @next: those of another thread
 */
struct uffd_saving {
	uint64_t page;
	uint64_t n;
	uint64_t max_s;
	bool awaited;
	unsigned int looks;
	struct uffd_saving *next;
};

/**
 * struct uffd - a set-up
 * @fd: the userfaultfd
 * @own: we made it, and registered the memory
 * @registered: regions that are, of our own
 * @quit_fd: written to end the threads
 * @failed_fd: written when a fault can't be handled
 * @regions: the memory
 * @n: how many
 * @ops: see there
 * @data: for them
 * @claims: of the pages
 * @own_claims: what @claims points at if nobody shares it
 * @threads: that handle faults
 * @n_threads: that were started
 * @clock: how long was waited for pages
 * @saving: of all threads
 * @saving_lock: of @saving, and of claims of pages that are to be saved
 * @watch: the watchdog of @saving
 * @watch_fd: written to end it; -1 if there is none
 * @abandoned: it has let everybody write, as that took too long: nothing more is protected
 * @protected: from now on pages are saved before they change; under @lock
 * @lock: held to read messages; shared, to put pages in place, or to say that they are
 *	saved: a page that the VMM gives back is not put there again afterwards
 * @err_lock: of @err
 * @err: the first failure
 */
struct uffd {
	int fd;
	bool own;
	size_t registered;
	int quit_fd;
	int failed_fd;
	struct uffd_region *regions;
	size_t n;
	const struct uffd_ops *ops;
	void *data;
	struct uffd_claims *claims;
	struct uffd_claims own_claims;
	struct uffd_thread *threads;
	unsigned int n_threads;
	struct blocktime_clock clock;
	struct uffd_saving *saving;
	pthread_mutex_t saving_lock;
	pthread_t watch;
	int watch_fd;
	bool abandoned;
	bool protected;
	pthread_rwlock_t lock;
	pthread_mutex_t err_lock;
	bool failed;
	struct error err;
};

/* The memory is the kernel's again, or just becomes that. */
static inline bool uffd_is_released(const struct uffd *uffd)
{
	return __atomic_load_n(&uffd->claims->stats->released, __ATOMIC_SEQ_CST);
}

/* fault.c: what each of the threads does. */
void *uffd_fault_thread(void *data);
void uffd_fail(struct uffd *uffd, const struct error *err);
int uffd_read_events(struct uffd *uffd, struct error *err);
/* These pages, as the claims number them, are in place, or never will be. */
void uffd_arrived(struct uffd *uffd, uint64_t page, uint64_t n);

/* setup.c: pages that nobody had. */
const struct uffd_region *uffd_run_claim(struct uffd *uffd,
					 const struct uffd_channel *channel, uint64_t page,
					 uint64_t n, uint64_t *run, struct error *err);

/* save.c: somebody is about to write to a page. */
int uffd_save_one(struct uffd *uffd, struct uffd_channel *channel,
		  const struct uffd_region *region, uint64_t page, struct error *err);

void uffd_unprotect(struct uffd *uffd);

/* watch.c: what is just being saved, and who waits for it. */
bool uffd_saving_one(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		     struct uffd_saving *saving);
const struct uffd_region *uffd_saving_run(struct uffd *uffd,
					  const struct uffd_channel *channel,
					  uint64_t page, uint64_t n,
					  struct uffd_saving *saving, struct error *err);
void uffd_saving_end(struct uffd *uffd, struct uffd_saving *saving);
int uffd_watch_start(struct uffd *uffd, struct error *err);
void uffd_watch_stop(struct uffd *uffd);

/* place.c: pages into the memory. */
int uffd_place(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
	       uint64_t n, enum uffd_kind kind, const char *buffer, struct error *err);
int uffd_place_zero(struct uffd *uffd, const struct uffd_region *region,
		    uint64_t page, struct uffd_channel *channel, struct error *err);
void uffd_poison(struct uffd *uffd, const struct uffd_region *region, uint64_t page,
		 uint64_t n);
int uffd_wake(struct uffd *uffd, uint64_t start, uint64_t size, struct error *err);
int uffd_ioctl_error(int error, const char *what, struct error *err);

#endif /* MIGCTL_UFFD_INTERNAL_H */
