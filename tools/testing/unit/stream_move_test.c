// SPDX-License-Identifier: GPL-2.0-or-later
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "stream_move.h"
#include "unit.h"

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void first_pass(struct move *move)
{
	struct error err;

	CHECK_EQ(sender_first_pass(&move->sender, &err), 0);
	move_all(move);
}

static void harvest(struct move *move)
{
	size_t i;

	for (i = 0; i < move->nblocks; i++)
		sender_harvest(&move->sender, i, move->bitmap[i]);
}

/* Pages, holes and zeros in runs of many lengths, at odd places of the file. */
TEST(move_data_holes_and_zeros)
{
	static const uint8_t zeros[8 * PAGE];
	struct move move = { };
	uint64_t page, n, data = 0;

	move_block(&move, 3, 3001);
	move_block(&move, 0, 1);
	move_block(&move, 5, 700);
	for (page = 3, n = 1; page + n < 3004; page += n, n = n * 3 % 509) {
		switch (n % 3) {
		case 0:
			CHECK_EQ(pwrite(move.from[0].fd, zeros,
					n % 8 * PAGE, (off_t)(page * PAGE)),
				 n % 8 * PAGE);
			break;
		default:
			page_fill(move.from[0].fd, page, n, 1);
			data += n;
			n += 2;
		}
	}
	/* What is around the blocks is not sent. */
	page_fill(move.from[0].fd, 0, 3, 9);
	page_fill(move.from[0].fd, 3004, 2, 9);
	page_fill(move.from[1].fd, 0, 1, 2);
	page_fill(move.from[2].fd, 5, 700, 3);
	move_open(&move, 0);
	first_pass(&move);
	CHECK(move_is_equal(&move));
	CHECK_EQ(sender_stats(&move.sender).pages, data + 1 + 700);
	CHECK_EQ(move.receiver.pages, data + 1 + 700);
	CHECK_EQ(move.intake.bytes, sender_stats(&move.sender).bytes + WIRE_HEADER_SIZE);
	CHECK_EQ(sender_stats(&move.sender).passes, 1);
	CHECK_EQ(file_pages(move.to[0].fd), data);
	CHECK_EQ(file_pages(move.to[2].fd), 700);
	move_close(&move);
	CHECK_EQ(move.failed, 0);
}

/* A hole stays one on both sides, and costs nothing if the other is empty. */
TEST(move_holes_of_an_empty_destination_are_skipped)
{
	struct move move = { };
	struct error err;

	move_block(&move, 0, 100000);
	page_fill(move.from[0].fd, 777, 3, 1);
	page_fill(move.from[0].fd, 99999, 1, 1);
	move_open(&move, 0);
	CHECK(move.from[0].empty);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	CHECK_EQ(sender_pending(&move.sender), 4 * PAGE);
	move_all(&move);
	CHECK_EQ(sender_stats(&move.sender).bytes, 4 * PAGE + 2 * WIRE_HEADER_SIZE);
	CHECK(move_is_equal(&move));
	CHECK_EQ(file_pages(move.from[0].fd), 4);
	CHECK_EQ(file_pages(move.to[0].fd), 4);
	move_close(&move);
}

/* The setup sync finds all pages: of these, too, only what has data is pending. */
TEST(move_holes_that_the_setup_sync_found_are_skipped)
{
	struct move move = { };
	struct error err;

	move_block(&move, 0, 1000);
	page_fill(move.from[0].fd, 777, 3, 1);
	move_open(&move, 0);
	bitmap_mark(move.bitmap[0], 0, 1000);
	harvest(&move);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	CHECK_EQ(sender_pending(&move.sender), 3 * PAGE);
	CHECK_EQ(move.sender.blocks[0].moved, 997 * PAGE);
	move_all(&move);
	CHECK_EQ(sender_stats(&move.sender).zero_pages, 0);
	CHECK(move_is_equal(&move));
	move_close(&move);
}

/* What the destination had before is gone, in holes, too. */
TEST(move_holes_to_a_destination_with_data_are_zeros)
{
	struct move move = { };

	move_block(&move, 1, 3000);
	page_fill(move.from[0].fd, 1500, 10, 1);
	page_fill(move.to[0].fd, 1, 3000, 7);
	move_open(&move, 0);
	CHECK(!move.from[0].empty);
	first_pass(&move);
	CHECK(move_is_equal(&move));
	CHECK_EQ(sender_stats(&move.sender).pages, 10);
	CHECK_EQ(sender_stats(&move.sender).zero_pages, 2990);
	/* In runs of a chunk: zeros cost next to nothing. */
	CHECK(sender_stats(&move.sender).bytes < 10 * PAGE + 60 * WIRE_HEADER_SIZE);
	CHECK_EQ(file_pages(move.from[0].fd), 10);
	CHECK_EQ(file_pages(move.to[0].fd), 10);
	move_close(&move);
}

TEST(receiver_empty_is_of_the_blocks_range)
{
	struct move move = { };

	move_block(&move, 4, 10);
	CHECK(receiver_is_empty(&move.to[0]));
	page_fill(move.to[0].fd, 3, 1, 1);
	page_fill(move.to[0].fd, 14, 1, 1);
	CHECK(receiver_is_empty(&move.to[0]));
	page_fill(move.to[0].fd, 13, 1, 1);
	CHECK(!receiver_is_empty(&move.to[0]));
	page_punch(move.to[0].fd, 13, 1);
	page_fill(move.to[0].fd, 4, 1, 1);
	CHECK(!receiver_is_empty(&move.to[0]));
	move_open(&move, 0);
	move_close(&move);
}

TEST(move_page_that_becomes_zero_or_a_hole)
{
	static const uint8_t zeros[PAGE];
	struct move move = { };

	move_block(&move, 2, 1000);
	page_fill(move.from[0].fd, 2, 1000, 1);
	move_open(&move, 0);
	first_pass(&move);
	CHECK_EQ(file_pages(move.to[0].fd), 1000);
	/* Pages 10, 20 to 29 of the block, and its last. */
	CHECK_EQ(pwrite(move.from[0].fd, zeros, PAGE, 12 * PAGE), PAGE);
	bitmap_mark(move.bitmap[0], 10, 1);
	page_punch(move.from[0].fd, 22, 10);
	bitmap_mark(move.bitmap[0], 20, 10);
	page_punch(move.from[0].fd, 1001, 1);
	bitmap_mark(move.bitmap[0], 999, 1);
	harvest(&move);
	CHECK_EQ(move.bitmap[0][0], 0);
	CHECK_EQ(sender_pending(&move.sender), 12 * PAGE);
	move_all(&move);
	CHECK(move_is_equal(&move));
	CHECK_EQ(sender_stats(&move.sender).zero_pages, 12);
	CHECK_EQ(file_pages(move.to[0].fd), 988);
	move_close(&move);
}

/* Only what is dirty goes, adjacent pages together, none twice. */
TEST(move_sends_what_was_harvested)
{
	struct move move = { };
	uint64_t bytes;

	move_block(&move, 0, 1000);
	move_block(&move, 0, 64);
	move_open(&move, 0);
	first_pass(&move);
	CHECK_EQ(sender_stats(&move.sender).bytes, 0);
	page_fill(move.from[0].fd, 60, 400, 1);
	bitmap_mark(move.bitmap[0], 60, 400);
	page_fill(move.from[1].fd, 63, 1, 1);
	bitmap_mark(move.bitmap[1], 63, 1);
	/* Bits past the end mean nothing. */
	bitmap_mark(move.bitmap[0], 1000, 8);
	harvest(&move);
	CHECK_EQ(sender_pending(&move.sender), 401 * PAGE);
	/* Again, before they were sent: still once each. */
	bitmap_mark(move.bitmap[0], 100, 10);
	harvest(&move);
	CHECK_EQ(sender_pending(&move.sender), 401 * PAGE);
	move_all(&move);
	bytes = 401 * PAGE + 9 * WIRE_HEADER_SIZE;
	CHECK_EQ(sender_stats(&move.sender).bytes, bytes);
	CHECK(move_is_equal(&move));
	harvest(&move);
	CHECK_EQ(sender_pending(&move.sender), 0);
	move_close(&move);
}

/* What a sync counts is what is left: found by it, or by one before and not sent. */
TEST(move_gives_back_what_was_not_sent)
{
	struct move move = { };
	struct error err;
	size_t i, left = 0;

	move_block(&move, 0, 1000);
	move_open(&move, 0);
	first_pass(&move);
	/* All holes: nothing was sent, and nothing is left. */
	CHECK_EQ(move.sender.blocks[0].moved, 1000 * PAGE);
	page_fill(move.from[0].fd, 100, 600, 1);
	bitmap_mark(move.bitmap[0], 100, 600);
	harvest(&move);
	CHECK_EQ(sender_send(&move.sender, 200 * PAGE, &err), 1);
	CHECK_EQ(sender_pending(&move.sender), 400 * PAGE);
	CHECK_EQ(move.sender.blocks[0].moved, 1200 * PAGE);

	/* One of what is left is written again, and one of what was sent. */
	page_fill(move.from[0].fd, 650, 1, 2);
	bitmap_mark(move.bitmap[0], 650, 1);
	page_fill(move.from[0].fd, 110, 1, 2);
	bitmap_mark(move.bitmap[0], 110, 1);
	sender_give_back(&move.sender, 0, move.bitmap[0]);
	CHECK_EQ(sender_pending(&move.sender), 0);
	CHECK_EQ(move.sender.blocks[0].moved, 1200 * PAGE);
	for (i = 0; i < 1000 / 64 + 1; i++)
		left += (size_t)__builtin_popcountl(move.bitmap[0][i]);
	CHECK_EQ(left, 401);
	harvest(&move);
	CHECK_EQ(sender_pending(&move.sender), 401 * PAGE);
	move_all(&move);
	CHECK_EQ(move.sender.blocks[0].moved, 1601 * PAGE);
	CHECK(move_is_equal(&move));
	move_close(&move);
}

TEST(move_goes_round_the_blocks_in_small_steps)
{
	struct move move = { };
	struct error err;
	int ret, steps = 0;

	move_block(&move, 0, 300);
	move_block(&move, 0, 300);
	page_fill(move.from[0].fd, 0, 300, 1);
	page_fill(move.from[1].fd, 0, 300, 2);
	move_open(&move, 0);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	CHECK_EQ(sender_send(&move.sender, 0, &err), 1);
	CHECK_EQ(sender_send(&move.sender, 10 * PAGE, &err), 1);
	CHECK_EQ(sender_pending(&move.sender), 590 * PAGE);
	/* Behind the cursor: it comes in the next round, after block 1. */
	page_fill(move.from[0].fd, 5, 1, 7);
	bitmap_mark(move.bitmap[0], 5, 1);
	harvest(&move);
	do {
		ret = sender_send(&move.sender, 50 * PAGE + 1, &err);
		if (move.from[1].npending)
			CHECK_EQ(move.from[0].pending[0] & 1ul << 5, 1ul << 5);
		steps++;
	} while (ret > 0);
	CHECK_EQ(ret, 0);
	CHECK_EQ(steps, 12);
	move_all(&move);
	CHECK_EQ(sender_stats(&move.sender).pages, 601);
	CHECK_EQ(sender_stats(&move.sender).passes, 2);
	CHECK(move_is_equal(&move));
	move_close(&move);
}

static void send_all(struct move *move)
{
	struct error err;

	while (sender_send(&move->sender, 5 << 20, &err) > 0)
		;
}

struct writer {
	struct move *move;
	uint8_t *memory;
	uint64_t writes;
	bool stop;
};

/* A guest: writes, then the kernel's bit is set. */
static void *writer_thread(void *data)
{
	struct writer *w = data;
	uint64_t x = 88172645463325252, page;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		page = x % 2000;
		if (x >> 60)
			memcpy(w->memory + page * PAGE + (x >> 32) % 511 * 8, &x, 8);
		else
			memset(w->memory + page * PAGE, 0, PAGE);
		bitmap_mark(w->move->bitmap[0], page, 1);
		__atomic_add_fetch(&w->writes, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* However busy the machine is, there is something to send. */
static void await_writes(const struct writer *w, uint64_t n)
{
	while (__atomic_load_n(&w->writes, __ATOMIC_RELAXED) < n)
		sched_yield();
}

/* The last copy of each page is the one that is there, over many channels. */
static void with_a_writer(unsigned int channels, enum codec codec)
{
	struct move move = { .channels = channels, .codec = codec };
	struct writer w = { };
	pthread_t thread;
	int i;

	move_block(&move, 1, 2000);
	page_fill(move.from[0].fd, 1, 2000, 1);
	w.move = &move;
	w.memory = mmap(NULL, 2000 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			move.from[0].fd, PAGE);
	CHECK(w.memory != MAP_FAILED);
	move_open(&move, 0);
	pthread_create(&thread, NULL, writer_thread, &w);
	first_pass(&move);
	for (i = 0; i < 30; i++) {
		await_writes(&w, 100 * ((uint64_t)i + 1));
		harvest(&move);
		/* Several copies of a page may be on their way at a time. */
		if (i % 3)
			send_all(&move);
		else
			move_all(&move);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	harvest(&move);
	move_all(&move);
	CHECK(move_is_equal(&move));
	CHECK(sender_stats(&move.sender).pages > 2000);
	CHECK(sender_stats(&move.sender).zero_pages);
	CHECK(!move.failed);
	munmap(w.memory, 2000 * PAGE);
	move_close(&move);
}

TEST(move_with_a_writer_is_equal_after_the_last_pass)
{
	with_a_writer(1, CODEC_NONE);
	with_a_writer(2, CODEC_NONE);
	with_a_writer(5, CODEC_LZ4);
	with_a_writer(16, CODEC_NONE);
	with_a_writer(3, CODEC_ZSTD);
}

/* What can be made smaller is, what can't goes as it is, and all arrives. */
static void compressed(enum codec codec)
{
	struct move move = { .channels = 2, .codec = codec };
	uint8_t text[PAGE];
	uint64_t page;

	move_block(&move, 0, 1000);
	for (page = 0; page < 500; page++) {
		memset(text, (int)page | 1, sizeof(text));
		memcpy(text, &page, sizeof(page));
		CHECK_EQ(pwrite(move.from[0].fd, text, PAGE, (off_t)(page * PAGE)), PAGE);
	}
	page_fill(move.from[0].fd, 500, 500, 1);
	move_open(&move, 0);
	first_pass(&move);
	CHECK(move_is_equal(&move));
	CHECK_EQ(sender_stats(&move.sender).pages, 1000);
	CHECK(sender_stats(&move.sender).bytes > 500 * PAGE);
	CHECK(sender_stats(&move.sender).bytes < 520 * PAGE);
	move_close(&move);
}

TEST(move_compresses_what_gets_smaller)
{
	compressed(CODEC_LZ4);
	compressed(CODEC_ZSTD);
}

/* Seconds to send @pages at @rate, and what the longest call took. */
static double limited(uint64_t pages, uint64_t rate, double *longest)
{
	struct move move = { };
	double start, call, took;
	struct error err;
	int ret;

	move_block(&move, 0, pages);
	page_fill(move.from[0].fd, 0, pages, 1);
	move_open(&move, rate);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	*longest = 0;
	start = now();
	do {
		call = now();
		ret = sender_send(&move.sender, 1 << 20, &err);
		call = now() - call;
		*longest = call > *longest ? call : *longest;
	} while (ret > 0);
	CHECK_EQ(ret, 0);
	took = now() - start;
	move_all(&move);
	CHECK(move_is_equal(&move));
	move_close(&move);
	return took;
}

/* Never faster; and not slower, in calls that return soon, but a busy machine may be. */
static void check_rate(uint64_t pages, uint64_t rate)
{
	double bytes = (double)(pages * PAGE), measured = 0, longest = 1, unlimited, ignored;
	int tries;

	for (tries = 0; tries < 5 && (measured < 0.8 * (double)rate || longest > 0.4); tries++) {
		measured = bytes / limited(pages, rate, &longest);
		printf("# limit %.0f kB/s, measured %.0f, the longest call %.3f s\n",
		       (double)rate / 1e3, measured / 1e3, longest);
		CHECK(measured < 1.2 * (double)rate);
	}
	CHECK(longest < 0.4);
	if (measured > 0.8 * (double)rate)
		return;
	unlimited = bytes / limited(pages, 0, &ignored);
	printf("# without a limit %.0f kB/s\n", unlimited / 1e3);
	CHECK(unlimited < 2 * (double)rate);
}

TEST(move_keeps_to_the_bandwidth_limit)
{
	check_rate(100, 300000);
	check_rate(5000, 20000000);
	check_rate(10000, 40000000);
}

TEST(move_names_the_block_whose_file_is_too_short)
{
	struct move move = { };
	struct error err;
	uint64_t hash;

	move_block(&move, 0, 300);
	move_block(&move, 0, 300);
	page_fill(move.from[1].fd, 0, 300, 1);
	move_open(&move, 0);
	CHECK_EQ(ftruncate(move.from[1].fd, 299 * PAGE), 0);
	bitmap_mark(move.bitmap[1], 290, 10);
	harvest(&move);
	CHECK(sender_send(&move.sender, 1 << 20, &err) <= 0);
	move_broken(&move.source, &err);
	CHECK_STR(err.message,
		  "memory block 1 ram: its file ends before the block does");
	CHECK_EQ(sender_hash(&move.sender, 1, 299 * PAGE, 1, &hash, &err), -1);
	CHECK_HAS(err.message, "block 1");
	CHECK_EQ(sender_hash(&move.sender, 1, 298 * PAGE, 1, &hash, &err), 0);
	CHECK_EQ(sender_hash(&move.sender, 1, 300 * PAGE, 1, &hash, &err), -1);
	CHECK_EQ(sender_hash(&move.sender, 1, 1, 1, &hash, &err), -1);
	CHECK_EQ(sender_hash(&move.sender, 0, 299 * PAGE, 2, &hash, &err), -1);
	CHECK_EQ(sender_hash(&move.sender, 0, PAGE, SIZE_MAX, &hash, &err), -1);
	CHECK_EQ(sender_hash(&move.sender, 2, 0, 1, &hash, &err), -1);
	move_close(&move);
}

TEST(sender_refuses_blocks_that_are_none)
{
	struct sender_block block = { .fd = memfd_create("unit", 0) };
	const struct sender_options options = { .level = 1 };
	const uint8_t id[WIRE_ID_SIZE] = { };
	struct channel control;
	struct sender sender;
	struct link link;
	struct error err;

	channel_open(&control, -1, "nobody");
	CHECK_EQ(link_open(&link, &control, 1, id, NULL, &err), 0);
	CHECK_EQ(ftruncate(block.fd, 10 * PAGE), 0);
	block.size = 11 * PAGE;
	CHECK_EQ(sender_open(&sender, &link, &block, 1, &options, &err), -1);
	CHECK_STR(err.message,
		  "memory block 0: its file ends before the block does");
	block.size = 10 * PAGE - 1;
	CHECK_EQ(sender_open(&sender, &link, &block, 1, &options, &err), -1);
	CHECK_HAS(err.message, "not made of whole pages");
	block.size = PAGE;
	block.offset = 0xfffffffffffff000;
	CHECK_EQ(sender_open(&sender, &link, &block, 1, &options, &err), -1);
	block.size = PAGE;
	block.offset = 100;
	CHECK_EQ(sender_open(&sender, &link, &block, 1, &options, &err), -1);
	close(block.fd);
	block.offset = 0;
	CHECK_EQ(sender_open(&sender, &link, &block, 1, &options, &err), -1);
	sender_close(&sender);
	link_close(&link);
}

TEST(sender_fails_when_the_connection_does)
{
	struct move move = { };
	struct error err;

	move_block(&move, 0, 10000);
	page_fill(move.from[0].fd, 0, 10000, 1);
	move_open(&move, 0);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	link_close(&move.destination);
	/* Sooner or later: sockets hold some of it. */
	while (!sender_send(&move.sender, UINT64_MAX, &err))
		bitmap_mark(move.bitmap[0], 0, 10000), harvest(&move);
	CHECK_EQ(err.code, EXIT_PEER);
	move_close(&move);
}

/* The destination takes nothing: whoever sends can look at other things, and end. */
TEST(sender_does_not_hang_on_a_stalled_channel)
{
	struct move move = { .channels = 2 };
	double start, call;
	struct error err;
	int ret, stuck = 0;

	move_block(&move, 0, 50000);
	page_fill(move.from[0].fd, 0, 50000, 1);
	move_open(&move, 0);
	CHECK_EQ(sender_first_pass(&move.sender, &err), 0);
	pthread_mutex_lock(&move.intake.lanes[1].lock);
	do {
		call = now();
		ret = sender_send(&move.sender, UINT64_MAX, &err);
		CHECK(now() - call < 5);
		stuck++;
	} while (ret > 0 && stuck < 10);
	CHECK_EQ(ret, 1);
	CHECK(sender_pending(&move.sender));
	start = now();
	sender_close(&move.sender);
	CHECK(now() - start < 5);
	pthread_mutex_unlock(&move.intake.lanes[1].lock);
	move_close(&move);
}
