/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QEMU whose guest is a firmware of a few bytes that counts in its memory, which
 * is a file: whether it runs is seen without asking QEMU.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/qmp.h"

extern char folder[];		/* of all their files */

/* What happens sooner or later has happened by then, on a busy machine as well. */
#define PATIENCE_MS	30000

/**
 * struct machine - a QEMU
 * @name: of its files
 * @qmp: path of its socket
 * @pid: of it
 * @counter: in its memory
 * @eyes: a second connection, to look without disturbing
 */
struct machine {
	char name[16];
	char qmp[128];
	pid_t pid;
	volatile uint32_t *counter;
	struct qmp *eyes;
};

int64_t now_us(void);
void sleep_ms(int ms);

void folder_create(void);
void folder_remove(void);

/* More options follow, up to a NULL. */
void machine_start(struct machine *m, const char *name, const char *machine,
		   const char *memory, ...);
void machine_end(struct machine *m);
void source_start(struct machine *m);
void destination_start(struct machine *m);

/* Is somebody at a QMP socket, and does it talk to us? */
bool socket_there(const char *path);

/* The guest's counter moves within @ms; how long it took, or -1. */
int64_t counts_within(const struct machine *m, int ms);
/* The same, of one of two: 0 or 1, or -1 if neither does. */
int which_counts(const struct machine *a, const struct machine *b, int ms);

/* All of QEMU's capabilities and parameters, as text to be freed. */
char *settings(const struct machine *m);

void copy_ram(const struct machine *from, const struct machine *to);

#endif /* MACHINE_H */
