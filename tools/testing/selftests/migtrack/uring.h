/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of io_uring as reading takes. */
#ifndef URING_H
#define URING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uring {
	int fd;
	unsigned int *sq_tail, *sq_array, sq_mask;
	unsigned int *cq_head, *cq_tail, cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

/* All end the test program with a message if they can't. */
void uring_open(struct uring *r, unsigned int entries);
void uring_register_buffer(struct uring *r, void *addr, size_t size);
void uring_read(struct uring *r, bool fixed, int fd, void *addr, size_t size,
		uint64_t offset, uint64_t data);
uint64_t uring_wait(struct uring *r, size_t size);

#endif /* URING_H */
