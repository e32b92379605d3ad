/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compression of frames of memory, each for itself. */
#ifndef MIGCTL_COMPRESS_H
#define MIGCTL_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "stream/wire.h"

enum codec {
	CODEC_NONE,
	CODEC_LZ4,
	CODEC_ZSTD,
};

#define CODECS			3
#define CODEC_MAX_LEVEL		19

extern const char * const codec_names[CODECS];

/* WIRE_PAGES_LZ4 for CODEC_LZ4, and so on. */
enum wire_type codec_type(enum codec codec);

/**
 * struct compressor - the sender's side, of one thread
 * @codec: CODEC_NONE: it is never worth it
 * @level: of zstd
 * @state: the library's
 * @buffer: what compressor_run() made
 */
struct compressor {
	enum codec codec;
	unsigned int level;
	void *state;
	uint8_t *buffer;
};

int compressor_open(struct compressor *c, enum codec codec, unsigned int level,
		    struct error *err);
/* Into @c->buffer; 0 if it is not worth it, else how long that is. */
size_t compressor_run(struct compressor *c, const void *data, size_t size);
void compressor_close(struct compressor *c);

/**
 * struct decompressor - the receiver's side, of one thread
 * @codec: the only one that is understood
 * @state: the library's
 * @buffer: of WIRE_CHUNK bytes, what decompressor_run() made
 */
struct decompressor {
	enum codec codec;
	void *state;
	uint8_t *buffer;
};

int decompressor_open(struct decompressor *d, enum codec codec, struct error *err);
/*
 * Into @d->buffer. Whatever @data are: no more than @size bytes are written, which
 * is WIRE_CHUNK at most, and nothing is allocated. -EPROTO if it is not exactly
 * @size bytes.
 */
int decompressor_run(struct decompressor *d, const void *data, size_t length,
		     size_t size);
void decompressor_close(struct decompressor *d);

#endif /* MIGCTL_COMPRESS_H */
