/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who writes to guest memory, and how. Each does so as fast as it can. */
#ifndef WRITER_H
#define WRITER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "guest.h"

#define WRITER_SLOTS	3

struct oracle;
struct writer;

/**
 * struct writer_ops - a kind of writer
 * @name: of it
 * @slots: it stamps so many of a page's slots, up to WRITER_SLOTS
 * @late: its data may come after a sync: it tells by writer_claim() where
 * @pins: it holds a page while it writes, which is then reported once more
 * @start: returns when it writes
 * @stop: returns when nothing of it is left; its control says stop
 * @run: for a writer that is a thread for each slot: what it does till it stops
 * @next: before a sync, when all older stamps are in memory
 * @check: after it; returns how much was missed that is not a stamp
 */
struct writer_ops {
	const char *name;
	unsigned int slots;
	bool late;
	bool pins;
	void (*start)(struct writer *w);
	void (*stop)(struct writer *w);
	void (*run)(struct writer *w, unsigned int i);
	void (*next)(struct writer *w);
	size_t (*check)(struct writer *w);
};

struct writer_thread {
	struct writer *writer;
	unsigned int i;
	pthread_t thread;
};

struct writer {
	const struct writer_ops *ops;
	struct oracle *oracle;
	unsigned int slot;		/* its first one */
	char *memory;			/* where it is mapped for whoever writes */
	struct stamp_control *control;
	struct stamper *stampers[WRITER_SLOTS];
	uint64_t *last[WRITER_SLOTS];	/* the last stamp of each page, or NULL */
	unsigned char *late, *was_late;	/* pages whose data is to come, if ops->late */
	struct writer_thread threads[WRITER_SLOTS];
	pid_t pid;			/* if it is a process */
	void *private;
};

/* Ways to run @run: as threads of this process, or of another. */
void writer_start_threads(struct writer *w);
void writer_stop_threads(struct writer *w);
void writer_start_process(struct writer *w, void (*main)(struct writer *w));
void writer_stop_process(struct writer *w);
void writer_process_main(struct writer *w);
void writer_map(struct writer *w);

uint64_t writer_next(struct writer *w, unsigned int i, uint64_t *page);
bool writer_claim(struct writer *w, uint64_t page);
void writer_landed(struct writer *w, uint64_t page);

/* writer_kvm.c */
extern const struct writer_ops writer_vcpus, writer_vcpus_bitmap, writer_vcpus_ring;
extern const struct writer_ops writer_vcpus_nested, writer_vcpus_process;
/* writer_host.c */
extern const struct writer_ops writer_threads, writer_process, writer_read;
extern const struct writer_ops writer_back_ends;
extern const struct writer_ops writer_vm_writev, writer_proc_mem, writer_ptrace;
/* writer_io.c */
extern const struct writer_ops writer_direct, writer_direct_process;
extern const struct writer_ops writer_uring, writer_uring_fixed;
/* writer_vhost.c */
extern const struct writer_ops writer_vhost_net;

/* By kind: test variant, how many processes map the memory, the writer. */
#define WRITERS_HOST(X)								\
	X(threads, 1, &writer_threads)						\
	X(second_process, 2, &writer_process)					\
	X(read, 1, &writer_read)						\
	X(process_vm_writev, 1, &writer_vm_writev)				\
	X(proc_pid_mem, 1, &writer_proc_mem)					\
	X(ptrace, 3, &writer_ptrace)

#define WRITERS_IO(X)								\
	X(direct, 1, &writer_direct)						\
	X(direct_by_a_second_process, 2, &writer_direct_process)		\
	X(io_uring, 1, &writer_uring)						\
	X(io_uring_registered, 1, &writer_uring_fixed)				\
	X(vhost_net, 1, &writer_vhost_net)

#define WRITERS_KVM(X)								\
	X(vcpus, 1, &writer_vcpus)						\
	X(vcpus_of_a_second_process, 2, &writer_vcpus_process)

#define WRITERS_KVM_LOG(X)							\
	X(vcpus_and_kvm_bitmap, 1, &writer_vcpus_bitmap)			\
	X(vcpus_and_kvm_ring, 1, &writer_vcpus_ring)				\
	X(vcpus_nested, 1, &writer_vcpus_nested)

#endif /* WRITER_H */
