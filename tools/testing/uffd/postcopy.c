// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Post-copy from a file to memory of this process, with this kernel's userfaultfd:
 * threads read and write it while it comes, and the connections are cut.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "postcopy/fetch.h"
#include "stream_move.h"
#include "unit.h"

#define BLOCKS		2
#define PAGES		2048ull
#define ALL		(BLOCKS * PAGES)
#define READERS		4u
#define WORDS		(PAGE / sizeof(uint64_t))
#define CUTS		20
/* What each reader goes through between two of them. */
#define CUT_PAGES	10
#define MS		1000000ull

struct scene;

/* A vCPU: goes through all pages in an order of its own. */
struct reader {
	struct scene *scene;
	pthread_t thread;
	unsigned int number;
	uint64_t wrong;
	uint64_t waits[ALL];
	size_t n;
};

/*
 * A migration: the guest's memory is where @move.to is mapped. Each reader has gone
 * through @limit pages by now, at most.
 */
struct scene {
	struct move move;
	struct fetch fetch;
	uint64_t *guest[BLOCKS];
	uint64_t pace_us;
	uint64_t limit;
	bool touched;
	struct reader readers[READERS];
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Each page is of one reader, who writes its number there once it was right. */
static bool is_own(const struct reader *reader, uint64_t page)
{
	return page % READERS == reader->number;
}

static bool is_right(struct scene *scene, unsigned int block, uint64_t page,
		     const uint64_t *at, uint64_t first)
{
	const struct sender_block *from = &scene->move.from[block];
	uint64_t words[WORDS];

	CHECK_EQ(pread(from->fd, words, PAGE, (off_t)(from->offset + page * PAGE)), PAGE);
	return !memcmp(words + first, at + first, PAGE - first * sizeof(*at));
}

static void *read_all(void *data)
{
	struct reader *reader = data;
	struct scene *scene = reader->scene;
	uint64_t i, page, start;

	for (i = 0; i < ALL; i++) {
		volatile uint64_t *at;
		unsigned int block;

		while (i >= __atomic_load_n(&scene->limit, __ATOMIC_RELAXED))
			usleep(100);
		page = (i * 1021 + reader->number * 577) % ALL;
		block = (unsigned int)(page / PAGES);
		at = scene->guest[block] + page % PAGES * WORDS;
		start = now();
		(void)at[1];
		reader->waits[reader->n++] = now() - start;
		reader->wrong += !is_right(scene, block, page % PAGES,
					   (const uint64_t *)at, 1);
		if (is_own(reader, page))
			at[0] = page << 8 | reader->number;
		if (scene->pace_us)
			usleep((useconds_t)scene->pace_us);
	}
	return NULL;
}

static void readers_start(struct scene *scene)
{
	unsigned int i;

	for (i = 0; i < READERS; i++) {
		scene->readers[i] = (struct reader){ .scene = scene, .number = i };
		CHECK(!pthread_create(&scene->readers[i].thread, NULL, read_all,
				      &scene->readers[i]));
	}
}

/* What they have written is there, and all else is as it was at the source. */
static void readers_end(struct scene *scene)
{
	uint64_t page;
	unsigned int i;

	for (i = 0; i < READERS; i++) {
		CHECK(!pthread_join(scene->readers[i].thread, NULL));
		CHECK_EQ(scene->readers[i].wrong, 0);
	}
	for (page = 0; page < ALL; page++) {
		const uint64_t *at = scene->guest[page / PAGES] + page % PAGES * WORDS;

		CHECK_EQ(at[0], page << 8 | page % READERS);
		CHECK(is_right(scene, (unsigned int)(page / PAGES), page % PAGES, at, 1));
	}
}

static void hashes_check(struct scene *scene)
{
	static uint64_t hashes[PAGES];
	struct error err;
	unsigned int i;

	for (i = 0; i < BLOCKS; i++) {
		CHECK(!sender_hash(&scene->move.sender, i, 0, PAGES, hashes, &err));
		CHECK(!memcmp(hashes, scene->move.to[i].hashes, sizeof(hashes)));
	}
}

/* Every 8th page is one of zeros. */
static void memory_fill(struct scene *scene, uint64_t seed)
{
	uint64_t page;
	unsigned int i;

	for (i = 0; i < BLOCKS; i++) {
		const struct sender_block *from = &scene->move.from[i];

		page_fill(from->fd, from->offset / PAGE, PAGES, seed + i);
		for (page = 0; page < PAGES; page += 8)
			page_punch(from->fd, from->offset / PAGE + page, 1);
	}
}

/* @file: the destination's memory, a part for each block; -1: one for each */
static void scene_open_in(struct scene *scene, unsigned int channels, uint64_t bandwidth,
			  int file)
{
	struct uffd_region regions[BLOCKS];
	struct error err = {};
	unsigned int i;

	memset(scene, 0, sizeof(*scene));
	scene->move.channels = channels;
	scene->move.urgent = 2;
	scene->limit = ALL;
	for (i = 0; i < BLOCKS; i++)
		move_block(&scene->move, i + 1, PAGES);
	for (i = 0; i < BLOCKS && file >= 0; i++) {
		close(scene->move.to[i].fd);
		scene->move.to[i].fd = dup(file);
		scene->move.to[i].offset = i * PAGES * PAGE;
	}
	memory_fill(scene, 1);
	move_open(&scene->move, bandwidth);
	for (i = 0; i < BLOCKS; i++) {
		const struct receiver_block *to = &scene->move.to[i];

		scene->guest[i] = mmap(NULL, to->size, PROT_READ | PROT_WRITE, MAP_SHARED,
				       to->fd, (off_t)to->offset);
		CHECK(scene->guest[i] != MAP_FAILED);
		regions[i] = (struct uffd_region) {
			.start = (uintptr_t)scene->guest[i], .size = to->size,
			.page_size = PAGE, .offset = i * to->size, .modes = UFFD_MISSING,
		};
	}
	CHECK_EQ(fetch_open(&scene->fetch, &scene->move.receiver, regions, BLOCKS, &err), 0);
	CHECK_STR(err.message, "");
}

static void scene_open(struct scene *scene, unsigned int channels, uint64_t bandwidth)
{
	scene_open_in(scene, channels, bandwidth, -1);
}

static void scene_close(struct scene *scene)
{
	unsigned int i;

	fetch_close(&scene->fetch);
	for (i = 0; i < BLOCKS; i++)
		munmap(scene->guest[i], PAGES * PAGE);
	move_close(&scene->move);
}

static void say(struct channel *channel, enum wire_type type)
{
	const struct wire_frame frame = { .type = type };
	struct error err;

	CHECK_EQ(channel_send(channel, &frame, NULL, &err), 0);
}

static enum wire_type hear(struct channel *channel, struct wire_frame *frame, void *payload)
{
	struct error err = {};

	CHECK_EQ(channel_receive(channel, frame, payload, &err), 0);
	CHECK_STR(err.message, "");
	return frame->type;
}

/* Both sides of it, up to READY: the guest may run. */
static void handover(struct scene *scene)
{
	struct move *move = &scene->move;
	uint8_t *payload = malloc(WIRE_MAX_PAYLOAD + 1);
	struct wire_frame frame;
	struct error err = {};

	move_drain(move);
	CHECK_EQ(sender_postcopy(&move->sender, &err), 0);
	CHECK_EQ(sender_missing(&move->sender, &move->control[0], &err), 0);
	say(&move->control[0], WIRE_POSTCOPY);
	while (hear(&move->control[1], &frame, payload) == WIRE_MISSING)
		CHECK_EQ(fetch_missing(&scene->fetch, &frame, payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_POSTCOPY);
	CHECK_EQ(fetch_left(&scene->fetch), sender_pending(&move->sender));
	CHECK_EQ(intake_redirect(&move->intake, &fetch_intake, &scene->fetch, &err), 0);
	CHECK_EQ(fetch_start(&scene->fetch, -1, &move->destination, &err), 0);
	CHECK_STR(err.message, "");
	say(&move->control[1], WIRE_READY);
	CHECK_EQ(hear(&move->control[0], &frame, payload), WIRE_READY);
	free(payload);
}

/* All is there; each page was put in place once. */
static void arrived(struct scene *scene)
{
	struct error err = {};

	CHECK_EQ(fetch_left(&scene->fetch), 0);
	CHECK_EQ(intake_close(&scene->move.intake, &err), 0);
	CHECK_EQ(fetch_finish(&scene->fetch, &err), 0);
	CHECK_STR(err.message, "");
	CHECK_EQ(scene->fetch.claims.stats->poisoned, 0);
	CHECK_EQ(scene->fetch.claims.stats->stuck, 0);
	CHECK_EQ(scene->fetch.claims.stats->loaded, scene->fetch.missing);
}

/* As it was; what the guest has written is there, too. */
static void finish(struct scene *scene)
{
	arrived(scene);
	readers_end(scene);
	hashes_check(scene);
	scene_close(scene);
}

TEST(postcopy_of_all_memory)
{
	static struct scene scene;
	struct error err;
	unsigned int i;

	scene_open(&scene, 2, 0);
	/* Of an earlier guest: nobody may see that. */
	for (i = 0; i < BLOCKS; i++)
		page_fill(scene.move.to[i].fd, i + 1, PAGES / 2, 77);
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	for (i = 0; i < BLOCKS; i++)
		bitmap_mark(scene.move.bitmap[i], 0, PAGES);
	for (i = 0; i < BLOCKS; i++)
		sender_harvest(&scene.move.sender, i, scene.move.bitmap[i]);
	handover(&scene);
	CHECK_EQ(scene.fetch.missing, ALL);
	readers_start(&scene);
	move_all(&scene.move);
	finish(&scene);
}

/* Only what changed since it was sent is missing. */
TEST(postcopy_after_precopy)
{
	static struct scene scene;
	struct error err;

	scene_open(&scene, 3, 0);
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	move_all(&scene.move);
	page_fill(scene.move.from[0].fd, 1 + 8, 500, 99);
	page_punch(scene.move.from[1].fd, 2 + 100, 50);
	bitmap_mark(scene.move.bitmap[0], 8, 500);
	bitmap_mark(scene.move.bitmap[1], 100, 50);
	sender_harvest(&scene.move.sender, 0, scene.move.bitmap[0]);
	sender_harvest(&scene.move.sender, 1, scene.move.bitmap[1]);
	handover(&scene);
	CHECK_EQ(scene.fetch.missing, 550);
	readers_start(&scene);
	move_all(&scene.move);
	finish(&scene);
}

/* All waits of all readers, and each of them is one thread. */
static void blocktime_check(struct scene *scene)
{
	struct blocktime_sum sum = {};
	struct blocktime result;
	uint64_t all = 0;
	size_t i;

	uffd_blocktime(scene->fetch.uffd, &result);
	CHECK(result.sum.waits >= ALL);
	CHECK(result.sum.max_ns && result.sum.max_ns <= result.sum.total_ns);
	CHECK_EQ(result.n_threads, READERS);
	for (i = 0; i < result.n_threads; i++) {
		sum.waits += result.threads[i].sum.waits;
		sum.total_ns += result.threads[i].sum.total_ns;
	}
	CHECK_EQ(sum.waits, result.sum.waits);
	CHECK_EQ(sum.total_ns, result.sum.total_ns);
	for (i = 0; i < BLOCKTIME_BUCKETS; i++)
		all += result.buckets[i];
	CHECK_EQ(all, result.sum.waits);
	printf("# %llu waits of %zu threads, %llu us each\n",
	       (unsigned long long)result.sum.waits, result.n_threads,
	       (unsigned long long)(result.sum.total_ns / result.sum.waits / 1000));
}

/* What is touched comes although the background gets nowhere. */
TEST(postcopy_by_requests_alone)
{
	static struct scene scene;
	struct sender_stats stats;
	unsigned int i;
	struct error err;

	scene_open(&scene, 1, 0);
	scene.move.from[0].empty = scene.move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	handover(&scene);
	readers_start(&scene);
	for (i = 0; i < 5000 && fetch_left(&scene.fetch); i++)
		usleep(10000);
	CHECK_EQ(fetch_left(&scene.fetch), 0);
	stats = sender_stats(&scene.move.sender);
	CHECK_EQ(stats.requests, ALL);
	blocktime_check(&scene);
	/* None of it is sent a second time. */
	move_all(&scene.move);
	CHECK_EQ(sender_stats(&scene.move.sender).pages, stats.pages);
	CHECK_EQ(sender_stats(&scene.move.sender).zero_pages, stats.zero_pages);
	finish(&scene);
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of the pages that were waited for; ns. */
static uint64_t waits_of(struct scene *scene, unsigned int percent)
{
	static uint64_t all[READERS * ALL];
	size_t n = 0, i, reader;

	for (reader = 0; reader < READERS; reader++) {
		for (i = 0; i < scene->readers[reader].n; i++) {
			if (scene->readers[reader].waits[i] > 20000)
				all[n++] = scene->readers[reader].waits[i];
		}
	}
	if (!n)
		return 0;
	qsort(all, n, sizeof(all[0]), by_size);
	return all[n * percent / 100 < n ? n * percent / 100 : n - 1];
}

/*
 * A channel so slow that what is in its queue takes seconds: a request is not behind it.
 */
TEST(postcopy_request_is_not_behind_bulk)
{
	static struct scene scene;
	uint64_t start, took;
	struct error err;
	unsigned int i;

	scene_open(&scene, 2, 2 << 20);
	scene.move.from[0].empty = scene.move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	handover(&scene);
	scene.pace_us = 2000;
	start = now();
	readers_start(&scene);
	for (i = 0; i < 20; i++)
		CHECK_EQ(sender_send(&scene.move.sender, 1 << 20, &err), 1);
	sender_limit(&scene.move.sender, 0);
	took = now() - start;
	scene.pace_us = 0;
	move_all(&scene.move);
	finish(&scene);
	printf("# beside bulk of 2 MiB/s for %llu ms: half of the pages that were waited for came in %llu us, 99 %% in %llu us\n",
	       (unsigned long long)(took / MS),
	       (unsigned long long)(waits_of(&scene, 50) / 1000),
	       (unsigned long long)(waits_of(&scene, 99) / 1000));
	/* In a queue of 4 MiB it would be two seconds. */
	CHECK(waits_of(&scene, 50) < 100 * MS);
}

/* As the two commands do it: a new link, and what is there is not sent again. */
static void recover(struct scene *scene)
{
	const struct sender_options options = { .level = 1 };
	uint8_t *payload = malloc(WIRE_MAX_PAYLOAD + 1);
	struct move *move = &scene->move;
	struct wire_frame frame;
	struct error err = {};
	unsigned int i;

	fetch_lost(&scene->fetch, &move->destination);
	link_close(&move->destination);
	intake_free(&move->intake);
	sender_close(&move->sender);
	link_close(&move->source);
	for (i = 0; i < 2; i++)
		channel_close(&move->control[i]);
	door_close(&move->door);
	move->failed = false;
	move->barrier = 0;
	move->ops = &fetch_intake;
	move->ops_data = &scene->fetch;
	move_link(move);
	CHECK_EQ(sender_open(&move->sender, &move->source, move->from, BLOCKS, &options, &err), 0);
	for (i = 0; i < BLOCKS; i++)
		move->from[i].empty = false;
	CHECK_EQ(sender_first_pass(&move->sender, &err), 0);
	CHECK_EQ(sender_postcopy(&move->sender, &err), 0);
	say(&move->control[0], WIRE_POSTCOPY);
	CHECK_EQ(hear(&move->control[1], &frame, payload), WIRE_POSTCOPY);
	CHECK_EQ(fetch_received(&scene->fetch, &move->control[1], &err), 0);
	CHECK_EQ(fetch_resume(&scene->fetch, &move->destination, &err), 0);
	CHECK_STR(err.message, "");
	say(&move->control[1], WIRE_READY);
	while (hear(&move->control[0], &frame, payload) == WIRE_RECEIVED)
		CHECK_EQ(sender_received(&move->sender, &frame, payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_READY);
	free(payload);
}

/* Any of the connections, at any time. */
static void cut(struct scene *scene, unsigned int which)
{
	struct link *link = which % 2 ? &scene->move.source : &scene->move.destination;
	unsigned int n = link_channels(link);

	shutdown(link->channels[which / 2 % n]->fd, which % 3 ? SHUT_RDWR : SHUT_WR);
}

TEST(postcopy_survives_cuts)
{
	static struct scene scene;
	uint64_t left, sent;
	struct error err;
	int i, ret, kinds[2] = {};

	srandom(9);
	scene_open(&scene, 2, 0);
	scene.move.from[0].empty = scene.move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	handover(&scene);
	scene.pace_us = 1000;
	scene.limit = 0;
	readers_start(&scene);
	for (i = 0; i < CUTS; i++) {
		__atomic_add_fetch(&scene.limit, CUT_PAGES, __ATOMIC_RELAXED);
		left = (uint64_t)random() % (256 << 10);
		for (sent = 0; sent < left; sent += 64 << 10) {
			if (sender_send(&scene.move.sender, 64 << 10, &err) < 0)
				break;
			usleep((useconds_t)random() % 3000);
		}
		cut(&scene, (unsigned int)random());
		usleep((useconds_t)random() % 3000);
		/* One of the two sides finds it, which is enough: here both do in time. */
		ret = sender_send(&scene.move.sender, 64 << 10, &err);
		kinds[ret < 0]++;
		left = fetch_left(&scene.fetch);
		recover(&scene);
		CHECK(sender_pending(&scene.move.sender) <= left);
	}
	printf("# %d cuts, %d of them seen at once; %llu KiB were still missing after the last\n",
	       CUTS, kinds[1], (unsigned long long)(fetch_left(&scene.fetch) >> 10));
	CHECK(fetch_left(&scene.fetch) > 0);
	scene.pace_us = 0;
	__atomic_store_n(&scene.limit, ALL, __ATOMIC_RELAXED);
	move_all(&scene.move);
	finish(&scene);
}

/* Without a connection nobody gets an error: who waits does until there is one. */
TEST(postcopy_waits_for_a_new_connection)
{
	static struct scene scene;
	struct error err;
	uint64_t left;

	scene_open(&scene, 1, 0);
	scene.move.from[0].empty = scene.move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	handover(&scene);
	cut(&scene, 3);
	readers_start(&scene);
	usleep(1500000);
	left = fetch_left(&scene.fetch);
	usleep(300000);
	CHECK_EQ(fetch_left(&scene.fetch), left);
	CHECK(left > 0);
	CHECK_EQ(scene.fetch.claims.stats->poisoned, 0);
	recover(&scene);
	move_all(&scene.move);
	finish(&scene);
}

/* The source, while a thread of the destination's guest is what this process does. */
static void *send_slowly(void *data)
{
	struct scene *scene = data;
	struct error err = {};

	while (!__atomic_load_n(&scene->touched, __ATOMIC_RELAXED) &&
	       sender_send(&scene->move.sender, 64 << 10, &err) > 0)
		;
	CHECK_STR(err.message, "");
	return NULL;
}

/* What the bench compares with QEMU's: one vCPU that goes through its memory. */
TEST(postcopy_of_one_vcpu)
{
	static struct scene scene;
	struct blocktime result;
	struct error err = {};
	pthread_t source;
	uint64_t i, page;

	scene_open(&scene, 2, 2 << 20);
	scene.move.from[0].empty = scene.move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	handover(&scene);
	CHECK(!pthread_create(&source, NULL, send_slowly, &scene));
	for (i = 0; i < ALL; i++) {
		page = i * 1021 % ALL;
		scene.guest[page / PAGES][page % PAGES * WORDS]++;
	}
	__atomic_store_n(&scene.touched, true, __ATOMIC_RELAXED);
	pthread_join(source, NULL);
	uffd_blocktime(scene.fetch.uffd, &result);
	CHECK(result.sum.waits > 0 && result.n_threads == 1);
	printf("# one vCPU: %llu waits of %llu ns, %llu us in all\n",
	       (unsigned long long)result.sum.waits,
	       (unsigned long long)(result.sum.total_ns / result.sum.waits),
	       (unsigned long long)(result.sum.total_ns / 1000));
	sender_limit(&scene.move.sender, 0);
	move_all(&scene.move);
	arrived(&scene);
	hashes_check(&scene);
	scene_close(&scene);
}

/* A source that answers what it was not asked is cut off, and nothing of it is used. */
static void *touch(void *data)
{
	return (void *)(uintptr_t)*(volatile uint64_t *)data;
}

static uint8_t data[WIRE_MAX_PAYLOAD + 1];

/* A chunk is missing, and the source is the test; page 3 was asked for. */
static pthread_t touched(struct scene *scene)
{
	struct wire_frame frame = { .type = WIRE_MISSING, .length = 8 };
	struct error err = {};
	pthread_t thread;

	scene_open(scene, 1, 0);
	scene->move.from[0].empty = scene->move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene->move.sender, &err), 0);
	move_drain(&scene->move);
	memset(data, 0xff, 8);
	CHECK_EQ(fetch_missing(&scene->fetch, &frame, data, &err), 0);
	CHECK_EQ(intake_redirect(&scene->move.intake, &fetch_intake, &scene->fetch, &err), 0);
	CHECK_EQ(fetch_start(&scene->fetch, -1, &scene->move.destination, &err), 0);
	pthread_create(&thread, NULL, touch, scene->guest[0] + 3 * WORDS);
	CHECK_EQ(hear(scene->move.source.channels[1], &frame, data), WIRE_REQUEST);
	CHECK_EQ(frame.offset, 3 * PAGE);
	CHECK_EQ(frame.count, PAGE);
	memset(data, 0xa5, sizeof(data));
	return thread;
}

static void answer_wrongly(const struct wire_frame *wrong, const char *why)
{
	static struct scene scene;
	pthread_t thread = touched(&scene);
	struct error err = {};
	void *seen;

	CHECK_EQ(channel_send(scene.move.source.channels[1], wrong, data, &err), 0);
	move_broken(&scene.move.destination, &err);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, why);
	CHECK_EQ(fetch_left(&scene.fetch), 64 * PAGE);
	/* It still waits. */
	recover(&scene);
	move_all(&scene.move);
	pthread_join(thread, &seen);
	CHECK_EQ((uintptr_t)seen, scene.guest[0][3 * WORDS]);
	CHECK(is_right(&scene, 0, 3, scene.guest[0] + 3 * WORDS, 0));
	scene_close(&scene);
}

TEST(postcopy_refuses_what_was_not_asked_for)
{
	static const struct wire_frame wrong[] = {
		{ .type = WIRE_PAGES, .length = PAGE, .offset = 2 * PAGE },
		{ .type = WIRE_PAGES, .length = PAGE, .offset = 3 * PAGE, .block = 1 },
		{ .type = WIRE_PAGES, .length = 2 * PAGE, .offset = 3 * PAGE },
		{ .type = WIRE_PAGES, .length = WIRE_CHUNK, .offset = 3 * PAGE },
		{ .type = WIRE_ZERO, .count = 0, .offset = 3 * PAGE },
		{ .type = WIRE_ZERO, .count = 512, .offset = 3 * PAGE },
		{ .type = WIRE_ZERO, .count = 2 * PAGE, .offset = 3 * PAGE },
		{ .type = WIRE_ZERO, .count = UINT64_MAX - PAGE + 1, .offset = 3 * PAGE },
		{ .type = WIRE_ZERO, .count = PAGE, .offset = 4 * PAGE },
		{ .type = WIRE_PAGES_LZ4, .length = 10, .count = PAGE, .offset = 3 * PAGE },
		{ .type = WIRE_HASHES, .length = 8 },
		{ .type = WIRE_BARRIER, .offset = 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		answer_wrongly(&wrong[i], "urgent channel 0: a frame of type");
}

/* All of the chunk has come, but for what was asked for: that is not there yet. */
TEST(postcopy_barrier_waits_for_what_is_asked_for)
{
	struct wire_frame zeros = { .type = WIRE_ZERO, .count = WIRE_CHUNK };
	struct wire_frame page = { .type = WIRE_PAGES, .length = PAGE, .offset = 3 * PAGE };
	struct wire_frame barrier = { .type = WIRE_BARRIER, .offset = 2 };
	static struct scene scene;
	uint64_t start = now(), max_ns;
	pthread_t thread = touched(&scene);
	struct channel **channels = scene.move.source.channels;
	struct blocktime result;
	struct error err = {};
	void *seen;

	CHECK_EQ(channel_send(channels[0], &zeros, NULL, &err), 0);
	CHECK_EQ(channel_send(channels[0], &barrier, NULL, &err), 0);
	usleep(300000);
	CHECK_EQ(recv(scene.move.control[0].fd, data + 1, 1, MSG_DONTWAIT), -1);
	CHECK_EQ(fetch_left(&scene.fetch), PAGE);
	CHECK_EQ(channel_send(channels[1], &page, data, &err), 0);
	move_passed(&scene.move, 2);
	CHECK_EQ(fetch_left(&scene.fetch), 0);
	pthread_join(thread, &seen);
	CHECK(scene.guest[0][3 * WORDS] == (uintptr_t)seen && !scene.guest[0][4 * WORDS]);
	uffd_blocktime(scene.fetch.uffd, &result);
	max_ns = result.sum.max_ns;
	CHECK_EQ(result.sum.waits, 1);
	CHECK(max_ns >= 300 * MS && max_ns < now() - start);
	/* Of the bits that the time in us has. */
	CHECK_EQ(result.buckets[64 - __builtin_clzll(max_ns / 1000)], 1);
	CHECK_EQ(fetch_finish(&scene.fetch, &err), 0);
	scene_close(&scene);
}

static char room[] = "/tmp/postcopy-room-XXXXXX";

static void *make_room(void *data)
{
	while (!__atomic_load_n((bool *)data, __ATOMIC_RELAXED))
		usleep(10000);
	usleep(500000);
	CHECK_EQ(mount(NULL, room, NULL, MS_REMOUNT, "size=64m"), 0);
	return data;
}

/* A destination whose memory is full: the guest waits, and nothing is lost. */
TEST(postcopy_waits_for_room)
{
	static struct scene scene;
	bool full = false;
	pthread_t thread;
	struct error err;
	char path[64];
	int fd;

	CHECK(mkdtemp(room));
	CHECK_EQ(mount("none", room, "tmpfs", 0, "size=4m"), 0);
	snprintf(path, sizeof(path), "%s/guest", room);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_EQ(ftruncate(fd, BLOCKS * PAGES * PAGE), 0);
	scene_open_in(&scene, 2, 0, fd);
	close(fd);
	scene.move.from[0].empty = scene.move.from[1].empty = false;
	CHECK_EQ(sender_first_pass(&scene.move.sender, &err), 0);
	handover(&scene);
	pthread_create(&thread, NULL, make_room, &full);
	readers_start(&scene);
	usleep(1000000);
	CHECK(fetch_left(&scene.fetch) >= BLOCKS * PAGES * PAGE - (4 << 20));
	__atomic_store_n(&full, true, __ATOMIC_RELAXED);
	move_all(&scene.move);
	pthread_join(thread, NULL);
	finish(&scene);
	unlink(path);
	CHECK_EQ(umount(room), 0);
	rmdir(room);
}

/* The VMM has something else there by now: nothing can be put in its place. */
static void replace(struct scene *scene, uint64_t page)
{
	CHECK(mmap(scene->guest[0] + page * WORDS, PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
}

/* Who waits for that page would do so for ever: it is the end, and not the source's doing. */
static void ended(struct scene *scene)
{
	struct error err = {};

	move_broken(&scene->move.destination, &err);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "loading a page");
	CHECK_EQ(scene->move.err.code, EXIT_VMM);
	/* A source that comes back hears of it, too. */
	CHECK_EQ(fetch_received(&scene->fetch, &scene->move.control[1], &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
}

TEST(postcopy_ends_if_a_page_that_was_asked_for_has_no_place)
{
	const struct wire_frame page = { .type = WIRE_PAGES, .length = PAGE, .offset = 3 * PAGE };
	static struct scene scene;
	pthread_t thread = touched(&scene);
	struct error err = {};

	replace(&scene, 3);
	CHECK_EQ(channel_send(scene.move.source.channels[1], &page, data, &err), 0);
	ended(&scene);
	fetch_close(&scene.fetch);
	pthread_join(thread, NULL);
	scene_close(&scene);
}

TEST(postcopy_ends_if_a_page_that_comes_has_no_place)
{
	const struct wire_frame zeros = { .type = WIRE_ZERO, .count = WIRE_CHUNK };
	const struct wire_frame page = { .type = WIRE_PAGES, .length = PAGE, .offset = 3 * PAGE };
	static struct scene scene;
	pthread_t thread = touched(&scene);
	struct error err = {};

	replace(&scene, 8);
	CHECK_EQ(channel_send(scene.move.source.channels[1], &page, data, &err), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(channel_send(scene.move.source.channels[0], &zeros, NULL, &err), 0);
	ended(&scene);
	scene_close(&scene);
}
