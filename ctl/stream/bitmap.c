// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "stream/bitmap.h"

#define FRAME_WORDS	(WIRE_MAX_PAYLOAD / sizeof(uint64_t))
/* Memory that a word is about. */
#define WORD_BYTES	((uint64_t)BITMAP_BITS * WIRE_PAGE_SIZE)

_Static_assert(sizeof(unsigned long) == sizeof(uint64_t), "bitmaps are sent as they are");

/**
 * bitmap_send() - send a bitmap
 * @channel: where to
 * @type: WIRE_MISSING or WIRE_RECEIVED
 * @block: whose pages they are
 * @map: one bit for each; those after the last are 0
 * @pages: how many
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int bitmap_send(struct channel *channel, enum wire_type type, uint32_t block,
		const unsigned long *map, uint64_t pages, struct error *err)
{
	uint64_t words = (pages + BITMAP_BITS - 1) / BITMAP_BITS, done, n, i;
	struct wire_frame frame = { .type = type, .block = block };
	uint64_t *payload = malloc(WIRE_MAX_PAYLOAD);
	int ret = 0;

	if (!payload)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (done = 0; !ret && done < words; done += n) {
		n = words - done < FRAME_WORDS ? words - done : FRAME_WORDS;
		for (i = 0; i < n; i++)
			payload[i] = htole64(map[done + i]);
		frame.length = (uint32_t)(n * sizeof(*payload));
		frame.offset = done * WORD_BYTES;
		ret = channel_send(channel, &frame, payload, err);
	}
	free(payload);
	return ret;
}

uint64_t bitmap_word(const void *payload, size_t index)
{
	uint64_t word;

	memcpy(&word, (const char *)payload + index * sizeof(word), sizeof(word));
	return le64toh(word);
}

int bitmap_check(const struct wire_frame *frame, uint64_t pages, const void *payload,
		 struct error *err)
{
	uint64_t words = (pages + BITMAP_BITS - 1) / BITMAP_BITS;
	uint64_t first = frame->offset / WORD_BYTES;
	size_t n = frame->length / sizeof(uint64_t);

	if (frame->offset % WORD_BYTES || first > words || n > words - first)
		return error_set(err, EXIT_PEER,
				 "a bitmap of pages outside of memory block %u", frame->block);
	if (first + n == words && pages % BITMAP_BITS &&
	    bitmap_word(payload, n - 1) >> pages % BITMAP_BITS)
		return error_set(err, EXIT_PEER, "a bitmap with pages after the end of memory block %u",
				 frame->block);
	return 0;
}
