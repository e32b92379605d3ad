// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Serves one VMM: the faults come first, by threads of their own; this thread loads
 * the working set and then the rest, and gives the memory back to the kernel. It can
 * be killed at any instant: the next one goes on with the same claims.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cmd/restore.h"

#define RUN_BYTES	(256u << 10)
#define THREADS		4
/* Between two looks at what else happened, one by one. */
#define LOOK_PAGES	64
/* Who has begun to give memory back before the release is read of until then. */
#define LINGER_MS	100

static int load(void *data, uint64_t offset, size_t size, void *buffer,
		enum uffd_kind *kind, struct error *err)
{
	bool zero;

	if (supply_read(data, offset, size, buffer, &zero, err))
		return -1;
	*kind = zero ? UFFD_ZERO : UFFD_DATA;
	return 0;
}

static const struct uffd_ops ops = { .load = load };

static void note(struct serving *s, const struct error *err)
{
	if (!s->result->failed)
		s->result->err = *err;
	s->result->failed = true;
}

/*
 * A page that is damaged is poisoned, and the others are served; what else fails ends
 * it.
 */
static bool can_go_on(struct serving *s, const struct error *err)
{
	note(s, err);
	return err->code != EXIT_PEER && err->code != EXIT_GONE &&
	       !s->claims.stats->stuck;
}

/* -1 when there is no more to be done, else 0 after @timeout_ms at most. */
static int look(struct serving *s, struct uffd *uffd, int timeout_ms, struct error *err)
{
	struct pollfd fds[] = {
		{ .fd = uffd_failed_fd(uffd), .events = POLLIN },
		{ .fd = s->vmm_fd, .events = POLLIN },
		{ .fd = s->vmm_fd < 0 ? s->socket : -1, .events = POLLRDHUP },
	};
	uint64_t count;

	if (poll(fds, ARRAY_SIZE(fds), timeout_ms) <= 0)
		return 0;
	/* First: it may be why the VMM has ended. */
	if (read(fds[0].fd, &count, sizeof(count)) > 0 && uffd_failed(uffd, err) &&
	    !can_go_on(s, err))
		return -1;
	if (fds[1].revents || fds[2].revents)
		return error_set(err, EXIT_GONE, "the VMM has ended");
	return 0;
}

static int wait_for(struct serving *s, struct uffd *uffd, uint64_t ns, struct error *err)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + ns, now;

	while ((now = clock_ns(CLOCK_MONOTONIC)) < end) {
		if (look(s, uffd, (int)((end - now) / NS_PER_MS) + 1, err))
			return -1;
	}
	return 0;
}

static int load_or_note(struct serving *s, struct uffd *uffd,
			struct uffd_channel *channel, uint64_t page, uint64_t n,
			struct error *err)
{
	return uffd_load(uffd, channel, page, n, err) && !can_go_on(s, err) ? -1 : 0;
}

/* The claims number pages by region, the supply by where they are. */
static int set_page_load(struct serving *s, struct uffd *uffd,
			 struct uffd_channel *channel, uint64_t offset,
			 struct error *err)
{
	uint64_t first = 0;
	size_t i;

	for (i = 0; i < s->offer.n; i++) {
		const struct uffd_region *r = &s->offer.regions[i];

		if (offset - r->offset < r->size)
			return load_or_note(s, uffd, channel, first +
					    (offset - r->offset) / r->page_size, 1, err);
		first += r->size / r->page_size;
	}
	return 0;
}

static int set_load(struct serving *s, struct uffd *uffd, struct uffd_channel *channel,
		    struct error *err)
{
	size_t i;

	/* Of a disk, all at once: it has better ways through them than one by one. */
	for (i = 0; i < s->n_set; i++)
		supply_will_need(s->supply, s->set[i] * SNAPSHOT_PAGE_SIZE);
	for (i = 0; i < s->n_set; i++) {
		if (i % LOOK_PAGES == 0 && look(s, uffd, 0, err))
			return -1;
		if (set_page_load(s, uffd, channel, s->set[i] * SNAPSHOT_PAGE_SIZE, err))
			return -1;
	}
	if (s->n_set && !s->result->set_ns)
		s->result->set_ns = clock_ns(CLOCK_MONOTONIC);
	return 0;
}

/* What is known to be zeros is left out: it is that by itself, in the end. */
static int region_load(struct serving *s, struct uffd *uffd,
		       struct uffd_channel *channel, const struct uffd_region *region,
		       uint64_t first, struct error *err)
{
	uint64_t at, size, most = RUN_BYTES;
	bool zero;

	if (most < region->page_size)
		most = region->page_size;
	for (at = 0; at < region->size; at += size) {
		size = region->size - at < most ? region->size - at : most;
		size = supply_run(s->supply, region->offset + at, size, &zero);
		if (look(s, uffd, 0, err))
			return -1;
		/* A huge page is of zeros only if all of it is. */
		if (size % region->page_size) {
			zero = false;
			size += region->page_size - size % region->page_size;
		}
		if (!zero && load_or_note(s, uffd, channel,
					  first + at / region->page_size,
					  size / region->page_size, err))
			return -1;
	}
	return 0;
}

static int rest_load(struct serving *s, struct uffd *uffd, struct uffd_channel *channel,
		     struct error *err)
{
	uint64_t first = 0;
	size_t i;

	for (i = 0; i < s->offer.n; i++) {
		const struct uffd_region *r = &s->offer.regions[i];

		if (region_load(s, uffd, channel, r, first, err))
			return -1;
		first += r->size / r->page_size;
	}
	return 0;
}

static int serve(struct serving *s, struct uffd *uffd, struct uffd_channel *channel,
		 struct error *err)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC) - s->result->started_ns;

	if (s->options->record_ns > since &&
	    wait_for(s, uffd, s->options->record_ns - since, err))
		return -1;
	if (set_load(s, uffd, channel, err) || rest_load(s, uffd, channel, err))
		return -1;
	s->result->loaded_ns = clock_ns(CLOCK_MONOTONIC);
	if (uffd_release(uffd, err))
		return -1;
	restore_watch_end(s);
	return wait_for(s, uffd, LINGER_MS * NS_PER_MS, err);
}

static size_t channel_size(const struct serving *s)
{
	size_t size = RUN_BYTES, i;

	for (i = 0; i < s->offer.n; i++) {
		if (s->offer.regions[i].page_size > size)
			size = s->offer.regions[i].page_size;
	}
	return size;
}

/**
 * restore_handle() - serve the VMM to the end
 * @s: its userfaultfd stays the caller's
 * @err: why it could not be served
 *
 * Return: 0 when all is loaded and released, or -1.
 */
int restore_handle(struct serving *s, struct error *err)
{
	struct uffd_config config = {
		.fd = fcntl(s->offer.fd, F_DUPFD_CLOEXEC, 0),
		.regions = s->offer.regions,
		.n = s->offer.n,
		.ops = &ops,
		.data = (void *)s->supply,
		.threads = THREADS,
		.claims = &s->claims,
	};
	struct uffd_channel channel;
	struct uffd *uffd;
	int ret = -1;

	if (config.fd < 0)
		return error_set(err, EXIT_FAILED, "too many open files");
	if (uffd_setup(&uffd, &config, err))
		return -1;
	if (!uffd_channel_open(&channel, channel_size(s), err)) {
		ret = serve(s, uffd, &channel, err);
		/* A VMM that ends after all was released needs nothing more. */
		if (ret && err->code == EXIT_GONE && s->result->loaded_ns)
			ret = 0;
	}
	uffd_channel_close(&channel);
	uffd_stop(uffd);
	return ret;
}
