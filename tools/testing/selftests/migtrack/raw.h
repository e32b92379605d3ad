/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to the family that libmigtrack would not make. */
#ifndef RAW_H
#define RAW_H

#include <stddef.h>
#include <stdint.h>

/* An attribute: a text, or @size bytes of a number, 8 at the most. */
struct raw_attr {
	uint16_t type;
	uint16_t size;
	uint64_t value;
	const char *text;
};

#define RAW_U32(type, value)	{ type, 4, (uint32_t)(value), NULL }
#define RAW_UINT(type, value)	{ type, 8, value, NULL }

#define RAW_SMALL	4096

struct raw {
	int fd;
	uint16_t family;
	uint32_t seq;
	/* Of the last request: */
	char message[256];		/* what the kernel said */
	int missing;			/* attribute that it misses, 0 if none */
	unsigned int replies;
	int interrupted;		/* a dump that changed underneath */
	char buffer[32768] __attribute__((aligned(8)));
};

/* These end the program if the socket fails. */
void raw_open(struct raw *raw);
void raw_close(struct raw *raw);
void raw_send(struct raw *raw, uint8_t cmd, uint16_t flags,
	      const struct raw_attr *attrs, size_t n);

/* One read; 0: more is to come, 1: the end, or a negative errno from the kernel. */
int raw_recv(struct raw *raw, size_t size);

/* Send and read to the end; 0 or a negative errno. */
int raw_do(struct raw *raw, uint8_t cmd, uint16_t flags,
	   const struct raw_attr *attrs, size_t n);

#endif /* RAW_H */
