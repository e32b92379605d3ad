// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames of memory, as they come on a data channel: decoded and written. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "stream/compress.h"
#include "stream/receiver.h"
#include "stream/wire.h"

#define PAGE		WIRE_PAGE_SIZE
#define BLOCKS		2
#define BLOCK_PAGES	8

static struct receiver_block blocks[BLOCKS];
static struct receiver receiver;
static struct decompressor lz4, zstd;
/* Sees what was written where it must not be. */
static const uint8_t *files[BLOCKS];

/* Each block in the middle of its file. */
static void setup(void)
{
	struct error err;
	size_t i;
	int fd;

	for (i = 0; i < BLOCKS; i++) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_ASSERT(!ftruncate(fd, (BLOCK_PAGES + 2) * PAGE));
		blocks[i] = (struct receiver_block){
			.fd = fd, .offset = PAGE, .size = BLOCK_PAGES * PAGE,
		};
		files[i] = mmap(NULL, (BLOCK_PAGES + 2) * PAGE, PROT_READ, MAP_SHARED, fd, 0);
		FUZZ_ASSERT(files[i] != MAP_FAILED);
	}
	FUZZ_ASSERT(!receiver_open(&receiver, blocks, BLOCKS, &err));
	FUZZ_ASSERT(!decompressor_open(&lz4, CODEC_LZ4, &err));
	FUZZ_ASSERT(!decompressor_open(&zstd, CODEC_ZSTD, &err));
}

static void check_untouched(void)
{
	size_t i;

	for (i = 0; i < BLOCKS; i++) {
		FUZZ_ASSERT(!files[i][0] && !memcmp(files[i], files[i] + 1, PAGE - 1));
		FUZZ_ASSERT(!files[i][(BLOCK_PAGES + 1) * PAGE] &&
			    !memcmp(files[i] + (BLOCK_PAGES + 1) * PAGE,
				    files[i] + (BLOCK_PAGES + 1) * PAGE + 1, PAGE - 1));
	}
}

/* As the receiver's thread does it. */
static void apply(struct wire_frame *frame, const uint8_t *payload)
{
	static uint8_t room[WIRE_MAX_PAYLOAD];
	struct decompressor *d;
	struct error err;

	if (frame->type == WIRE_PAGES_LZ4 || frame->type == WIRE_PAGES_ZSTD) {
		d = frame->type == WIRE_PAGES_LZ4 ? &lz4 : &zstd;
		if (decompressor_run(d, payload, frame->length, frame->count))
			return;
		frame->type = WIRE_PAGES;
		frame->length = (uint32_t)frame->count;
		payload = d->buffer;
	}
	/* Pages are long, inputs are short: the rest of one is what was there. */
	if (payload != lz4.buffer && payload != zstd.buffer) {
		memcpy(room, payload, frame->length);
		payload = room;
	}
	if (!receiver_apply(&receiver, frame, payload, &err))
		FUZZ_ASSERT(frame->block < BLOCKS && frame->offset < BLOCK_PAGES * PAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t payload[WIRE_MAX_PAYLOAD];
	uint8_t header[WIRE_HEADER_SIZE], again[WIRE_HEADER_SIZE];
	struct wire_frame frame;
	size_t have;

	if (!files[0])
		setup();
	while (size >= WIRE_HEADER_SIZE) {
		memcpy(header, data, sizeof(header));
		wire_version(header);
		if (wire_decode(header, &frame))
			break;
		wire_encode(again, &frame);
		FUZZ_ASSERT(!memcmp(header, again, sizeof(header)));
		FUZZ_ASSERT(frame.length <= WIRE_MAX_PAYLOAD && wire_type_name(frame.type)[0]);
		data += WIRE_HEADER_SIZE;
		size -= WIRE_HEADER_SIZE;
		have = size < frame.length ? size : frame.length;
		memset(payload, 0, frame.length);
		memcpy(payload, data, have);
		data += have;
		size -= have;
		wire_checksum(&frame, payload);
		apply(&frame, payload);
	}
	check_untouched();
	return 0;
}
