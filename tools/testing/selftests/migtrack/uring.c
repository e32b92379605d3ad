// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "uring.h"

static void *uring_map(struct uring *r, size_t size, uint64_t offset)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  r->fd, offset);

	if (addr == MAP_FAILED)
		err(1, "mmap of an io_uring");
	return addr;
}

static void uring_enter(struct uring *r, unsigned int submit, unsigned int wait)
{
	while (syscall(SYS_io_uring_enter, r->fd, submit, wait,
		       wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0) < 0)
		if (errno != EINTR)
			err(1, "io_uring_enter");
}

/**
 * uring_open() - make a ring
 * @r: filled in
 * @entries: how many reads at once, a power of two
 */
void uring_open(struct uring *r, unsigned int entries)
{
	struct io_uring_params p = {};
	char *ring;

	r->fd = syscall(SYS_io_uring_setup, entries, &p);
	if (r->fd < 0)
		err(1, "io_uring_setup");
	if (!(p.features & IORING_FEAT_SINGLE_MMAP))
		errx(1, "io_uring has two rings");
	ring = uring_map(r, p.cq_off.cqes + p.cq_entries * sizeof(*r->cqes),
			 IORING_OFF_SQ_RING);
	r->sqes = uring_map(r, p.sq_entries * sizeof(*r->sqes), IORING_OFF_SQES);
	r->sq_tail = (void *)(ring + p.sq_off.tail);
	r->sq_array = (void *)(ring + p.sq_off.array);
	r->sq_mask = p.sq_entries - 1;
	r->cq_head = (void *)(ring + p.cq_off.head);
	r->cq_tail = (void *)(ring + p.cq_off.tail);
	r->cq_mask = p.cq_entries - 1;
	r->cqes = (void *)(ring + p.cq_off.cqes);
}

/**
 * uring_register_buffer() - pin memory for reads that are fixed
 * @r: opened
 * @addr: of the memory
 * @size: of it
 */
void uring_register_buffer(struct uring *r, void *addr, size_t size)
{
	struct iovec iov = { addr, size };

	if (syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_BUFFERS, &iov, 1))
		err(1, "IORING_REGISTER_BUFFERS");
}

/**
 * uring_read() - begin to read
 * @r: opened, with room
 * @fixed: into the registered buffer
 * @fd: to read from
 * @addr: where to
 * @size: how much
 * @offset: where from
 * @data: what uring_wait() is to return
 */
void uring_read(struct uring *r, bool fixed, int fd, void *addr, size_t size,
		uint64_t offset, uint64_t data)
{
	unsigned int tail = *r->sq_tail, i = tail & r->sq_mask;
	struct io_uring_sqe *sqe = &r->sqes[i];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = fixed ? IORING_OP_READ_FIXED : IORING_OP_READ;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)addr;
	sqe->len = size;
	sqe->off = offset;
	sqe->user_data = data;
	r->sq_array[i] = i;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	uring_enter(r, 1, 0);
}

/**
 * uring_wait() - wait for the end of one read
 * @r: opened, with reads under way
 * @size: what it is to have read
 *
 * Return: its data.
 */
uint64_t uring_wait(struct uring *r, size_t size)
{
	unsigned int head = *r->cq_head;
	const struct io_uring_cqe *cqe = &r->cqes[head & r->cq_mask];
	uint64_t data;

	while (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		uring_enter(r, 0, 1);
	if (cqe->res != (int)size)
		errx(1, "a read by io_uring returned %d", cqe->res);
	data = cqe->user_data;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return data;
}
