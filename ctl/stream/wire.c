// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "stream/wire.h"

/*
 * The header:
 *
 *	0  magic	4  type		8  length	12  block
 *	16 offset			24 count
 */
static const char magic[4] = "MIGT";

/* Which payloads a type has: @min to @max bytes, in steps of @unit. */
struct wire_payload {
	uint32_t min;
	uint32_t max;
	uint32_t unit;
};

#define PAYLOAD_TEXT	{ 1, WIRE_MAX_PAYLOAD, 1 }
#define PAYLOAD_NONE	{ 0, 0, 1 }

static const struct wire_payload payloads[] = {
	[WIRE_HELLO] = PAYLOAD_TEXT,
	[WIRE_ACCEPT] = PAYLOAD_TEXT,
	[WIRE_REFUSE] = PAYLOAD_TEXT,
	[WIRE_JOIN] = { WIRE_ID_SIZE, WIRE_ID_SIZE, 1 },
	[WIRE_JOINED] = PAYLOAD_NONE,
	[WIRE_PAGES] = { WIRE_PAGE_SIZE, WIRE_CHUNK, WIRE_PAGE_SIZE },
	[WIRE_ZERO] = PAYLOAD_NONE,
	[WIRE_BARRIER] = PAYLOAD_NONE,
	[WIRE_BARRIER_DONE] = PAYLOAD_NONE,
	[WIRE_VMM_START] = PAYLOAD_NONE,
	[WIRE_VMM_DATA] = { 1, WIRE_MAX_PAYLOAD, 1 },
	[WIRE_VMM_END] = PAYLOAD_NONE,
	[WIRE_LOADED] = PAYLOAD_NONE,
	[WIRE_HASH] = PAYLOAD_NONE,
	[WIRE_HASHES] = { sizeof(uint64_t), WIRE_MAX_PAYLOAD, sizeof(uint64_t) },
	[WIRE_GO] = PAYLOAD_NONE,
	[WIRE_RUNNING] = PAYLOAD_NONE,
	[WIRE_CANCEL] = PAYLOAD_TEXT,
	[WIRE_FAILED] = PAYLOAD_TEXT,
	[WIRE_DONE] = PAYLOAD_NONE,
};

#define WIRE_TYPES	(sizeof(payloads) / sizeof(payloads[0]))

static void put32(uint8_t *to, uint32_t value)
{
	value = htole32(value);
	memcpy(to, &value, sizeof(value));
}

static void put64(uint8_t *to, uint64_t value)
{
	value = htole64(value);
	memcpy(to, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *from)
{
	uint64_t value;

	memcpy(&value, from, sizeof(value));
	return le64toh(value);
}

/**
 * wire_check() - does this frame's payload fit its type?
 * @frame: a header
 *
 * Return: 0 or -EPROTO.
 */
int wire_check(const struct wire_frame *frame)
{
	const struct wire_payload *payload;

	if (frame->type < WIRE_HELLO || frame->type >= WIRE_TYPES)
		return -EPROTO;
	payload = &payloads[frame->type];
	if (frame->length < payload->min || frame->length > payload->max ||
	    frame->length % payload->unit)
		return -EPROTO;
	return 0;
}

/**
 * wire_encode() - make the bytes of a header
 * @header: filled
 * @frame: what to say
 */
void wire_encode(uint8_t header[WIRE_HEADER_SIZE], const struct wire_frame *frame)
{
	memcpy(header, magic, sizeof(magic));
	put32(header + 4, frame->type);
	put32(header + 8, frame->length);
	put32(header + 12, frame->block);
	put64(header + 16, frame->offset);
	put64(header + 24, frame->count);
}

/**
 * wire_decode() - read the bytes of a header
 * @header: as they came
 * @frame: filled, also if it is refused
 *
 * Says nothing about @block, @offset and @count: these are for who knows the
 * blocks to check.
 *
 * Return: 0 or -EPROTO.
 */
int wire_decode(const uint8_t header[WIRE_HEADER_SIZE], struct wire_frame *frame)
{
	frame->type = get32(header + 4);
	frame->length = get32(header + 8);
	frame->block = get32(header + 12);
	frame->offset = get64(header + 16);
	frame->count = get64(header + 24);
	if (memcmp(header, magic, sizeof(magic)))
		return -EPROTO;
	return wire_check(frame);
}
