// SPDX-License-Identifier: GPL-2.0-or-later
/* What a frame of compressed memory has in it: one byte for the codec and the size. */
#include "fuzz.h"
#include "stream/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decompressor decompressors[2];
	struct error err;
	size_t pages;

	if (!decompressors[0].buffer) {
		FUZZ_ASSERT(!decompressor_open(&decompressors[0], CODEC_LZ4, &err));
		FUZZ_ASSERT(!decompressor_open(&decompressors[1], CODEC_ZSTD, &err));
	}
	if (!size)
		return 0;
	pages = (data[0] >> 1) % 65;
	decompressor_run(&decompressors[data[0] & 1], data + 1, size - 1,
			 pages * WIRE_PAGE_SIZE);
	return 0;
}
