// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#include "stream/compress.h"

const char * const codec_names[CODECS] = {
	[CODEC_NONE] = "none",
	[CODEC_LZ4] = "lz4",
	[CODEC_ZSTD] = "zstd",
};

enum wire_type codec_type(enum codec codec)
{
	static const enum wire_type types[CODECS] = {
		[CODEC_NONE] = WIRE_PAGES,
		[CODEC_LZ4] = WIRE_PAGES_LZ4,
		[CODEC_ZSTD] = WIRE_PAGES_ZSTD,
	};

	return types[codec];
}

/* What saves less than a sixteenth costs the receiver more than it saves the link. */
static size_t worth(size_t size)
{
	return size - size / 16;
}

/**
 * compressor_open() - get ready to compress
 * @c: filled; to be closed also after a failure
 * @codec: which
 * @level: of zstd, 1 to CODEC_MAX_LEVEL
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int compressor_open(struct compressor *c, enum codec codec, unsigned int level,
		    struct error *err)
{
	*c = (struct compressor) { .codec = codec, .level = level };
	if (codec == CODEC_NONE)
		return 0;
	c->buffer = malloc(WIRE_CHUNK);
	c->state = codec == CODEC_LZ4 ? malloc((size_t)LZ4_sizeofState()) :
		   (void *)ZSTD_createCCtx();
	if (!c->buffer || !c->state)
		return error_set(err, EXIT_FAILED, "out of memory");
	return 0;
}

/**
 * compressor_run() - compress a frame's payload
 * @c: opened
 * @data: pages
 * @size: bytes of them, WIRE_CHUNK at most
 *
 * Return: how much @c->buffer has, or 0 if it is better to send @data as it is.
 */
size_t compressor_run(struct compressor *c, const void *data, size_t size)
{
	size_t n;

	switch (c->codec) {
	case CODEC_LZ4:
		/* 0 if there is not enough room. */
		return (size_t)LZ4_compress_fast_extState(c->state, data,
							  (char *)c->buffer,
							  (int)size,
							  (int)worth(size), 1);
	case CODEC_ZSTD:
		n = ZSTD_compressCCtx(c->state, c->buffer, worth(size), data,
				      size, (int)c->level);
		return ZSTD_isError(n) ? 0 : n;
	default:
		return 0;
	}
}

void compressor_close(struct compressor *c)
{
	if (c->codec == CODEC_ZSTD)
		ZSTD_freeCCtx(c->state);
	else
		free(c->state);
	free(c->buffer);
	*c = (struct compressor){};
}

/**
 * decompressor_open() - get ready to decompress
 * @d: filled; to be closed also after a failure
 * @codec: which
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int decompressor_open(struct decompressor *d, enum codec codec, struct error *err)
{
	*d = (struct decompressor) { .codec = codec };
	if (codec == CODEC_NONE)
		return 0;
	d->buffer = aligned_alloc(WIRE_PAGE_SIZE, WIRE_CHUNK);
	if (codec == CODEC_ZSTD)
		d->state = ZSTD_createDCtx();
	if (!d->buffer || (codec == CODEC_ZSTD && !d->state))
		return error_set(err, EXIT_FAILED, "out of memory");
	return 0;
}

/**
 * decompressor_run() - decompress a frame's payload
 * @d: opened
 * @data: as it came
 * @length: of that
 * @size: of what it shall become, WIRE_CHUNK at most
 *
 * One call for all of it: what the libraries write is bounded by @size, and what
 * the data say about their own size or window makes them allocate nothing.
 *
 * Return: 0, or -EPROTO if it does not become that.
 */
int decompressor_run(struct decompressor *d, const void *data, size_t length,
		     size_t size)
{
	size_t n;
	int made;

	if (size > WIRE_CHUNK || length > WIRE_CHUNK)
		return -EPROTO;
	switch (d->codec) {
	case CODEC_LZ4:
		made = LZ4_decompress_safe(data, (char *)d->buffer, (int)length,
					   (int)size);
		return made < 0 || (size_t)made != size ? -EPROTO : 0;
	case CODEC_ZSTD:
		n = ZSTD_decompressDCtx(d->state, d->buffer, size, data, length);
		return ZSTD_isError(n) || n != size ? -EPROTO : 0;
	default:
		return -EPROTO;
	}
}

void decompressor_close(struct decompressor *d)
{
	ZSTD_freeDCtx(d->state);
	free(d->buffer);
	*d = (struct decompressor){};
}
