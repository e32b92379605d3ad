// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "stream/hash.h"
#include "stream/wire.h"

/*
 * The header:
 *
 *	0  magic, version	4  type		8  length	12  block
 *	16 offset				24 count
 *	32 checksum
 */
static const uint8_t magic[4] = { 'M', 'G', 'T', WIRE_VERSION };

/* Version 1 had another one, and no checksum. */
static const uint8_t magic_1[4] = "MIGT";

/* What the checksum covers of the header. */
#define CHECKED_SIZE	32

/* Which payloads a type has: @min to @max bytes, in steps of @unit. */
struct wire_payload {
	const char *name;
	uint32_t min;
	uint32_t max;
	uint32_t unit;
};

#define TEXT	1, WIRE_MAX_PAYLOAD, 1
#define NONE	0, 0, 1
#define WORDS	sizeof(uint64_t), WIRE_MAX_PAYLOAD, sizeof(uint64_t)

static const struct wire_payload payloads[] = {
	[WIRE_HELLO] = { "HELLO", TEXT },
	[WIRE_ACCEPT] = { "ACCEPT", TEXT },
	[WIRE_REFUSE] = { "REFUSE", TEXT },
	[WIRE_JOIN] = { "JOIN", WIRE_JOIN_SIZE, WIRE_JOIN_SIZE, 1 },
	[WIRE_JOINED] = { "JOINED", NONE },
	[WIRE_PAGES] = { "PAGES", WIRE_PAGE_SIZE, WIRE_CHUNK, WIRE_PAGE_SIZE },
	[WIRE_PAGES_LZ4] = { "PAGES_LZ4", 1, WIRE_CHUNK, 1 },
	[WIRE_PAGES_ZSTD] = { "PAGES_ZSTD", 1, WIRE_CHUNK, 1 },
	[WIRE_ZERO] = { "ZERO", NONE },
	[WIRE_BARRIER] = { "BARRIER", NONE },
	[WIRE_BARRIER_DONE] = { "BARRIER_DONE", NONE },
	[WIRE_VMM_START] = { "VMM_START", NONE },
	[WIRE_VMM_DATA] = { "VMM_DATA", 1, WIRE_MAX_PAYLOAD, 1 },
	[WIRE_VMM_END] = { "VMM_END", NONE },
	[WIRE_LOADED] = { "LOADED", NONE },
	[WIRE_HASH] = { "HASH", NONE },
	[WIRE_HASHES] = { "HASHES", WORDS },
	[WIRE_GO] = { "GO", NONE },
	[WIRE_RUNNING] = { "RUNNING", NONE },
	[WIRE_CANCEL] = { "CANCEL", TEXT },
	[WIRE_FAILED] = { "FAILED", TEXT },
	[WIRE_DONE] = { "DONE", NONE },
	[WIRE_ASK] = { "ASK", WIRE_ID_SIZE, WIRE_ID_SIZE, 1 },
	[WIRE_NEVER] = { "NEVER", TEXT },
	[WIRE_MISSING] = { "MISSING", WORDS },
	[WIRE_POSTCOPY] = { "POSTCOPY", NONE },
	[WIRE_READY] = { "READY", NONE },
	[WIRE_REQUEST] = { "REQUEST", NONE },
	[WIRE_RECOVER] = { "RECOVER", TEXT },
	[WIRE_RECEIVED] = { "RECEIVED", WORDS },
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

const char *wire_type_name(uint32_t type)
{
	if (type < WIRE_HELLO || type >= WIRE_TYPES)
		return "unknown";
	return payloads[type].name;
}

/**
 * wire_version() - the version of the stream that a header is of
 * @header: as it came
 *
 * Return: the version, or 0 if this is no header.
 */
unsigned int wire_version(const uint8_t header[WIRE_HEADER_SIZE])
{
	if (!memcmp(header, magic_1, sizeof(magic_1)))
		return 1;
	return memcmp(header, magic, 3) ? 0 : header[3];
}

bool wire_begins(const uint8_t *bytes, size_t n)
{
	if (n < sizeof(magic))
		return !n || bytes[0] == magic[0];
	return wire_version(bytes);
}

/* All but the checksum. */
static void encode_checked(uint8_t *header, const struct wire_frame *frame)
{
	memcpy(header, magic, sizeof(magic));
	put32(header + 4, frame->type);
	put32(header + 8, frame->length);
	put32(header + 12, frame->block);
	put64(header + 16, frame->offset);
	put64(header + 24, frame->count);
}

/**
 * wire_checksum() - what a frame's checksum has to be
 * @frame: its header
 * @payload: frame->length bytes
 *
 * XXH3 of the payload; the seed is XXH3 of the header before the checksum.
 *
 * Return: the checksum.
 */
uint64_t wire_checksum(const struct wire_frame *frame, const void *payload)
{
	uint8_t header[CHECKED_SIZE];

	encode_checked(header, frame);
	return hash_bytes(payload, frame->length,
			  hash_bytes(header, sizeof(header), 0));
}

/**
 * wire_encode() - make the bytes of a header
 * @header: filled
 * @frame: what to say
 */
void wire_encode(uint8_t header[WIRE_HEADER_SIZE], const struct wire_frame *frame)
{
	encode_checked(header, frame);
	put64(header + CHECKED_SIZE, frame->checksum);
}

/**
 * wire_decode() - read the bytes of a header
 * @header: as they came
 * @frame: filled, also if it is refused
 *
 * Says nothing about @block, @offset and @count: these are for who knows the
 * blocks to check; nor about @checksum, which covers the payload, too.
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
	frame->checksum = get64(header + CHECKED_SIZE);
	if (wire_version(header) != WIRE_VERSION)
		return -EPROTO;
	return wire_check(frame);
}
