// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream/hash.h"
#include "stream/receiver.h"

static int block_error(const struct receiver *receiver, size_t index,
		       const char *what, struct error *err)
{
	const char *name = receiver->blocks[index].name;

	return error_set(err, EXIT_FAILED, "memory block %zu%s%s: %s", index,
			 name ? " " : "", name ? name : "", what);
}

static int write_error(const struct receiver *receiver, size_t index,
		       int errnum, struct error *err)
{
	block_error(receiver, index, strerror(errnum), err);
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return error_advise(err,
				    "the file system of the destination's memory files is full: make it larger (mount -o remount,size= for a tmpfs) or free some of it");
	case EFBIG:
		return error_advise(err,
				    "the limit of file sizes (ulimit -f) is below the guest's memory: raise it");
	default:
		return -1;
	}
}

static int block_open(struct receiver *receiver, size_t index, struct error *err)
{
	struct receiver_block *block = &receiver->blocks[index];
	uint64_t end, pages = block->size / WIRE_PAGE_SIZE, i;
	struct stat st;

	if (block->offset % WIRE_PAGE_SIZE || block->size % WIRE_PAGE_SIZE ||
	    __builtin_add_overflow(block->offset, block->size, &end) ||
	    end > INT64_MAX)
		return block_error(receiver, index, "not made of whole pages",
				   err);
	if (fstat(block->fd, &st))
		return block_error(receiver, index, strerror(errno), err);
	if ((uint64_t)st.st_size < end)
		return block_error(receiver, index,
				   "its file ends before the block does", err);
	block->hashes = malloc((pages + 1) * sizeof(*block->hashes));
	if (!block->hashes)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < pages; i++)
		block->hashes[i] = hash_zero_page();
	return 0;
}

/**
 * receiver_open() - get ready to receive
 * @receiver: filled
 * @blocks: the memory
 * @nblocks: how many
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int receiver_open(struct receiver *receiver, struct receiver_block *blocks,
		  size_t nblocks, struct error *err)
{
	size_t i;

	*receiver = (struct receiver){ .blocks = blocks, .nblocks = nblocks };
	for (i = 0; i < nblocks; i++)
		blocks[i].hashes = NULL;
	for (i = 0; i < nblocks; i++) {
		if (block_open(receiver, i, err))
			goto err_close;
	}
	return 0;

err_close:
	receiver_close(receiver);
	return -1;
}

/**
 * receiver_close() - free what receiver_open() allocated
 * @receiver: opened, or all 0
 */
void receiver_close(struct receiver *receiver)
{
	size_t i;

	for (i = 0; i < receiver->nblocks; i++) {
		free(receiver->blocks[i].hashes);
		receiver->blocks[i].hashes = NULL;
	}
	receiver->nblocks = 0;
}

/**
 * receiver_is_empty() - has a block no data?
 * @block: its fd, offset and size are set
 *
 * Return: 1 if it is all hole, else 0.
 */
int receiver_is_empty(const struct receiver_block *block)
{
	off_t data = lseek(block->fd, (off_t)block->offset, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO;
	return (uint64_t)data >= block->offset + block->size;
}

static int data_write(int fd, const uint8_t *data, size_t size, uint64_t at)
{
	ssize_t len;

	while (size) {
		len = pwrite(fd, data, size, (off_t)at);
		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			return len ? -errno : -EIO;
		data += len;
		size -= (size_t)len;
		at += (uint64_t)len;
	}
	return 0;
}

static int zeros_write(int fd, uint64_t at, uint64_t size)
{
	static const uint8_t zeros[64 << 10];
	size_t step;
	int ret;

	for (; size; size -= step, at += step) {
		step = size < sizeof(zeros) ? size : sizeof(zeros);
		ret = data_write(fd, zeros, step, at);
		if (ret)
			return ret;
	}
	return 0;
}

static int range_punch(int fd, uint64_t at, uint64_t size)
{
	int ret;

	do {
		ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)at, (off_t)size);
	} while (ret && errno == EINTR);
	return ret ? -errno : 0;
}

/* Make a range zero and give its memory back, where the file system can. */
static int range_clear(int fd, uint64_t at, uint64_t size)
{
	int ret = range_punch(fd, at, size);

	if (ret != -EOPNOTSUPP && ret != -ENOSYS)
		return ret;
	return zeros_write(fd, at, size);
}

/* Several channels do. */
static void count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

void receiver_note(struct receiver *receiver, uint32_t block, uint64_t page, uint64_t n,
		   const uint8_t *data)
{
	uint64_t *hashes = receiver->blocks[block].hashes + page, i;

	for (i = 0; i < n; i++)
		hashes[i] = data ? hash_page(data + i * WIRE_PAGE_SIZE) : hash_zero_page();
	count(data ? &receiver->pages : &receiver->zero_pages, n);
}

int receiver_punch(const struct receiver *receiver, uint32_t block, uint64_t page,
		   uint64_t n, struct error *err)
{
	const struct receiver_block *b = &receiver->blocks[block];
	int ret = range_punch(b->fd, b->offset + page * WIRE_PAGE_SIZE, n * WIRE_PAGE_SIZE);

	return ret ? write_error(receiver, block, -ret, err) : 0;
}

static int apply_pages(struct receiver *receiver, const struct wire_frame *frame,
		       const uint8_t *payload, struct error *err)
{
	struct receiver_block *block = &receiver->blocks[frame->block];
	int ret;

	ret = data_write(block->fd, payload, frame->length,
			 block->offset + frame->offset);
	if (ret)
		return write_error(receiver, frame->block, -ret, err);
	receiver_note(receiver, frame->block, frame->offset / WIRE_PAGE_SIZE,
		      frame->length / WIRE_PAGE_SIZE, payload);
	return 0;
}

static int apply_zero(struct receiver *receiver, const struct wire_frame *frame,
		      struct error *err)
{
	struct receiver_block *block = &receiver->blocks[frame->block];
	int ret;

	ret = range_clear(block->fd, block->offset + frame->offset,
			  frame->count);
	if (ret)
		return write_error(receiver, frame->block, -ret, err);
	receiver_note(receiver, frame->block, frame->offset / WIRE_PAGE_SIZE,
		      frame->count / WIRE_PAGE_SIZE, NULL);
	return 0;
}

static int refuse(const struct wire_frame *frame, const char *what,
		  struct error *err)
{
	error_set(err, EXIT_PEER,
		  "refused what the peer sent, type %u for memory block %u at 0x%llx: %s",
		  frame->type, frame->block,
		  (unsigned long long)frame->offset, what);
	return error_advise(err,
			    "see whether migctl of the same version is at the other end");
}

/* The frame comes from outside: nothing in it is believed. */
int receiver_check(const struct receiver *receiver, const struct wire_frame *frame,
		   struct error *err)
{
	uint64_t size, count = frame->count;

	if (frame->type != WIRE_PAGES && frame->type != WIRE_ZERO)
		return refuse(frame, "this is not memory", err);
	if (wire_check(frame))
		return refuse(frame, "bad length", err);
	if (frame->type == WIRE_PAGES)
		count = frame->length;
	if (frame->block >= receiver->nblocks)
		return refuse(frame, "there is no such block", err);
	if (!count || count % WIRE_PAGE_SIZE || frame->offset % WIRE_PAGE_SIZE)
		return refuse(frame, "not whole pages", err);
	size = receiver->blocks[frame->block].size;
	if (frame->offset > size || count > size - frame->offset)
		return refuse(frame, "reaches past the block's end", err);
	return 0;
}

/**
 * receiver_apply() - do what a frame says
 * @receiver: opened
 * @frame: WIRE_PAGES or WIRE_ZERO, as it came
 * @payload: frame->length bytes
 * @err: why it failed; EXIT_PEER if the frame is refused
 *
 * Return: 0 or -1.
 */
int receiver_apply(struct receiver *receiver, const struct wire_frame *frame,
		   const void *payload, struct error *err)
{
	if (receiver_check(receiver, frame, err))
		return -1;
	if (frame->type == WIRE_PAGES)
		return apply_pages(receiver, frame, payload, err);
	return apply_zero(receiver, frame, err);
}
