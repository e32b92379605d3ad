// SPDX-License-Identifier: GPL-2.0-or-later
/* Post-copy, without a userfaultfd: what the other side says that is not so. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "postcopy/fetch.h"
#include "stream/bitmap.h"
#include "stream_move.h"
#include "uffd/claims.h"
#include "unit.h"

#define PAGES	1000u
#define CHUNK	((uint64_t)WIRE_CHUNK)

static uint8_t data[WIRE_MAX_PAYLOAD + 1];

/* A block of PAGES pages, all pending, and a source that answers. */
static void open_source(struct move *move)
{
	struct error err = {};

	*move = (struct move){ .channels = 2, .urgent = 2 };
	move_block(move, 1, PAGES);
	page_fill(move->from[0].fd, 1, PAGES, 5);
	page_punch(move->from[0].fd, 1 + 7, 2);
	move_open(move, 0);
	move->from[0].empty = false;
	CHECK_EQ(sender_first_pass(&move->sender, &err), 0);
	CHECK_EQ(sender_postcopy(&move->sender, &err), 0);
}

static void request_refused(const struct wire_frame *frame, const char *why)
{
	struct error err = {};
	struct move move;

	open_source(&move);
	CHECK_EQ(channel_send(move.destination.channels[3], frame, data, &err), 0);
	move_broken(&move.source, &err);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, why);
	CHECK_EQ(channel_sent(move.source.channels[3]), WIRE_HEADER_SIZE + WIRE_JOIN_SIZE);
	move_close(&move);
}

TEST(postcopy_requests_refused)
{
	static const struct {
		struct wire_frame frame;
		const char *why;
	} bad[] = {
		{ { .type = WIRE_REQUEST, .block = 1, .count = PAGE }, "memory block 1, which there is not" },
		{ { .type = WIRE_REQUEST, .block = UINT32_MAX, .count = PAGE }, "which there is not" },
		{ { .type = WIRE_REQUEST, .count = 0 }, "not pages of memory block 0" },
		{ { .type = WIRE_REQUEST, .count = 512 }, "not pages" },
		{ { .type = WIRE_REQUEST, .count = PAGE, .offset = 512 }, "not pages" },
		{ { .type = WIRE_REQUEST, .count = CHUNK + PAGE }, "not pages" },
		{ { .type = WIRE_REQUEST, .count = UINT64_MAX - PAGE + 1 }, "not pages" },
		{ { .type = WIRE_REQUEST, .count = PAGE, .offset = PAGES * PAGE }, "not pages" },
		{ { .type = WIRE_REQUEST, .count = 2 * PAGE, .offset = (PAGES - 1) * PAGE }, "not pages" },
		{ { .type = WIRE_REQUEST, .count = PAGE, .offset = UINT64_MAX - PAGE + 1 }, "not pages" },
		{ { .type = WIRE_HASH, .count = PAGE }, "urgent channel 1: a frame of type HASH" },
		{ { .type = WIRE_PAGES, .length = PAGE }, "a frame of type PAGES" },
		{ { .type = WIRE_VMM_DATA, .length = PAGE }, "a frame of type VMM_DATA" },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		request_refused(&bad[i].frame, bad[i].why);
}

/* Pages and zeros, in their order; and they are not pending any more. */
TEST(postcopy_requests_answered)
{
	struct wire_frame frame = { .type = WIRE_REQUEST, .offset = 5 * PAGE, .count = 6 * PAGE };
	static const uint64_t offsets[] = { 5, 7, 9 };
	struct error err = {};
	struct move move;
	int i;

	open_source(&move);
	CHECK_EQ(sender_pending(&move.sender), PAGES * PAGE);
	CHECK_EQ(channel_send(move.destination.channels[2], &frame, NULL, &err), 0);
	for (i = 0; i < 3; i++) {
		CHECK_EQ(channel_receive(move.destination.channels[2], &frame, data, &err), 0);
		CHECK_EQ(frame.type, i == 1 ? WIRE_ZERO : WIRE_PAGES);
		CHECK_EQ(frame.offset, offsets[i] * PAGE);
	}
	while (!sender_stats(&move.sender).requests)
		usleep(1000);
	CHECK_EQ(sender_send(&move.sender, 0, &err), 1);
	CHECK_EQ(sender_pending(&move.sender), (PAGES - 6) * PAGE);
	move_close(&move);
}

static int received(struct move *move, uint32_t block, uint64_t offset, uint32_t words)
{
	struct wire_frame frame = {
		.type = WIRE_RECEIVED, .block = block, .offset = offset, .length = words * 8,
	};
	struct error err = {};
	int ret = sender_received(&move->sender, &frame, data, &err);

	CHECK_EQ(err.code, ret ? EXIT_PEER : 0);
	return ret;
}

TEST(postcopy_received_is_not_sent_again)
{
	struct move move;

	open_source(&move);
	memset(data, 0, sizeof(data));
	data[8] = 0x0f;
	CHECK_EQ(received(&move, 0, 0, 2), 0);
	CHECK_EQ(received(&move, 0, 0, 2), 0);
	CHECK_EQ(sender_pending(&move.sender), (PAGES - 4) * PAGE);
	CHECK_EQ(received(&move, 0, 15 * 64 * PAGE, 1), 0);
	/* Outside of it, or not where a word begins. */
	CHECK_EQ(received(&move, 1, 0, 1), -1);
	CHECK_EQ(received(&move, 0, PAGE, 1), -1);
	CHECK_EQ(received(&move, 0, 15 * 64 * PAGE, 2), -1);
	CHECK_EQ(received(&move, 0, 0, 17), -1);
	CHECK_EQ(received(&move, 0, 64 * 64 * PAGE, 1), -1);
	CHECK_EQ(received(&move, 0, -(64 * PAGE), 1), -1);
	/* The last page is 999, in its word the 40th. */
	memset(data, 0xff, 5);
	CHECK_EQ(received(&move, 0, 15 * 64 * PAGE, 1), 0);
	CHECK_EQ(sender_pending(&move.sender), (PAGES - 44) * PAGE);
	data[5] = 1;
	CHECK_EQ(received(&move, 0, 15 * 64 * PAGE, 1), -1);
	CHECK_EQ(sender_pending(&move.sender), (PAGES - 44) * PAGE);
	move_close(&move);
}

TEST(postcopy_bitmap_comes_as_it_went)
{
	unsigned long map[(200000 + 63) / 64 + 1] = {};
	struct wire_frame frame;
	struct channel a, b;
	struct error err = {};
	size_t i, n = 0;
	int fds[2], size = 4 << 20;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	channel_open(&a, fds[0], "a");
	channel_open(&b, fds[1], "b");
	for (i = 0; i < 200000; i += 3)
		map[i / 64] |= 1ul << i % 64;
	CHECK_EQ(bitmap_send(&a, WIRE_MISSING, 3, map, 200000, &err), 0);
	CHECK_EQ(channel_receive(&b, &frame, data, &err), 0);
	CHECK_EQ(frame.type, WIRE_MISSING);
	CHECK_EQ(frame.block, 3);
	CHECK_EQ(bitmap_check(&frame, 200000, data, &err), 0);
	for (i = 0; i < frame.length / 8; i++, n++)
		CHECK(bitmap_word(data, i) == map[n]);
	CHECK_EQ(n, 3125);
	channel_close(&a);
	channel_close(&b);
}

/* Of a move that has no connections. */
static void close_memory(struct move *move)
{
	receiver_close(&move->receiver);
	free(move->bitmap[0]);
	close(move->from[0].fd);
	close(move->to[0].fd);
}

/* The VMM has the block in two regions, with something between them. */
static void open_fetch(struct move *move, struct fetch *fetch)
{
	const struct uffd_region regions[] = {
		{ .start = 1ull << 40, .size = 600 * PAGE, .page_size = PAGE, .modes = UFFD_MISSING },
		{ .start = 1ull << 41, .size = 400 * PAGE, .page_size = PAGE,
		  .offset = 600 * PAGE, .modes = UFFD_MISSING },
	};
	struct error err = {};

	*move = (struct move){};
	move_block(move, 1, PAGES);
	page_fill(move->to[0].fd, 0, PAGES + 3, 3);
	CHECK_EQ(receiver_open(&move->receiver, move->to, 1, &err), 0);
	CHECK_EQ(fetch_open(fetch, &move->receiver, regions, 2, &err), 0);
	CHECK_EQ(fetch_left(fetch), 0);
}

static int missing(struct fetch *fetch, uint32_t block, uint64_t offset, uint32_t words)
{
	struct wire_frame frame = {
		.type = WIRE_MISSING, .block = block, .offset = offset, .length = words * 8,
	};
	struct error err = {};
	int ret = fetch_missing(fetch, &frame, data, &err);

	CHECK_EQ(err.code, ret ? EXIT_PEER : 0);
	return ret;
}

TEST(postcopy_missing_is_dropped)
{
	struct fetch fetch;
	struct move move;
	uint64_t before;

	open_fetch(&move, &fetch);
	before = file_pages(move.to[0].fd);
	memset(data, 0, sizeof(data));
	CHECK_EQ(missing(&fetch, 1, 0, 1), -1);
	CHECK_EQ(missing(&fetch, 0, PAGE, 1), -1);
	CHECK_EQ(missing(&fetch, 0, 0, 17), -1);
	CHECK_EQ(missing(&fetch, 0, UINT64_MAX - 64 * PAGE + 1, 1), -1);
	data[5] = 1;
	CHECK_EQ(missing(&fetch, 0, 15 * 64 * PAGE, 1), -1);
	CHECK_EQ(fetch_left(&fetch), 0);
	CHECK_EQ(file_pages(move.to[0].fd), before);
	/* From the 590th to the 639th, across the two regions. */
	memset(data, 0xff, sizeof(data));
	data[0] = 0;
	data[1] = 0xc0;
	CHECK_EQ(missing(&fetch, 0, 9 * 64 * PAGE, 1), 0);
	CHECK_EQ(fetch_left(&fetch), 50 * PAGE);
	CHECK_EQ(file_pages(move.to[0].fd), before - 50);
	CHECK(!uffd_claim_is_done(&fetch.claims, 599) && !uffd_claim_is_done(&fetch.claims, 600));
	CHECK(uffd_claim_is_done(&fetch.claims, 589) && uffd_claim_is_done(&fetch.claims, 640));
	fetch_close(&fetch);
	close_memory(&move);
}

static void regions_refused(struct uffd_region second, const char *why)
{
	const struct uffd_region regions[] = {
		{ .start = 1ull << 40, .size = 600 * PAGE, .page_size = PAGE, .modes = UFFD_MISSING },
		second,
	};
	struct error err = {};
	struct fetch fetch;
	struct move move = {};

	move_block(&move, 1, PAGES);
	CHECK_EQ(receiver_open(&move.receiver, move.to, 1, &err), 0);
	CHECK_EQ(fetch_open(&fetch, &move.receiver, regions, 2, &err), -1);
	CHECK_HAS(err.message, why);
	fetch_close(&fetch);
	close_memory(&move);
}

TEST(postcopy_regions_are_all_memory)
{
	struct uffd_region r = {
		.start = 1ull << 41, .size = 400 * PAGE, .page_size = PAGE,
		.offset = 600 * PAGE, .modes = UFFD_MISSING,
	};

	r.size -= PAGE;
	regions_refused(r, "the VMM has registered");
	r.size += 2 * PAGE;
	regions_refused(r, "past the end");
	r.size -= PAGE;
	r.offset -= PAGE;
	regions_refused(r, "the same memory");
	r.offset += PAGE;
	r.page_size = 16384;
	regions_refused(r, "pages of 16384 bytes");
}

/* Bulk before it is known who would wait for it, and what is not memory of ours. */
TEST(postcopy_places_what_it_may)
{
	struct wire_frame frame = { .type = WIRE_PAGES, .length = PAGE };
	struct error err = {};
	struct fetch fetch;
	struct move move;

	open_fetch(&move, &fetch);
	CHECK_EQ(fetch_intake.place(&fetch, &frame, data, &err), -1);
	CHECK_HAS(err.message, "before it is asked to");
	frame.offset = PAGES * PAGE;
	CHECK_EQ(fetch_intake.place(&fetch, &frame, data, &err), -1);
	CHECK_HAS(err.message, "past the block's end");
	fetch_close(&fetch);
	close_memory(&move);
}

TEST(postcopy_claims_parked)
{
	struct uffd_claims claims;
	struct error err;

	CHECK(!uffd_claims_open(&claims, 1000, false, &err));
	CHECK_EQ(uffd_claim_parked(&claims, 0), 1000);
	CHECK_EQ(uffd_claim_run(&claims, 100, 3), 3);
	CHECK_EQ(uffd_claim_run(&claims, 98, 5), 2);
	uffd_claim_park(&claims, 101);
	uffd_claim_park(&claims, 998);
	CHECK_EQ(uffd_claim_parked(&claims, 0), 101);
	CHECK_EQ(uffd_claim_parked(&claims, 102), 998);
	/* Given back while nobody could have it. */
	CHECK(uffd_claim(&claims, 998));
	uffd_claim_remove(&claims, 998);
	CHECK(!uffd_claim_is_done(&claims, 998));
	uffd_claim_unpark(&claims, 998);
	CHECK(uffd_claim_is_done(&claims, 998) && !uffd_claim(&claims, 998));
	uffd_claim_unpark(&claims, 101);
	CHECK_EQ(uffd_claim_parked(&claims, 0), 1000);
	CHECK(uffd_claim(&claims, 101) && !uffd_claim_is_done(&claims, 101));
	uffd_claims_close(&claims);
	CHECK(!uffd_claims_open(&claims, 100, false, &err));
	uffd_claims_fill(&claims);
	CHECK_EQ(uffd_claims_left(&claims), 0);
	CHECK(!uffd_claims_busy(&claims));
	uffd_claim_lack(&claims, 99);
	CHECK_EQ(uffd_claims_left(&claims), 1);
	CHECK(!uffd_claims_busy(&claims) && uffd_claim(&claims, 99) && uffd_claims_busy(&claims));
	uffd_claims_close(&claims);
}

/* What was given back is sent again, to be compared. */
TEST(postcopy_received_is_what_is_there)
{
	struct wire_frame frame;
	struct channel a, b;
	struct error err = {};
	struct fetch fetch;
	struct move move;
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	channel_open(&a, fds[0], "a");
	channel_open(&b, fds[1], "b");
	open_fetch(&move, &fetch);
	memset(data, 0xff, 8);
	CHECK_EQ(missing(&fetch, 0, 9 * 64 * PAGE, 1), 0);
	uffd_claim_remove(&fetch.claims, 600);
	CHECK(uffd_claim(&fetch.claims, 601));
	CHECK(uffd_claim(&fetch.claims, 602));
	uffd_claim_done(&fetch.claims, 602);
	CHECK_EQ(fetch_received(&fetch, &a, &err), 0);
	CHECK_EQ(channel_receive(&b, &frame, data, &err), 0);
	CHECK_EQ(frame.type, WIRE_RECEIVED);
	CHECK_EQ(bitmap_check(&frame, PAGES, data, &err), 0);
	CHECK(bitmap_word(data, 8) == UINT64_MAX);
	CHECK(bitmap_word(data, 9) == 1ull << (602 - 9 * 64));
	CHECK(bitmap_word(data, 15) == (1ull << 40) - 1);
	channel_close(&a);
	channel_close(&b);
	fetch_close(&fetch);
	close_memory(&move);
}

TEST(blocktime_of_threads_and_pages)
{
	static struct blocktime_clock clock;
	struct blocktime result;
	uint32_t tid;

	blocktime_open(&clock);
	blocktime_begin(&clock, 7, 1, 1000);
	blocktime_begin(&clock, 7, 2, 2000);
	/* Asked for again over a new connection: it waits since the first time. */
	blocktime_begin(&clock, 7, 1, 5000);
	blocktime_end(&clock, 8, 10, 6000);
	blocktime_end(&clock, 0, 7, 6000);
	blocktime_get(&clock, &result);
	CHECK_EQ(result.sum.waits, 0);
	blocktime_end(&clock, 5, 3, 9000);
	blocktime_end(&clock, 7, 1, 10000);
	blocktime_get(&clock, &result);
	CHECK_EQ(result.sum.waits, 2);
	CHECK_EQ(result.sum.total_ns, 15000);
	CHECK_EQ(result.sum.max_ns, 8000);
	CHECK_EQ(result.n_threads, 2);
	CHECK_EQ(result.threads[0].sum.total_ns + result.threads[1].sum.total_ns, 15000);
	/* 8 and 7 us. */
	CHECK_EQ(result.buckets[3], 1);
	CHECK_EQ(result.buckets[4], 1);
	/* Woken by a signal, and then waits for another page. */
	blocktime_begin(&clock, 1, 1, 0);
	blocktime_begin(&clock, 2, 1, 1000);
	blocktime_end(&clock, 1, 2, 3000);
	/* Not known: one wait for each page. */
	blocktime_begin(&clock, 3, 0, 0);
	blocktime_begin(&clock, 3, 0, 1000);
	blocktime_begin(&clock, 4, 0, 1000);
	blocktime_end(&clock, 3, 2, 1ull << 60);
	blocktime_get(&clock, &result);
	CHECK_EQ(result.sum.waits, 5);
	CHECK_EQ(result.n_threads, 2);
	CHECK_EQ(result.buckets[BLOCKTIME_BUCKETS - 1], 2);
	CHECK_EQ(result.threads[0].sum.waits + result.threads[1].sum.waits, 3);
	/* More threads, and more at once, than there is room for. */
	for (tid = 1; tid < 2000; tid++)
		blocktime_begin(&clock, tid, tid, 0);
	blocktime_end(&clock, 0, 3000, 1000);
	blocktime_get(&clock, &result);
	CHECK_EQ(result.n_threads, BLOCKTIME_THREADS);
	CHECK_EQ(result.sum.waits, 5 + BLOCKTIME_WAITS);
	blocktime_close(&clock);
}
