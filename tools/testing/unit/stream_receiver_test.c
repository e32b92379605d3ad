// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream/hash.h"
#include "stream/receiver.h"
#include "unit.h"

#define PAGE	((uint64_t)WIRE_PAGE_SIZE)
#define PAGES	512

static uint8_t payload[WIRE_MAX_PAYLOAD];

/* One block in a file of @fd, which has a page more on either side. */
static void receiver_make(struct receiver *receiver,
			  struct receiver_block *block, int fd)
{
	struct error err = { };

	*block = (struct receiver_block){
		.name = "pc.ram", .fd = fd, .offset = PAGE, .size = PAGES * PAGE,
	};
	CHECK_EQ(ftruncate(fd, (PAGES + 2) * PAGE), 0);
	CHECK_EQ(receiver_open(receiver, block, 1, &err), 0);
	CHECK_STR(err.message, "");
	memset(payload, 0x5a, sizeof(payload));
}

TEST(receiver_refuses_hostile_frames)
{
	static const struct wire_frame bad[] = {
		{ WIRE_PAGES, PAGE, 1, 0, 0, 0 },
		{ WIRE_PAGES, PAGE, UINT32_MAX, 0, 0, 0 },
		{ WIRE_PAGES, PAGE, 0, 1, 0, 0 },
		{ WIRE_PAGES, PAGE, 0, PAGES * PAGE, 0, 0 },
		{ WIRE_PAGES, 2 * PAGE, 0, (PAGES - 1) * PAGE, 0, 0 },
		{ WIRE_PAGES, PAGE, 0, UINT64_MAX - PAGE + 1, 0, 0 },
		{ WIRE_PAGES, 2 * PAGE, 0, UINT64_MAX - PAGE + 1, 0, 0 },
		{ WIRE_PAGES, PAGE - 1, 0, 0, 0, 0 },
		{ WIRE_PAGES, 0, 0, 0, 0, 0 },
		{ WIRE_PAGES, WIRE_MAX_PAYLOAD + PAGE, 0, 0, 0, 0 },
		{ WIRE_ZERO, 0, 1, 0, PAGE, 0 },
		{ WIRE_ZERO, 0, 0, 0, 0, 0 },
		{ WIRE_ZERO, 0, 0, 0, PAGE + 1, 0 },
		{ WIRE_ZERO, 0, 0, 512, PAGE, 0 },
		{ WIRE_ZERO, 0, 0, 0, (PAGES + 1) * PAGE, 0 },
		{ WIRE_ZERO, 0, 0, PAGE, PAGES * PAGE, 0 },
		{ WIRE_ZERO, 0, 0, PAGE, UINT64_MAX - PAGE + 1, 0 },
		{ WIRE_ZERO, 0, 0, UINT64_MAX - PAGE + 1, 2 * PAGE, 0 },
		{ WIRE_ZERO, PAGE, 0, 0, PAGE, 0 },
		{ WIRE_GO, 0, 0, 0, 0, 0 },
		{ 0, 0, 0, 0, PAGE, 0 },
	};
	struct receiver_block block;
	struct receiver receiver;
	struct error err;
	struct stat st;
	size_t i;
	int fd = memfd_create("unit", 0);

	receiver_make(&receiver, &block, fd);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.code = EXIT_OK;
		CHECK_EQ(receiver_apply(&receiver, &bad[i], payload, &err), -1);
		CHECK_EQ(err.code, EXIT_PEER);
		CHECK_HAS(err.message, "refused what the peer sent");
	}
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(st.st_size, (PAGES + 2) * PAGE);
	receiver_close(&receiver);
	close(fd);
}

/* The whole block and not a byte more. */
TEST(receiver_writes_up_to_the_blocks_ends)
{
	struct wire_frame frame = { .type = WIRE_PAGES, .length = PAGE };
	struct receiver_block block;
	struct receiver receiver;
	struct error err;
	int fd = memfd_create("unit", 0);
	uint8_t page[PAGE];

	receiver_make(&receiver, &block, fd);
	CHECK_EQ(block.hashes[PAGES - 1], hash_zero_page());
	CHECK_EQ(receiver_apply(&receiver, &frame, payload, &err), 0);
	frame.offset = (PAGES - 1) * PAGE;
	CHECK_EQ(receiver_apply(&receiver, &frame, payload, &err), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_DATA), PAGE);
	CHECK_EQ(lseek(fd, PAGE, SEEK_HOLE), 2 * PAGE);
	CHECK_EQ(pread(fd, page, PAGE, PAGES * PAGE), PAGE);
	CHECK(!memcmp(page, payload, PAGE));
	CHECK_EQ(lseek(fd, 0, SEEK_END), (PAGES + 2) * PAGE);
	CHECK_EQ(block.hashes[0], hash_page(payload));
	CHECK_EQ(block.hashes[PAGES - 1], hash_page(payload));
	frame = (struct wire_frame){ .type = WIRE_ZERO, .count = block.size };
	CHECK_EQ(receiver_apply(&receiver, &frame, NULL, &err), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_DATA), -1);
	CHECK_EQ(block.hashes[0], hash_zero_page());
	CHECK_EQ(receiver.pages, 2);
	CHECK_EQ(receiver.zero_pages, PAGES);
	receiver_close(&receiver);
	close(fd);
}

TEST(receiver_refuses_blocks_that_are_none)
{
	struct receiver_block block = { .fd = memfd_create("unit", 0) };
	struct receiver receiver;
	struct error err;

	block.size = PAGE;
	CHECK_EQ(receiver_open(&receiver, &block, 1, &err), -1);
	CHECK_STR(err.message,
		  "memory block 0: its file ends before the block does");
	block.size = 100;
	CHECK_EQ(receiver_open(&receiver, &block, 1, &err), -1);
	CHECK_HAS(err.message, "whole pages");
	receiver_close(&receiver);
	close(block.fd);
}

/* Fill the block until it fails; says after how many bytes. */
static uint64_t fill(struct receiver *receiver, struct error *err)
{
	struct wire_frame frame = {
		.type = WIRE_PAGES, .length = WIRE_CHUNK,
	};

	for (; frame.offset < PAGES * PAGE; frame.offset += frame.length) {
		if (receiver_apply(receiver, &frame, payload, err))
			break;
	}
	return frame.offset;
}

TEST(receiver_says_that_the_limit_of_files_is_reached)
{
	struct rlimit limit = { 1 << 20, RLIM_INFINITY };
	char name[] = "/tmp/migtrack-unit-XXXXXX";
	struct receiver_block block;
	struct receiver receiver;
	struct error err;
	int fd = mkstemp(name);

	unlink(name);
	receiver_make(&receiver, &block, fd);
	signal(SIGXFSZ, SIG_IGN);
	fflush(stdout);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	CHECK(fill(&receiver, &err) < 1 << 20);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	CHECK_EQ(err.code, EXIT_FAILED);
	CHECK_HAS(err.message, "memory block 0 pc.ram: File too large");
	CHECK_HAS(err.advice, "ulimit -f");
	receiver_close(&receiver);
	close(fd);
}

TEST(receiver_says_that_the_destination_is_full)
{
	char dir[] = "/tmp/migtrack-unit-XXXXXX", path[64];
	struct receiver_block block;
	struct receiver receiver;
	struct error err;
	int fd;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		printf("# needs root: not tested\n");
		return;
	}
	CHECK(mkdtemp(dir));
	CHECK_EQ(mount("none", dir, "tmpfs", 0, "size=1m"), 0);
	snprintf(path, sizeof(path), "%s/ram", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	receiver_make(&receiver, &block, fd);
	CHECK_EQ(fill(&receiver, &err), 1 << 20);
	CHECK_EQ(err.code, EXIT_FAILED);
	CHECK_HAS(err.message, "memory block 0 pc.ram: No space left on device");
	CHECK_HAS(err.advice, "remount,size=");
	receiver_close(&receiver);
	close(fd);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

/* A seal refuses the write, as a read-only file would. */
TEST(receiver_says_that_it_may_not_write)
{
	struct wire_frame frame = { .type = WIRE_ZERO, .count = PAGE };
	struct receiver_block block;
	struct receiver receiver;
	struct error err;
	int fd = memfd_create("unit", MFD_ALLOW_SEALING);

	receiver_make(&receiver, &block, fd);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CHECK_EQ(receiver_apply(&receiver, &frame, NULL, &err), -1);
	CHECK_HAS(err.message, "memory block 0 pc.ram: Operation not permitted");
	receiver_close(&receiver);
	close(fd);
}

/* ramfs has no holes to punch: zeros are written. */
TEST(receiver_writes_zeros_where_it_cannot_punch)
{
	char dir[] = "/tmp/migtrack-unit-XXXXXX", path[64];
	struct wire_frame frame = {
		.type = WIRE_ZERO, .offset = PAGE, .count = 100 * PAGE,
	};
	struct receiver_block block;
	struct receiver receiver;
	uint8_t page[PAGE];
	struct error err;
	int fd, i;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		printf("# needs root: not tested\n");
		return;
	}
	CHECK(mkdtemp(dir));
	CHECK_EQ(mount("none", dir, "ramfs", 0, NULL), 0);
	snprintf(path, sizeof(path), "%s/ram", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	receiver_make(&receiver, &block, fd);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			   PAGE), -1);
	CHECK_EQ(fill(&receiver, &err), PAGES * PAGE);
	CHECK_EQ(receiver_apply(&receiver, &frame, NULL, &err), 0);
	for (i = 0; i < 103; i++) {
		CHECK_EQ(pread(fd, page, PAGE, (off_t)((1 + (unsigned)i) * PAGE)), PAGE);
		CHECK_EQ(page_is_zero(page), i >= 1 && i < 101);
		CHECK_EQ(block.hashes[i], hash_page(page));
	}
	receiver_close(&receiver);
	close(fd);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}
