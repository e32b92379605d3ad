// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>

#include "common/error.h"
#include "stream/hash.h"
#include "stream/wire.h"
#include "unit.h"

TEST(wire_header_comes_back_as_it_was)
{
	struct wire_frame in = {
		.type = WIRE_PAGES,
		.length = WIRE_CHUNK,
		.block = 0x89abcdef,
		.offset = 0xfedcba9876543000,
		.count = UINT64_MAX,
		.checksum = 0x0102030405060708,
	}, out;
	static const uint8_t bytes[WIRE_HEADER_SIZE] = {
		'M', 'G', 'T', 2, 6, 0, 0, 0, 0, 0, 0x04, 0,
		0xef, 0xcd, 0xab, 0x89,
		0x00, 0x30, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
	};
	uint8_t header[WIRE_HEADER_SIZE];

	wire_encode(header, &in);
	CHECK(!memcmp(header, bytes, sizeof(header)));
	CHECK_EQ(wire_decode(header, &out), 0);
	CHECK_EQ(out.type, in.type);
	CHECK_EQ(out.length, in.length);
	CHECK_EQ(out.block, in.block);
	CHECK_EQ(out.offset, in.offset);
	CHECK_EQ(out.count, in.count);
	CHECK_EQ(out.checksum, in.checksum);
}

static int decode(uint32_t type, uint32_t length)
{
	struct wire_frame frame = { .type = type, .length = length };
	uint8_t header[WIRE_HEADER_SIZE];

	wire_encode(header, &frame);
	return wire_decode(header, &frame);
}

/* The longest payload of a type, or some of those that have one. */
static uint32_t longest(uint32_t type)
{
	switch (type) {
	case WIRE_JOIN:
		return WIRE_JOIN_SIZE;
	case WIRE_ASK:
		return WIRE_ID_SIZE;
	case WIRE_PAGES:
	case WIRE_PAGES_LZ4:
	case WIRE_PAGES_ZSTD:
		return WIRE_CHUNK;
	default:
		return WIRE_MAX_PAYLOAD;
	}
}

TEST(wire_types_and_their_lengths)
{
	uint32_t type;

	for (type = WIRE_HELLO; type <= WIRE_RECEIVED; type++) {
		CHECK_EQ(decode(type, WIRE_MAX_PAYLOAD + 1), -EPROTO);
		CHECK_EQ(decode(type, WIRE_MAX_PAYLOAD + WIRE_PAGE_SIZE), -EPROTO);
		CHECK_EQ(decode(type, UINT32_MAX), -EPROTO);
		/* Each type either has a payload or has none. */
		CHECK_EQ(!!decode(type, 0) + !!decode(type, longest(type)), 1);
		CHECK_EQ(decode(type, longest(type) + 1), -EPROTO);
	}
	CHECK_EQ(decode(0, 0), -EPROTO);
	CHECK_EQ(decode(WIRE_RECEIVED + 1, 0), -EPROTO);
	CHECK_EQ(decode(UINT32_MAX, 0), -EPROTO);
	CHECK_EQ(decode(WIRE_HELLO, 1), 0);
	CHECK_EQ(decode(WIRE_JOIN, WIRE_JOIN_SIZE - 1), -EPROTO);
	CHECK_EQ(decode(WIRE_PAGES, 0), -EPROTO);
	CHECK_EQ(decode(WIRE_PAGES, WIRE_CHUNK + WIRE_PAGE_SIZE), -EPROTO);
	CHECK_EQ(decode(WIRE_PAGES, WIRE_PAGE_SIZE), 0);
	CHECK_EQ(decode(WIRE_PAGES, WIRE_PAGE_SIZE - 1), -EPROTO);
	CHECK_EQ(decode(WIRE_PAGES, WIRE_PAGE_SIZE + 512), -EPROTO);
	CHECK_EQ(decode(WIRE_ZERO, WIRE_PAGE_SIZE), -EPROTO);
	CHECK_EQ(decode(WIRE_HASHES, 8), 0);
	CHECK_EQ(decode(WIRE_HASHES, 12), -EPROTO);
	CHECK_EQ(decode(WIRE_GO, 1), -EPROTO);
	CHECK_EQ(decode(WIRE_MISSING, 8), 0);
	CHECK_EQ(decode(WIRE_RECEIVED, 4), -EPROTO);
	CHECK_EQ(decode(WIRE_REQUEST, 8), -EPROTO);
}

TEST(wire_refuses_what_has_not_its_magic)
{
	struct wire_frame frame = { .type = WIRE_DONE };
	uint8_t header[WIRE_HEADER_SIZE];
	size_t i;

	for (i = 0; i < 4; i++) {
		wire_encode(header, &frame);
		header[i] ^= 0x20;
		CHECK_EQ(wire_decode(header, &frame), -EPROTO);
	}
	memset(header, 0, sizeof(header));
	CHECK_EQ(wire_decode(header, &frame), -EPROTO);
}

/* Each bit of what is sent changes it, but those of itself. */
TEST(wire_checksum_is_of_header_and_payload)
{
	static uint8_t payload[WIRE_PAGE_SIZE];
	struct wire_frame frame = {
		.type = WIRE_PAGES, .length = sizeof(payload), .block = 1,
		.offset = WIRE_PAGE_SIZE, .count = WIRE_PAGE_SIZE,
	}, other;
	uint64_t sum = wire_checksum(&frame, payload);
	uint8_t header[WIRE_HEADER_SIZE];
	size_t bit;

	frame.checksum = 5;
	CHECK(wire_checksum(&frame, payload) == sum);
	for (bit = 0; bit < 8 * sizeof(payload); bit += 37) {
		payload[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK(wire_checksum(&frame, payload) != sum);
		payload[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* Block, offset and count; a wrong type or length may not be decoded. */
	for (bit = 8 * 12; bit < 8 * 32; bit++) {
		wire_encode(header, &frame);
		header[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_EQ(wire_decode(header, &other), 0);
		CHECK(wire_checksum(&other, payload) != sum);
	}
	other = frame;
	other.type = WIRE_PAGES_LZ4;
	CHECK(wire_checksum(&other, payload) != sum);
	frame = (struct wire_frame){ .type = WIRE_GO };
	other = (struct wire_frame){ .type = WIRE_RUNNING };
	CHECK(wire_checksum(&frame, NULL) != wire_checksum(&other, NULL));
}

TEST(wire_types_have_names)
{
	uint32_t type;

	for (type = WIRE_HELLO; type <= WIRE_RECEIVED; type++)
		CHECK(strcmp(wire_type_name(type), "unknown"));
	CHECK_STR(wire_type_name(WIRE_PAGES_ZSTD), "PAGES_ZSTD");
	CHECK_STR(wire_type_name(0), "unknown");
	CHECK_STR(wire_type_name(WIRE_RECEIVED + 1), "unknown");
}

TEST(zero_page_is_one_without_a_set_bit)
{
	static uint8_t page[WIRE_PAGE_SIZE] __attribute__((aligned(8)));
	size_t i;

	CHECK(page_is_zero(page));
	CHECK_EQ(hash_page(page), hash_zero_page());
	for (i = 0; i < sizeof(page); i++) {
		page[i] = (uint8_t)(1 << i % 8);
		CHECK(!page_is_zero(page));
		CHECK(hash_page(page) != hash_zero_page());
		page[i] = 0;
	}
}

TEST(exit_codes_have_names)
{
	int code;

	for (code = EXIT_OK; code <= EXIT_PEER; code++)
		CHECK(exit_code_name((enum exit_code)code));
	CHECK_STR(exit_code_name(EXIT_PEER), "peer");
	CHECK_EQ(EXIT_PEER, 9);
}
