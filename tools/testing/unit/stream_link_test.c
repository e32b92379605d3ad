// SPDX-License-Identifier: GPL-2.0-or-later
/* Who may be a data channel, and what happens to the others. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/units.h"
#include "stream_move.h"
#include "unit.h"

static uint8_t payload[WIRE_MAX_PAYLOAD + 1];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Somebody who connects and says this. */
static void join(struct channel *channel, const struct move *move,
		 const uint8_t *id, unsigned int index)
{
	struct wire_frame frame = {
		.type = WIRE_JOIN, .length = WIRE_JOIN_SIZE, .block = index,
	};
	uint8_t said[WIRE_JOIN_SIZE] = { };
	struct error err;

	CHECK_EQ(channel_connect(channel, move->address, &move->security, &err), 0);
	if (!id)
		return;
	memcpy(said, id, WIRE_ID_SIZE);
	CHECK_EQ(channel_send(channel, &frame, said, &err), 0);
}

/* One more has been sent away, for this reason. */
static void check_sent_away(struct move *move, const char *why)
{
	static int before;
	int i;

	for (i = 0; i < 5000 && __atomic_load_n(&move->refused, __ATOMIC_ACQUIRE) ==
	     before; i++)
		usleep(1000);
	CHECK_EQ(move->refused, ++before);
	CHECK_HAS(move->why.message, why);
}

static void check_joined(struct move *move)
{
	struct wire_frame frame = { };
	struct error err;

	CHECK_EQ(channel_receive(&move->control[0], &frame, payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_JOINED);
}

TEST(link_ids_are_drawn_and_come_back_as_text)
{
	uint8_t a[WIRE_ID_SIZE], b[WIRE_ID_SIZE];
	char text[2 * WIRE_ID_SIZE + 1];
	struct error err;

	CHECK_EQ(link_draw_id(a, &err), 0);
	CHECK_EQ(link_draw_id(b, &err), 0);
	CHECK(memcmp(a, b, sizeof(a)));
	link_format_id(a, text);
	CHECK_EQ(strlen(text), 32);
	CHECK_EQ(link_parse_id(text, b), 0);
	CHECK(!memcmp(a, b, sizeof(a)));
	text[31] = 'g';
	CHECK(link_parse_id(text, b));
	text[31] = '\0';
	CHECK(link_parse_id(text, b));
	CHECK(link_parse_id("", b));
	CHECK(link_parse_id(NULL, b));
	CHECK(link_parse_id("0123456789ABCDEF0123456789abcdef", b));
}

TEST(link_chunks_go_round_the_channels)
{
	uint64_t offset;

	for (offset = 0; offset < 64 * WIRE_CHUNK; offset += PAGE) {
		CHECK_EQ(link_channel_of(0, offset, 1), 0);
		CHECK_EQ(link_channel_of(0, offset, 3), offset / WIRE_CHUNK % 3);
		CHECK_EQ(link_channel_of(2, offset, 3), (offset / WIRE_CHUNK + 2) % 3);
	}
	CHECK(link_channel_of(UINT32_MAX, UINT64_MAX, 16) < 16);
}

/* Whoever does not know the id; the data channels join all the same. */
TEST(link_sends_strangers_away)
{
	struct move move = { .channels = WIRE_MAX_CHANNELS };
	struct channel silent[5], other;
	uint8_t id[WIRE_ID_SIZE];
	struct error err;
	size_t i;

	move_listen(&move);
	for (i = 0; i < 5; i++)
		join(&silent[i], &move, NULL, 0);
	for (i = 0; i < WIRE_ID_SIZE; i += 5) {
		memcpy(id, move.source.id, sizeof(id));
		id[i] ^= 1;
		join(&other, &move, id, 0);
		check_sent_away(&move, "not of this migration");
		channel_close(&other);
	}
	CHECK_EQ(link_connect(&move.source, move.address, &move.security, &err), 0);
	check_joined(&move);
	CHECK_EQ(link_check(&move.destination, &err), 0);
	move_close(&move);
	for (i = 0; i < 5; i++)
		channel_close(&silent[i]);
}

TEST(link_lets_each_channel_in_once)
{
	struct move move = { .channels = 3 };
	struct channel a, b;
	struct error err;

	move_listen(&move);
	join(&a, &move, move.source.id, 1);
	join(&b, &move, move.source.id, 1);
	move_broken(&move.destination, &err);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_STR(err.message, "data channel 1 joins a second time");
	CHECK_STR(move.err.message, err.message);
	channel_close(&a);
	channel_close(&b);
	move_close(&move);
}

TEST(link_has_so_many_channels)
{
	struct move move = { .channels = 3 };
	struct channel a;
	struct error err;

	move_listen(&move);
	join(&a, &move, move.source.id, 3);
	move_broken(&move.destination, &err);
	CHECK_STR(err.message, "data channel 3 joins where there are 3");
	channel_close(&a);
	move_close(&move);
}

TEST(link_misses_a_channel)
{
	struct move move = { .channels = 2, .join_timeout_ns = 5 * NS_PER_S };
	struct channel a, b;
	struct error err;
	double start = now();

	move_listen(&move);
	join(&a, &move, move.source.id, 1);
	/* One that says nothing does not make it wait longer. */
	join(&b, &move, NULL, 0);
	move_broken(&move.destination, &err);
	CHECK(now() - start < 30);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "1 of 2 data channels have joined:");
	CHECK_HAS(err.message, "did not come in time");
	channel_close(&a);
	channel_close(&b);
	move_close(&move);
}

/* Whatever waits ends soon, and its threads with it. */
TEST(link_close_ends_all_that_waits)
{
	struct move move = { .channels = 2 };
	struct channel a, b;
	double start;

	move_listen(&move);
	join(&a, &move, move.source.id, 0);
	join(&b, &move, NULL, 0);
	usleep(100000);
	start = now();
	move_close(&move);
	CHECK(now() - start < 5);
	CHECK(!move.failed);
	channel_close(&a);
	channel_close(&b);
}
