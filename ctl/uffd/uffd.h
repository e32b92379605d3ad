/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One userfaultfd set-up, for every user of it: where the pages come from is behind
 * a callback. The userfaultfd is opened here, for memory of this process, or came
 * from a VMM, which has registered its memory.
 *
 * Every page is claimed in a bitmap before it is fetched: it is loaded once, whoever
 * asks for it. The bitmaps can be shared with a process that goes on after this one.
 */
#ifndef MIGCTL_UFFD_H
#define MIGCTL_UFFD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/userfaultfd.h>

#include "common/error.h"
#include "uffd/blocktime.h"
#include "uffd/claims.h"

/* What the headers of Linux 6.1 do not have yet. */
#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON			_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#define UFFD_FEATURE_POISON		(1 << 14)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	(1 << 13)
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW		_IO(0xAA, 0x00)
#endif

/* Faults that are to be handled; of one region MISSING and MINOR, or WRITE. */
#define UFFD_MISSING	(1u << 0)	/* there is no page: it is supplied */
#define UFFD_MINOR	(1u << 1)	/* it is in the file: it is mapped */
#define UFFD_WRITE	(1u << 2)	/* it is protected: it is saved, then not */

#define UFFD_MAX_REGIONS	256u
#define UFFD_MAX_THREADS	16u

/**
 * struct uffd_region - memory whose faults are handled
 * @start: address in the process that it belongs to
 * @size: bytes
 * @page_size: of its mapping: base pages, or huge pages of any size
 * @offset: what the callbacks know it by, in bytes
 * @modes: UFFD_*
 * @alias: for UFFD_MINOR: the same memory, mapped here where it is not registered
 * @first: its first page in the claims; set by uffd_setup()
 */
struct uffd_region {
	uint64_t start;
	uint64_t size;
	uint64_t page_size;
	uint64_t offset;
	unsigned int modes;
	char *alias;
	uint64_t first;
};

enum uffd_kind {
	UFFD_DATA,		/* in the buffer */
	UFFD_ZERO,		/* all zeros; the buffer was not touched */
};

/**
 * struct uffd_ops - what a user of it does
 * @load: supply @size bytes at @offset, in whole pages of the region; @kind says
 *	whether they are in @buffer. From several threads at once, never twice for a
 *	page. 1: they can't be had now, and were parked, see uffd_claim_park(): who waits
 *	for them goes on waiting until uffd_retry()
 * @written: pages of a UFFD_WRITE region may be written after this: save @size bytes
 *	at @offset, which the caller can read; @buffer has room for them, and is this
 *	thread's. From several threads at once, never twice for a page
 * @failed: something has failed for the first time, see uffd_failed(); NULL if nobody
 *	is to be told. By the thread that it failed in
 *
 * -1 with the error filled in, see uffd_failed(): whoever waits for a page that could
 * not be loaded gets SIGBUS; one that could not be saved is written nevertheless. So are
 * all pages if somebody waits for longer than a second until one is saved.
 */
struct uffd_ops {
	int (*load)(void *data, uint64_t offset, size_t size, void *buffer,
		    enum uffd_kind *kind, struct error *err);
	int (*written)(void *data, uint64_t offset, size_t size, void *buffer,
		       struct error *err);
	void (*failed)(void *data, const struct error *err);
};

/**
 * struct uffd_config - what is to be set up
 * @fd: a userfaultfd whose memory is registered; or -1: make one, for our memory.
 *	It is the callee's from the call on, also if that fails
 * @features: UFFD_FEATURE_*, needed of one that is made
 * @regions: the memory; copied
 * @n: how many
 * @ops: see there
 * @data: for them
 * @threads: that handle faults, each with a page of its own to load into
 * @claims: shared with others, or NULL: make some
 */
struct uffd_config {
	int fd;
	uint64_t features;
	const struct uffd_region *regions;
	size_t n;
	const struct uffd_ops *ops;
	void *data;
	unsigned int threads;
	struct uffd_claims *claims;
};

struct uffd;

/* A place to load into: each thread needs one of its own. */
struct uffd_channel {
	char *buffer;
	size_t size;
};

int uffd_setup(struct uffd **uffd, const struct uffd_config *config,
	       struct error *err);
void uffd_stop(struct uffd *uffd);
int uffd_release(struct uffd *uffd, struct error *err);

int uffd_channel_open(struct uffd_channel *channel, size_t size, struct error *err);
void uffd_channel_close(struct uffd_channel *channel);

int uffd_load(struct uffd *uffd, struct uffd_channel *channel, uint64_t page,
	      uint64_t n, struct error *err);
int uffd_give(struct uffd *uffd, uint64_t page, uint64_t n, enum uffd_kind kind,
	      const char *buffer, struct error *err);
int uffd_retry(struct uffd *uffd, struct error *err);
int uffd_protect(struct uffd *uffd, struct error *err);
int uffd_save(struct uffd *uffd, struct uffd_channel *channel, uint64_t page,
	      uint64_t n, struct error *err);
/* How long was waited for pages so far. */
void uffd_blocktime(struct uffd *uffd, struct blocktime *result);
bool uffd_failed(struct uffd *uffd, struct error *err);
/* Readable once something has failed. */
int uffd_failed_fd(const struct uffd *uffd);

/* handshake.c */
int uffd_open(uint64_t features, int *fd, struct error *err);
int uffd_adopt(int fd, struct error *err);
/* Pure: why these could not be had, with the remedy. */
int uffd_features_explain(uint64_t missing, struct error *err);
int uffd_open_explain(int syscall_errno, int device_errno, struct error *err);

/* regions.c, pure. */
int uffd_regions_check(const struct uffd_region *regions, size_t n,
		       uint64_t supply, struct error *err);
uint64_t uffd_regions_pages(const struct uffd_region *regions, size_t n);
const struct uffd_region *uffd_region_find(const struct uffd_region *regions,
					   size_t n, uint64_t address);
const struct uffd_region *uffd_region_of_page(const struct uffd_region *regions,
					      size_t n, uint64_t page);

#endif /* MIGCTL_UFFD_H */
