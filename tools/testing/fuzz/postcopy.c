// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What goes to and fro once a guest runs at its destination: which pages are missing,
 * which were received, which are asked for; and the answers to that.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../ctl/postcopy/request.c"
#include "../../../ctl/stream/urgent.c"
#include "fuzz.h"
#include "postcopy/fetch.h"

#define PAGE		WIRE_PAGE_SIZE
#define BLOCKS		2
/* No whole number of a bitmap's words. */
#define BLOCK_PAGES	70

static struct receiver_block received[BLOCKS];
static struct sender_block sent[BLOCKS];
static struct receiver receiver;
static struct sender sender;

static void setup(void)
{
	struct error err;
	size_t i;
	int fd;

	for (i = 0; i < BLOCKS; i++) {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_ASSERT(!ftruncate(fd, BLOCK_PAGES * PAGE));
		received[i] = (struct receiver_block){ .fd = fd, .size = BLOCK_PAGES * PAGE };
		sent[i] = (struct sender_block){ .fd = fd, .size = BLOCK_PAGES * PAGE };
		sent[i].pending = calloc(BLOCK_PAGES / 64 + 1, sizeof(unsigned long));
	}
	FUZZ_ASSERT(!receiver_open(&receiver, received, BLOCKS, &err));
	sender.blocks = sent;
	sender.nblocks = BLOCKS;
	pthread_mutex_init(&sender.lock, NULL);
}

static void fetch_make(struct fetch *fetch)
{
	/* Two regions that are not the blocks. */
	const struct uffd_region regions[] = {
		{ .start = 1ull << 40, .size = PAGE, .page_size = PAGE, .modes = UFFD_MISSING },
		{ .start = 2ull << 40, .size = (BLOCKS * BLOCK_PAGES - 1) * PAGE,
		  .page_size = PAGE, .offset = PAGE, .modes = UFFD_MISSING },
	};
	struct error err;

	FUZZ_ASSERT(!fetch_open(fetch, &receiver, regions, 2, &err));
}

static void apply(struct fetch *fetch, const struct wire_frame *frame, const uint8_t *payload)
{
	struct page_run run;
	struct error err;

	switch (frame->type) {
	case WIRE_MISSING:
		if (!fetch_missing(fetch, frame, payload, &err))
			FUZZ_ASSERT(frame->block < BLOCKS);
		break;
	case WIRE_RECEIVED:
		if (!sender_received(&sender, frame, payload, &err))
			FUZZ_ASSERT(frame->block < BLOCKS);
		break;
	case WIRE_REQUEST:
		if (!request_check(&sender, frame, &run, &err))
			FUZZ_ASSERT(run.block < BLOCKS && run.n && run.first < BLOCK_PAGES &&
				    run.n <= BLOCK_PAGES - run.first);
		break;
	default:
		break;
	}
}

/* The answers to a request for three pages: no more is written than was asked for. */
static void answers(const uint8_t *data, size_t size)
{
	static uint8_t room[5 * PAGE];
	struct request request = { .block = 1, .page = 2, .n = 3, .buffer = room + PAGE };
	struct channel channel;
	struct error err;
	uint64_t done = 0;
	int64_t part;
	int pair[2];
	bool zero;

	FUZZ_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	FUZZ_ASSERT(send(pair[1], data, size, MSG_DONTWAIT) == (ssize_t)size);
	shutdown(pair[1], SHUT_WR);
	channel_open(&channel, pair[0], "fuzz");
	while (done < request.n) {
		part = part_receive(&channel, &request, done, &zero, &err);
		if (part < 0)
			break;
		FUZZ_ASSERT(part && (uint64_t)part <= request.n - done);
		done += (uint64_t)part;
	}
	FUZZ_ASSERT(!room[0] && !memcmp(room, room + 1, PAGE - 1));
	FUZZ_ASSERT(!room[4 * PAGE] && !memcmp(room + 4 * PAGE, room + 4 * PAGE + 1, PAGE - 1));
	channel_close(&channel);
	close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t payload[WIRE_MAX_PAYLOAD];
	uint8_t header[WIRE_HEADER_SIZE];
	struct wire_frame frame;
	struct fetch fetch;
	size_t have;

	if (!receiver.nblocks)
		setup();
	answers(data, size);
	fetch_make(&fetch);
	while (size >= WIRE_HEADER_SIZE) {
		memcpy(header, data, sizeof(header));
		if (wire_decode(header, &frame))
			break;
		data += WIRE_HEADER_SIZE;
		size -= WIRE_HEADER_SIZE;
		have = size < frame.length ? size : frame.length;
		memset(payload, 0, frame.length);
		memcpy(payload, data, have);
		data += have;
		size -= have;
		apply(&fetch, &frame, payload);
	}
	fetch_close(&fetch);
	return 0;
}
