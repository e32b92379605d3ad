/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of the tests: writers of sequence.h, that are threads (threads.c) or vCPUs
 * (kvm.c). Its memory is a memfd, in regions of the same size.
 */
#ifndef UFFD_TEST_MACHINE_H
#define UFFD_TEST_MACHINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../selftests/migtrack/sequence.h"

#define MACHINE_MAX_WRITERS	4u
#define MACHINE_STATE_MAGIC	0x65636e6575716573ull

/**
 * struct machine - a guest
 * @writers: how many
 * @size: of its memory, a power of two
 * @regions: that it is handed over in
 * @broken: the userfaultfd that it hands over has none of its memory
 * @answer: numbers that it takes to answer; 0: nobody asks
 * @answer_at: the number that is the answer
 * @answering: who waits for that
 * @fd: its memory
 * @memory: mapped here
 */
struct machine {
	unsigned int writers;
	uint64_t size;
	size_t regions;
	bool broken;
	uint64_t answer;
	uint64_t answer_at;
	pthread_t answering;
	int fd;
	char *memory;
};

/* How its device state begins: what each writer had written when it was paused. */
struct machine_state {
	uint64_t magic;
	uint64_t writers;
	uint64_t pages;
	uint64_t written[MACHINE_MAX_WRITERS];
};

extern const char machine_name[];

/* Whether this host can have one; says why not. */
bool machine_possible(void);
/* Its memory is there. */
void machine_make(struct machine *m, uint64_t pace);
/* For the first time, or again. */
void machine_run(struct machine *m);
void machine_pause(struct machine *m);
struct sequencer *machine_writer(struct machine *m, unsigned int i);
/* It is paused; -1 if the descriptor has failed. */
int machine_save(struct machine *m, int fd);
int machine_load(struct machine *m, int fd);

/* io.c */
int write_all(int fd, const void *data, size_t size);
int read_all(int fd, void *data, size_t size);

/* machine.c */
uint64_t machine_pages(const struct machine *m);
int state_save(struct machine *m, int fd);
int state_load(struct machine *m, struct machine_state *state, int fd);

/* It is loaded, and has not run yet: from here on it is on its way to the answer. */
void answer_begin(struct machine *m);

/* handover.c: serves one client after the other, until one says quit or SIGTERM. */
void handover_serve(struct machine *m, const char *path, bool incoming);

#endif /* UFFD_TEST_MACHINE_H */
