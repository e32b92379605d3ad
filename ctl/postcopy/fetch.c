// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "postcopy/fetch.h"
#include "postcopy/internal.h"
#include "stream/bitmap.h"

#define SETTLE_US	200

static void fetch_failed(void *data, const struct error *err);

static const struct uffd_ops ops = { .load = fetch_load, .failed = fetch_failed };

static uint64_t block_pages(const struct fetch *fetch, uint32_t block)
{
	return fetch->receiver->blocks[block].size / WIRE_PAGE_SIZE;
}

/* Whose fault it is there is a VMM's here: the source has nothing to do with it. */
static void blame_vmm(struct error *err)
{
	if (err->code == EXIT_PEER)
		err->code = EXIT_VMM;
}

/*
 * Who waits for that page does for ever, so that it is the end of the migration: who has
 * the link is told, and if there is none, who makes the next. Not if all pages have come:
 * then the memory is the VMM's alone soon, and nobody waits for us any more.
 */
static void fetch_failed(void *data, const struct error *err)
{
	struct fetch *fetch = data;

	if (!uffd_claims_left(&fetch->claims))
		return;
	pthread_mutex_lock(&fetch->lock);
	if (!fetch->failed)
		fetch->err = *err;
	blame_vmm(&fetch->err);
	fetch->failed = true;
	if (fetch->link)
		link_fail(fetch->link, &fetch->err);
	pthread_mutex_unlock(&fetch->lock);
}

/* Each byte of memory is in one region, and pages are as they are sent. */
static int regions_take(struct fetch *fetch, const struct uffd_region *regions, size_t n,
			uint64_t size, struct error *err)
{
	uint64_t covered = 0, first = 0;
	size_t i;

	if (uffd_regions_check(regions, n, size, err))
		return -1;
	fetch->regions = calloc(n, sizeof(*regions));
	if (!fetch->regions)
		return error_set(err, EXIT_FAILED, "out of memory");
	fetch->n = n;
	for (i = 0; i < n; i++) {
		fetch->regions[i] = regions[i];
		fetch->regions[i].first = first;
		fetch->regions[i].modes = UFFD_MISSING;
		first += regions[i].size / regions[i].page_size;
		covered += regions[i].size;
		if (regions[i].page_size != WIRE_PAGE_SIZE) {
			error_set(err, EXIT_VMM, "memory region %zu is of pages of %llu bytes",
				  i, (unsigned long long)regions[i].page_size);
			return error_advise(err, "post-copy is for memory in normal pages");
		}
	}
	if (covered == size)
		return 0;
	return error_set(err, EXIT_VMM,
			 "the VMM has registered %llu bytes of memory, and the guest has %llu",
			 (unsigned long long)covered, (unsigned long long)size);
}

/**
 * fetch_open() - get ready for post-copy
 * @fetch: filled; to be closed also after a failure
 * @receiver: opened
 * @regions: where the VMM has the memory: their offset is the place in all blocks,
 *	one after the other
 * @n: how many
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int fetch_open(struct fetch *fetch, struct receiver *receiver,
	       const struct uffd_region *regions, size_t n, struct error *err)
{
	uint64_t size = 0;
	size_t i;

	*fetch = (struct fetch){ .receiver = receiver };
	pthread_mutex_init(&fetch->lock, NULL);
	pthread_cond_init(&fetch->changed, NULL);
	fetch->bases = calloc(receiver->nblocks, sizeof(*fetch->bases));
	if (!fetch->bases)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < receiver->nblocks; i++) {
		fetch->bases[i] = size;
		size += receiver->blocks[i].size;
	}
	if (regions_take(fetch, regions, n, size, err) ||
	    uffd_claims_open(&fetch->claims, size / WIRE_PAGE_SIZE, false, err))
		return -1;
	uffd_claims_fill(&fetch->claims);
	return 0;
}

/**
 * fetch_run() - where the claims have pages of a block
 * @fetch: open
 * @block: of the stream
 * @page: the first, in the block
 * @n: how many
 * @first: the first, as the claims number them
 *
 * Return: how many of them are in one region.
 */
uint64_t fetch_run(const struct fetch *fetch, uint32_t block, uint64_t page, uint64_t n,
		   uint64_t *first)
{
	uint64_t offset = fetch->bases[block] + page * WIRE_PAGE_SIZE, left;
	const struct uffd_region *region = fetch->regions;

	/* There is one: they are all memory. */
	while (offset - region->offset >= region->size)
		region++;
	left = (region->size - (offset - region->offset)) / WIRE_PAGE_SIZE;
	*first = region->first + (offset - region->offset) / WIRE_PAGE_SIZE;
	return n < left ? n : left;
}

/* They have no page in the file: so the kernel tells of who touches them. */
static int lack(struct fetch *fetch, uint32_t block, uint64_t page, uint64_t n,
		struct error *err)
{
	uint64_t run, first, i;

	if (receiver_punch(fetch->receiver, block, page, n, err))
		return -1;
	fetch->missing += n;
	for (; n; n -= run, page += run) {
		run = fetch_run(fetch, block, page, n, &first);
		for (i = 0; i < run; i++)
			uffd_claim_lack(&fetch->claims, first + i);
	}
	return 0;
}

static bool bit_test(const void *payload, uint64_t bit)
{
	return bitmap_word(payload, bit / BITMAP_BITS) >> bit % BITMAP_BITS & 1;
}

/**
 * fetch_missing() - these pages are not there
 * @fetch: open, not started
 * @frame: WIRE_MISSING, as it came
 * @payload: its bitmap
 * @err: why it is refused, EXIT_PEER
 *
 * What the memory files have of them is dropped.
 *
 * Return: 0 or -1.
 */
int fetch_missing(struct fetch *fetch, const struct wire_frame *frame,
		  const void *payload, struct error *err)
{
	uint64_t pages, base, n, bit, end;

	if (fetch->uffd)
		return error_set(err, EXIT_PEER, "the source says what is missing when it was asked for already");
	if (frame->block >= fetch->receiver->nblocks)
		return error_set(err, EXIT_PEER, "pages of memory block %u are missing, which there is not",
				 frame->block);
	pages = block_pages(fetch, frame->block);
	if (bitmap_check(frame, pages, payload, err))
		return -1;
	base = frame->offset / WIRE_PAGE_SIZE;
	n = frame->length / sizeof(uint64_t) * BITMAP_BITS;
	if (n > pages - base)
		n = pages - base;
	for (bit = 0; bit < n; bit = end) {
		end = bit + 1;
		if (!bit_test(payload, bit))
			continue;
		while (end < n && bit_test(payload, end))
			end++;
		if (lack(fetch, frame->block, base + bit, end - bit, err))
			return -1;
	}
	return 0;
}

/**
 * fetch_start() - ask for what is touched from now on
 * @fetch: open; it is known what is missing
 * @uffd_fd: the VMM's userfaultfd, or -1: @regions are of this process. The callee's
 *	from the call on
 * @link: to the source, with urgent channels
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int fetch_start(struct fetch *fetch, int uffd_fd, struct link *link, struct error *err)
{
	const struct uffd_config config = {
		.fd = uffd_fd,
		.features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_THREAD_ID,
		.regions = fetch->regions,
		.n = fetch->n,
		.ops = &ops,
		.data = fetch,
		.threads = link->urgent,
		.claims = &fetch->claims,
	};

	pthread_mutex_lock(&fetch->lock);
	fetch->link = link;
	pthread_mutex_unlock(&fetch->lock);
	return uffd_setup(&fetch->uffd, &config, err);
}

/* What came on a data channel. */
static int place_run(struct fetch *fetch, uint32_t block, uint64_t page, uint64_t first,
		     uint64_t n, const uint8_t *data, struct error *err)
{
	receiver_note(fetch->receiver, block, page, n, data);
	if (!uffd_give(fetch->uffd, first, n, data ? UFFD_DATA : UFFD_ZERO,
		       (const char *)data, err))
		return 0;
	blame_vmm(err);
	/* Its link may have ended meanwhile, and would not say so. */
	fetch_failed(fetch, err);
	return -1;
}

static int place(void *arg, const struct wire_frame *frame, const void *payload,
		 struct error *err)
{
	const uint8_t *data = frame->type == WIRE_PAGES ? payload : NULL;
	uint64_t page = frame->offset / WIRE_PAGE_SIZE, n, first, run;
	struct fetch *fetch = arg;

	if (receiver_check(fetch->receiver, frame, err))
		return -1;
	if (!fetch->uffd)
		return error_set(err, EXIT_PEER, "the source sends what is missing before it is asked to");
	for (n = (data ? frame->length : frame->count) / WIRE_PAGE_SIZE; n;
	     n -= run, page += run, data = data ? data + run * WIRE_PAGE_SIZE : NULL) {
		run = fetch_run(fetch, frame->block, page, n, &first);
		run = uffd_claim_run(&fetch->claims, first, run);
		if (run && place_run(fetch, frame->block, page, first, run, data, err))
			return -1;
		if (run)
			continue;
		/* Somebody else has it; or nobody wants it: then it is compared only. */
		if (uffd_claim_is_removed(&fetch->claims, first))
			receiver_note(fetch->receiver, frame->block, page, 1, data);
		run = 1;
	}
	return 0;
}

static bool has_failed(struct fetch *fetch, struct error *err)
{
	bool failed;

	pthread_mutex_lock(&fetch->lock);
	failed = fetch->failed;
	if (failed)
		*err = fetch->err;
	pthread_mutex_unlock(&fetch->lock);
	return failed;
}

static bool is_lost(struct fetch *fetch)
{
	bool lost;

	pthread_mutex_lock(&fetch->lock);
	lost = !fetch->link || fetch->stopped;
	pthread_mutex_unlock(&fetch->lock);
	return lost;
}

/* What is asked for comes on other channels, and is not to be missed. */
static int settle(void *arg, struct error *err)
{
	struct fetch *fetch = arg;
	bool lost;

	while (uffd_claims_busy(&fetch->claims)) {
		usleep(SETTLE_US);
		lost = is_lost(fetch);
		/* A failure ends the link, too. */
		if (has_failed(fetch, err))
			return -1;
		if (lost)
			return error_set(err, EXIT_PEER, "the connection ended before all memory had come");
	}
	return 0;
}

const struct intake_ops fetch_intake = { .place = place, .settle = settle };

/**
 * fetch_lost() - a link is gone
 * @fetch: open
 * @link: it; stopped on return, and not used by the threads that handle faults: what
 *	they were asking for is parked
 */
void fetch_lost(struct fetch *fetch, struct link *link)
{
	pthread_mutex_lock(&fetch->lock);
	if (fetch->link == link)
		fetch->link = NULL;
	pthread_cond_broadcast(&fetch->changed);
	pthread_mutex_unlock(&fetch->lock);
	link_stop(link);
	pthread_mutex_lock(&fetch->lock);
	while (fetch->busy)
		pthread_cond_wait(&fetch->changed, &fetch->lock);
	pthread_mutex_unlock(&fetch->lock);
}

/* One that was given back is sent again: it is to be compared. */
static bool is_received(const struct fetch *fetch, uint64_t page)
{
	return uffd_claim_is_done(&fetch->claims, page) &&
	       !uffd_claim_is_removed(&fetch->claims, page);
}

static int block_received(struct fetch *fetch, struct channel *control, uint32_t block,
			  struct error *err)
{
	uint64_t pages = block_pages(fetch, block), page, n, run, first, i;
	unsigned long *map = calloc(pages / BITMAP_BITS + 1, sizeof(*map));
	int ret;

	if (!map)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (page = 0, n = pages; n; n -= run, page += run) {
		run = fetch_run(fetch, block, page, n, &first);
		for (i = 0; i < run; i++)
			map[(page + i) / BITMAP_BITS] |=
				(unsigned long)is_received(fetch, first + i) <<
				(page + i) % BITMAP_BITS;
	}
	ret = bitmap_send(control, WIRE_RECEIVED, block, map, pages, err);
	free(map);
	return ret;
}

/**
 * fetch_received() - tell the source what need not be sent again
 * @fetch: started
 * @control: to it
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int fetch_received(struct fetch *fetch, struct channel *control, struct error *err)
{
	uint32_t block;

	if (has_failed(fetch, err))
		return -1;
	for (block = 0; block < fetch->receiver->nblocks; block++) {
		if (block_received(fetch, control, block, err))
			return -1;
	}
	return 0;
}

/**
 * fetch_resume() - go on over a new link
 * @fetch: started; the link before was lost
 * @link: its channels have joined
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int fetch_resume(struct fetch *fetch, struct link *link, struct error *err)
{
	pthread_mutex_lock(&fetch->lock);
	fetch->link = link;
	pthread_cond_broadcast(&fetch->changed);
	pthread_mutex_unlock(&fetch->lock);
	return uffd_retry(fetch->uffd, err);
}

uint64_t fetch_left(const struct fetch *fetch)
{
	return uffd_claims_left(&fetch->claims) * WIRE_PAGE_SIZE;
}

/**
 * fetch_finish() - all memory is there
 * @fetch: started; a barrier was passed
 * @err: why it is not
 *
 * Return: 0 or -1.
 */
int fetch_finish(struct fetch *fetch, struct error *err)
{
	uint64_t left = fetch_left(fetch);

	if (left)
		return error_set(err, EXIT_PEER, "the source has ended, and %llu bytes of memory have not come",
				 (unsigned long long)left);
	return uffd_release(fetch->uffd, err);
}

/**
 * fetch_close() - end the threads, free everything
 * @fetch: opened, or all 0; its link is there no more, or its urgent channels are
 *	not used by others
 */
void fetch_close(struct fetch *fetch)
{
	struct link *link;

	if (!fetch->receiver)
		return;
	pthread_mutex_lock(&fetch->lock);
	fetch->stopped = true;
	link = fetch->link;
	pthread_mutex_unlock(&fetch->lock);
	if (link)
		fetch_lost(fetch, link);
	uffd_stop(fetch->uffd);
	uffd_claims_close(&fetch->claims);
	free(fetch->regions);
	free(fetch->bases);
	pthread_cond_destroy(&fetch->changed);
	pthread_mutex_destroy(&fetch->lock);
	*fetch = (struct fetch){};
}
