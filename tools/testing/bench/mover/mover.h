/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How fast memory moves: what mover.c and floor.c share. */
#ifndef MOVER_H
#define MOVER_H

#include <stdint.h>

#include "stream/door.h"
#include "stream/wire.h"

#define CHUNK	WIRE_CHUNK

/**
 * struct job - what is to be measured
 * @n: connections
 * @from: the source's file
 * @to: the destination's
 * @size: of both
 * @door: the destination's
 * @address: of that
 * @copied: of what was sent without a copy, the part that the kernel has copied
 * @rest: seconds that what was on its way took when all was given, migctl's only
 */
struct job {
	unsigned int n;
	int from;
	int to;
	uint64_t size;
	struct door door;
	char address[64];
	double copied;
	double rest;
};

/* Ends the program. */
void die(const char *what);
double now(void);

/* All of the memory is moved, and there; seconds. */
double floor_source(struct job *job);
double sendfile_source(struct job *job);
double zerocopy_source(struct job *job);
void floor_destination(struct job *job);

#endif
