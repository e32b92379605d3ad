// SPDX-License-Identifier: GPL-2.0-or-later
/* A source that lies, breaks off or does things in the wrong order. */
#include <lz4.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "stream/hash.h"
#include "stream_move.h"
#include "unit.h"

#define PAGES	1000
#define CHUNK	((uint64_t)WIRE_CHUNK)

static uint8_t data[WIRE_MAX_PAYLOAD + 1];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A block of PAGES pages, and @channels channels whose source is the test. */
static void open_raw(struct move *move, unsigned int channels, enum codec codec)
{
	struct error err;

	*move = (struct move){ .channels = channels, .codec = codec };
	memset(data, 0xa5, sizeof(data));
	move_block(move, 1, PAGES);
	CHECK_EQ(receiver_open(&move->receiver, move->to, 1, &err), 0);
	move_link(move);
}

static void say(struct move *move, unsigned int channel,
		const struct wire_frame *frame)
{
	struct error err;

	CHECK_EQ(channel_send(move->source.channels[channel], frame, data, &err), 0);
}

/* The destination fails for this reason, and has written nothing more. */
static void check_failed(struct move *move, const char *why, uint64_t pages)
{
	struct error err = { };

	move_broken(&move->destination, &err);
	CHECK_HAS(err.message, why);
	CHECK_EQ(file_pages(move->to[0].fd), pages);
	CHECK_EQ(move->receiver.pages, pages);
	move_close(move);
}

static void check_refused(const struct wire_frame *frame, const char *why)
{
	struct move move;

	open_raw(&move, 2, CODEC_NONE);
	say(&move, 0, frame);
	check_failed(&move, why, 0);
	CHECK_EQ(move.err.code, EXIT_PEER);
}

TEST(intake_refuses_what_is_not_in_its_place)
{
	static const struct {
		struct wire_frame frame;
		const char *why;
	} bad[] = {
		{ { .type = WIRE_PAGES, .length = PAGE, .offset = CHUNK },
		  "data channel 0: memory that belongs on another channel" },
		{ { .type = WIRE_PAGES, .length = PAGE, .block = 1 },
		  "belongs on another channel" },
		{ { .type = WIRE_PAGES, .length = 2 * PAGE, .offset = CHUNK - PAGE },
		  "not of one chunk" },
		{ { .type = WIRE_PAGES, .length = CHUNK, .offset = PAGE },
		  "not of one chunk" },
		{ { .type = WIRE_PAGES, .length = PAGE, .block = 2 },
		  "there is no such block" },
		{ { .type = WIRE_PAGES, .length = PAGE, .offset = 512 },
		  "not whole pages" },
		{ { .type = WIRE_PAGES, .length = PAGE, .offset = 1000 * CHUNK },
		  "past the block's end" },
		{ { .type = WIRE_ZERO, .count = CHUNK + PAGE }, "not of one chunk" },
		{ { .type = WIRE_ZERO, .count = 0 }, "not of one chunk" },
		{ { .type = WIRE_ZERO, .count = UINT64_MAX }, "not of one chunk" },
		{ { .type = WIRE_ZERO, .count = 512 }, "not of one chunk" },
		{ { .type = WIRE_ZERO, .count = PAGE, .offset = UINT64_MAX - 511 },
		  "not of one chunk" },
		{ { .type = WIRE_PAGES_LZ4, .length = 10, .count = PAGE },
		  "a compression that was not agreed on" },
		{ { .type = WIRE_PAGES_ZSTD, .length = 10, .count = PAGE },
		  "a compression that was not agreed on" },
		{ { .type = WIRE_GO }, "a frame of the control channel" },
		{ { .type = WIRE_VMM_DATA, .length = 10 },
		  "a frame of the control channel" },
		{ { .type = WIRE_JOIN, .length = WIRE_JOIN_SIZE },
		  "a frame of the control channel" },
		{ { .type = WIRE_BARRIER, .offset = 0 }, "not the next" },
		{ { .type = WIRE_BARRIER, .offset = 2 }, "not the next" },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_refused(&bad[i].frame, bad[i].why);
}

/* Whatever bit is changed on the way: nothing of it is written. */
static void changed(size_t bit)
{
	struct wire_frame frame = { .type = WIRE_PAGES, .length = PAGE };
	uint8_t bytes[WIRE_HEADER_SIZE + PAGE];
	struct error err = { };
	struct move move;

	open_raw(&move, 2, CODEC_NONE);
	frame.checksum = wire_checksum(&frame, data);
	wire_encode(bytes, &frame);
	memcpy(bytes + WIRE_HEADER_SIZE, data, PAGE);
	bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	CHECK_EQ(send(move.source.channels[0]->fd, bytes, sizeof(bytes), 0),
		 sizeof(bytes));
	shutdown(move.source.channels[0]->fd, SHUT_WR);
	move_broken(&move.destination, &err);
	CHECK_EQ(err.code, EXIT_PEER);
	if (bit >= 8 * 12)
		CHECK_HAS(err.message,
			  "data channel 0: a frame of type PAGES has a wrong checksum");
	CHECK_EQ(file_pages(move.to[0].fd), 0);
	move_close(&move);
}

TEST(intake_refuses_a_frame_that_was_changed)
{
	size_t bit;

	for (bit = 0; bit < 8 * WIRE_HEADER_SIZE; bit += 5)
		changed(bit);
	for (; bit < 8 * (WIRE_HEADER_SIZE + PAGE); bit += 4001)
		changed(bit);
}

/* The control channel's, too. */
TEST(channel_refuses_a_frame_that_was_changed)
{
	struct wire_frame frame = { .type = WIRE_GO, .count = 0 };
	uint8_t header[WIRE_HEADER_SIZE];
	struct channel a, b;
	struct error err;
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	channel_open(&a, fds[0], "host:1");
	channel_open(&b, fds[1], "host:2");
	frame.checksum = wire_checksum(&frame, NULL);
	frame.count = 1;
	wire_encode(header, &frame);
	CHECK_EQ(send(b.fd, header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(channel_receive(&a, &frame, data, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_STR(err.message, "host:1: control channel: a frame of type GO has a wrong checksum: it was changed on its way");
	channel_close(&a);
	channel_close(&b);
}

TEST(channel_names_another_version)
{
	uint8_t header[WIRE_HEADER_SIZE] = "MIGT";
	struct wire_frame frame;
	struct channel a, b;
	struct error err;
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	channel_open(&a, fds[0], "host:1");
	channel_open(&b, fds[1], "host:2");
	CHECK_EQ(send(b.fd, header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(channel_receive(&a, &frame, data, &err), -1);
	CHECK_STR(err.message, "host:1: the peer speaks version 1 of the migration stream, this side version 2");
	CHECK_HAS(err.advice, "same version");
	channel_close(&a);
	channel_close(&b);
}

/* Cut at every place: the header, the payload, between two frames. */
TEST(intake_fails_when_a_channel_dies)
{
	static const size_t cuts[] = { 0, 1, 39, 40, 41, 4096, 4135 };
	struct wire_frame frame = { .type = WIRE_PAGES, .length = PAGE };
	uint8_t bytes[WIRE_HEADER_SIZE + PAGE];
	struct error err = { };
	struct move move;
	double start;
	size_t i;

	for (i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		open_raw(&move, 3, CODEC_NONE);
		frame.checksum = wire_checksum(&frame, data);
		wire_encode(bytes, &frame);
		memcpy(bytes + WIRE_HEADER_SIZE, data, PAGE);
		CHECK_EQ(send(move.source.channels[0]->fd, bytes, cuts[i], 0),
			 cuts[i]);
		start = now();
		shutdown(move.source.channels[0]->fd, SHUT_WR);
		move_broken(&move.destination, &err);
		CHECK(now() - start < 5);
		CHECK_EQ(err.code, EXIT_PEER);
		CHECK_HAS(err.message, cuts[i] ?
			  "closed the connection in the middle of a frame" :
			  "closed the connection");
		CHECK_EQ(file_pages(move.to[0].fd), 0);
		move_close(&move);
	}
}

/* All channels have to pass it. */
TEST(intake_barrier_is_of_all_channels)
{
	struct wire_frame pages = { .type = WIRE_PAGES, .length = PAGE };
	struct wire_frame barrier = { .type = WIRE_BARRIER, .offset = 1 };
	struct error err = { };
	struct move move;

	open_raw(&move, 3, CODEC_NONE);
	CHECK_EQ(intake_rests(&move.intake, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_EQ(intake_close(&move.intake, &err), -1);
	say(&move, 2, &barrier);
	say(&move, 0, &pages);
	say(&move, 0, &barrier);
	usleep(100000);
	CHECK_EQ(intake_rests(&move.intake, &err), -1);
	CHECK_EQ(recv(move.control[0].fd, data, 1, MSG_DONTWAIT), -1);
	say(&move, 1, &barrier);
	move_passed(&move, 1);
	CHECK_EQ(move.receiver.pages, 1);
	/* Memory after it: the next one is awaited. */
	pages.offset = 3 * CHUNK;
	say(&move, 0, &pages);
	while (__atomic_load_n(&move.receiver.pages, __ATOMIC_RELAXED) < 2)
		usleep(1000);
	CHECK_EQ(intake_rests(&move.intake, &err), -1);
	CHECK_EQ(intake_close(&move.intake, &err), -1);
	CHECK_HAS(err.message, "data channel 0: not all of its memory has come yet");
	barrier.offset = 2;
	say(&move, 0, &barrier);
	say(&move, 1, &barrier);
	say(&move, 2, &barrier);
	move_passed(&move, 2);
	CHECK_EQ(intake_close(&move.intake, &err), 0);
	/* The guest runs: it is its memory now. */
	say(&move, 0, &pages);
	check_failed(&move, "data channel 0: memory after the handover", 2);
}

TEST(intake_barrier_is_not_passed_twice)
{
	struct wire_frame barrier = { .type = WIRE_BARRIER, .offset = 1 };
	struct move move;

	open_raw(&move, 2, CODEC_NONE);
	say(&move, 0, &barrier);
	say(&move, 0, &barrier);
	check_failed(&move, "a barrier that is not the next", 0);
}

/* After the handover the source may go. */
TEST(intake_lets_the_source_go_after_the_handover)
{
	struct wire_frame barrier = { .type = WIRE_BARRIER, .offset = 1 };
	struct error err = { };
	struct move move;

	open_raw(&move, 2, CODEC_NONE);
	say(&move, 0, &barrier);
	say(&move, 1, &barrier);
	move_passed(&move, 1);
	CHECK_EQ(intake_close(&move.intake, &err), 0);
	link_close(&move.source);
	usleep(100000);
	CHECK_EQ(link_check(&move.destination, &err), 0);
	move_close(&move);
	CHECK(!move.failed);
}

/* @length bytes that say that they are @count bytes of memory. */
static void check_bomb(enum codec codec, const void *bytes, size_t length,
		       uint64_t count)
{
	struct wire_frame frame = {
		.type = codec_type(codec), .length = (uint32_t)length,
		.count = count,
	};
	struct move move;

	open_raw(&move, 1, codec);
	memcpy(data, bytes, length);
	say(&move, 0, &frame);
	check_failed(&move, count % PAGE || count > CHUNK || !count ?
		     "not of one chunk" : "compressed memory that is none", 0);
}

static const uint64_t wrong[] = {
	0, 1, PAGE - 1, PAGE, 3 * PAGE, WIRE_CHUNK, WIRE_CHUNK + PAGE,
	1ull << 32, UINT64_MAX, UINT64_MAX - PAGE + 1,
};

TEST(intake_refuses_decompression_bombs)
{
	size_t size = 64 << 20, i, zstd, lz4;
	uint8_t *zeros = calloc(1, size), *out = malloc(WIRE_CHUNK);

	zstd = ZSTD_compress(out, WIRE_CHUNK, zeros, size, 19);
	CHECK(zstd < WIRE_CHUNK);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_bomb(CODEC_ZSTD, out, zstd, wrong[i]);
	/* Two pages that are said to be other than that. */
	zstd = ZSTD_compress(out, WIRE_CHUNK, zeros, 2 * PAGE, 1);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_bomb(CODEC_ZSTD, out, zstd, wrong[i]);
	check_bomb(CODEC_ZSTD, out, zstd - 1, 2 * PAGE);

	lz4 = (size_t)LZ4_compress_default((char *)zeros, (char *)out,
					   60 << 20, WIRE_CHUNK);
	CHECK(lz4 > 0);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_bomb(CODEC_LZ4, out, lz4, wrong[i]);
	lz4 = (size_t)LZ4_compress_default((char *)zeros, (char *)out, 2 * PAGE,
					   WIRE_CHUNK);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check_bomb(CODEC_LZ4, out, lz4, wrong[i]);
	check_bomb(CODEC_LZ4, out, lz4 - 1, 2 * PAGE);
	free(zeros);
	free(out);
}

/* A decoder gets what it likes: it writes no more than it may. */
TEST(decompressor_is_bounded)
{
	struct decompressor lz4, zstd;
	uint64_t x = 88172645463325252;
	uint8_t rubbish[600];
	struct error err;
	size_t i, j;

	CHECK_EQ(decompressor_open(&lz4, CODEC_LZ4, &err), 0);
	CHECK_EQ(decompressor_open(&zstd, CODEC_ZSTD, &err), 0);
	for (i = 0; i < 20000; i++) {
		for (j = 0; j < sizeof(rubbish); j++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			rubbish[j] = (uint8_t)(x >> 32);
		}
		/* Something that begins as a frame of zstd does. */
		if (i % 2)
			memcpy(rubbish, "\x28\xb5\x2f\xfd", 4);
		decompressor_run(&lz4, rubbish, x % sizeof(rubbish), WIRE_CHUNK);
		decompressor_run(&zstd, rubbish, x % sizeof(rubbish), WIRE_CHUNK);
	}
	CHECK(decompressor_run(&lz4, rubbish, 10, WIRE_CHUNK + 1));
	CHECK(decompressor_run(&zstd, rubbish, WIRE_CHUNK + 1, PAGE));
	decompressor_close(&lz4);
	decompressor_close(&zstd);
}

/* A page of text comes out as it went in, and a random one stays as it is. */
TEST(compressor_makes_smaller_or_nothing)
{
	struct decompressor d;
	struct compressor c;
	uint8_t page[PAGE];
	struct error err;
	enum codec codec;
	uint64_t x = 1;
	size_t i, n;

	for (codec = CODEC_LZ4; codec < CODECS; codec++) {
		CHECK_EQ(compressor_open(&c, codec, 3, &err), 0);
		CHECK_EQ(decompressor_open(&d, codec, &err), 0);
		memset(page, 'a', sizeof(page));
		n = compressor_run(&c, page, sizeof(page));
		CHECK(n > 0 && n < 100);
		CHECK_EQ(decompressor_run(&d, c.buffer, n, sizeof(page)), 0);
		CHECK(!memcmp(d.buffer, page, sizeof(page)));
		for (i = 0; i < sizeof(page); i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			page[i] = (uint8_t)x;
		}
		CHECK_EQ(compressor_run(&c, page, sizeof(page)), 0);
		compressor_close(&c);
		decompressor_close(&d);
	}
}
