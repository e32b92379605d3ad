/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the files of libmigtrack; not installed. */
#ifndef LIBMIGTRACK_INTERNAL_H
#define LIBMIGTRACK_INTERNAL_H

#include <libmnl/libmnl.h>
#include <stdbool.h>

#include "migtrack.h"

#define MIGTRACK_BUFFER_SIZE	(32 * 1024)

/**
 * struct migtrack - a connection to the kernel's migtrack family
 * @nl: the netlink socket
 * @portid: its address
 * @seq: of the last request
 * @family: number of the generic netlink family
 * @group: number of its multicast group "events", 0 if there is none
 * @message: what the kernel said about the last call that failed
 * @event: next message to hand out by migtrack_event_read()
 * @event_bytes: bytes of messages left from @event on
 * @buffer: what was received last
 */
struct migtrack {
	struct mnl_socket *nl;
	unsigned int portid;
	unsigned int seq;
	uint16_t family;
	uint32_t group;
	char message[256];
	const struct nlmsghdr *event;
	int event_bytes;
	char buffer[MIGTRACK_BUFFER_SIZE] __attribute__((aligned(8)));
};

/* A request under construction: with MIGTRACK_MAX_DMA_RANGES of them at the most. */
struct request {
	struct nlmsghdr *nlh;
	char buffer[4096] __attribute__((aligned(8)));
};

/* Where an attribute goes in a struct: a number of 4 or 8 bytes, or a longer string. */
struct field {
	uint16_t attr;
	uint16_t size;
	uint16_t offset;
};

#define FIELD(type, member, attribute) {				\
	.attr = (attribute),						\
	.size = sizeof(((type *)NULL)->member),				\
	.offset = offsetof(type, member),				\
}

/**
 * struct layout - how a reply becomes a struct
 * @size: of the struct
 * @fields: its members
 * @n: how many
 * @init: sets the members for which absent is not 0, NULL if there are none
 */
struct layout {
	size_t size;
	const struct field *fields;
	size_t n;
	void (*init)(void *object);
};

/* Is there a whole message? mnl_nlmsg_ok() takes one of 2 GiB and more for one. */
static inline bool message_ok(const struct nlmsghdr *nlh, int len)
{
	return len >= (int)sizeof(*nlh) && nlh->nlmsg_len >= sizeof(*nlh) &&
	       nlh->nlmsg_len <= (uint32_t)len;
}

extern const struct layout migtrack_session_layout;
extern const struct layout migtrack_source_layout;

void request_init(struct migtrack *mt, struct request *req, uint8_t cmd,
		  uint16_t flags);
void request_put_uint(struct request *req, uint16_t attr, uint64_t value);
void request_put_u32(struct request *req, uint16_t attr, uint32_t value);
void request_put_string(struct request *req, uint16_t attr, const char *value);

struct nlattr *request_nest(struct request *req, uint16_t attr);
void request_nest_end(struct request *req, struct nlattr *nest);

/* Send, wait for the acknowledgement; a reply fills @object if there is one. */
int request_do(struct migtrack *mt, struct request *req,
	       const struct layout *layout, void *object);

/* Collects a consistent dump, then calls @fn with each object. */
int request_dump(struct migtrack *mt, const struct request *req,
		 const struct layout *layout,
		 int (*fn)(const void *object, void *data), void *data);

void layout_init(const struct layout *layout, void *object);
int message_parse(const struct nlmsghdr *nlh, const struct layout *layout,
		  void *object);
int family_resolve(struct migtrack *mt);

#endif /* LIBMIGTRACK_INTERNAL_H */
