// SPDX-License-Identifier: LGPL-2.1-or-later
/* The handle, requests and their replies, dumps. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/genetlink.h>

#include "internal.h"

/* A dump that the kernel found changed underneath is taken again. */
#define DUMP_ATTEMPTS	16

void request_init(struct migtrack *mt, struct request *req, uint8_t cmd,
		  uint16_t flags)
{
	struct genlmsghdr *genl;

	req->nlh = mnl_nlmsg_put_header(req->buffer);
	req->nlh->nlmsg_type = mt->family;
	req->nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	genl = mnl_nlmsg_put_extra_header(req->nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = MIGTRACK_FAMILY_VERSION;
}

/* The attribute type "uint": 4 bytes if the value fits, else 8. */
void request_put_uint(struct request *req, uint16_t attr, uint64_t value)
{
	if (value <= UINT32_MAX)
		mnl_attr_put_u32(req->nlh, attr, (uint32_t)value);
	else
		mnl_attr_put_u64(req->nlh, attr, value);
}

void request_put_u32(struct request *req, uint16_t attr, uint32_t value)
{
	mnl_attr_put_u32(req->nlh, attr, value);
}

void request_put_string(struct request *req, uint16_t attr, const char *value)
{
	mnl_attr_put_strz(req->nlh, attr, value);
}

struct nlattr *request_nest(struct request *req, uint16_t attr)
{
	return mnl_attr_nest_start(req->nlh, attr);
}

void request_nest_end(struct request *req, struct nlattr *nest)
{
	mnl_attr_nest_end(req->nlh, nest);
}

static const struct field *layout_find(const struct layout *layout,
				       uint16_t attr)
{
	size_t i;

	for (i = 0; i < layout->n; i++) {
		if (layout->fields[i].attr == attr)
			return &layout->fields[i];
	}
	return NULL;
}

static int field_store_string(const struct field *field,
			      const struct nlattr *attr, char *member)
{
	if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
		return -EPROTO;
	snprintf(member, field->size, "%s", mnl_attr_get_str(attr));
	return 0;
}

static int field_store(const struct field *field, const struct nlattr *attr,
		       void *object)
{
	char *member = (char *)object + field->offset;
	uint64_t value;
	uint32_t low;

	if (field->size > sizeof(value))
		return field_store_string(field, attr, member);
	switch (mnl_attr_get_payload_len(attr)) {
	case sizeof(uint32_t):
		value = mnl_attr_get_u32(attr);
		break;
	case sizeof(uint64_t):
		value = mnl_attr_get_u64(attr);
		break;
	default:
		return -EPROTO;
	}
	if (field->size == sizeof(value)) {
		memcpy(member, &value, sizeof(value));
		return 0;
	}
	if (value > UINT32_MAX)
		return -EPROTO;
	low = (uint32_t)value;
	memcpy(member, &low, sizeof(low));
	return 0;
}

/* An object of which nothing has been said yet. */
void layout_init(const struct layout *layout, void *object)
{
	memset(object, 0, layout->size);
	if (layout->init)
		layout->init(object);
}

/* Attributes that the layout does not know belong to a newer kernel. */
int message_parse(const struct nlmsghdr *nlh, const struct layout *layout,
		  void *object)
{
	const struct field *field;
	const struct nlattr *attr;
	int ret;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr))
		return -EPROTO;
	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		field = layout_find(layout, mnl_attr_get_type(attr));
		if (!field)
			continue;
		ret = field_store(field, attr, object);
		if (ret)
			return ret;
	}
	return 0;
}

/* Keep NLMSGERR_ATTR_MSG, if the kernel sent it, @offset bytes in. */
static void message_keep(struct migtrack *mt, const struct nlmsghdr *nlh,
			 size_t offset)
{
	const struct nlattr *attr;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (mnl_nlmsg_get_payload_len(nlh) < offset)
		return;
	mnl_attr_for_each(attr, nlh, offset) {
		if (mnl_attr_get_type(attr) != NLMSGERR_ATTR_MSG)
			continue;
		snprintf(mt->message, sizeof(mt->message), "%.*s",
			 (int)mnl_attr_get_payload_len(attr),
			 mnl_attr_get_str(attr));
	}
}

static int error_parse(struct migtrack *mt, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	size_t offset = sizeof(*err);

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*err))
		return -EPROTO;
	if (!err->error)
		return 0;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		offset += err->msg.nlmsg_len - sizeof(err->msg);
	message_keep(mt, nlh, offset);
	return err->error < 0 ? err->error : -EPROTO;
}

static int done_parse(struct migtrack *mt, const struct nlmsghdr *nlh)
{
	int error = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(nlh), sizeof(error));
	if (error < 0)
		message_keep(mt, nlh, sizeof(error));
	return error < 0 ? error : 0;
}

static int request_send(struct migtrack *mt, struct nlmsghdr *nlh)
{
	mt->message[0] = '\0';
	nlh->nlmsg_seq = ++mt->seq;
	if (mnl_socket_sendto(mt->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	return 0;
}

/* The kernel answers before sendto() returns, so a signal loses nothing. */
static int request_recv(struct migtrack *mt)
{
	ssize_t len;

	do {
		len = mnl_socket_recvfrom(mt->nl, mt->buffer,
					  sizeof(mt->buffer));
	} while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : (int)len;
}

/**
 * struct reply - what the messages of one answer go to
 * @fn: takes a message that is neither an error nor the end
 * @data: its argument
 * @interrupted: the kernel says that what was dumped changed meanwhile
 */
struct reply {
	int (*fn)(const struct nlmsghdr *nlh, void *data);
	void *data;
	bool interrupted;
};

/* Returns 1 to go on, 0 at the end, or a negative errno. */
static int reply_message(struct migtrack *mt, const struct nlmsghdr *nlh,
			 struct reply *reply)
{
	int ret;

	if (nlh->nlmsg_seq != mt->seq)
		return 1;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		reply->interrupted = true;
	switch (nlh->nlmsg_type) {
	case NLMSG_ERROR:
		return error_parse(mt, nlh);
	case NLMSG_DONE:
		return done_parse(mt, nlh);
	case NLMSG_NOOP:
		return 1;
	}
	ret = reply->fn(nlh, reply->data);
	return ret ? ret : 1;
}

static int reply_read(struct migtrack *mt, struct reply *reply)
{
	const struct nlmsghdr *nlh;
	int len, ret;

	for (;;) {
		len = request_recv(mt);
		if (len < 0)
			return len;
		nlh = (const struct nlmsghdr *)mt->buffer;
		while (message_ok(nlh, len)) {
			ret = reply_message(mt, nlh, reply);
			if (ret <= 0)
				return ret;
			nlh = mnl_nlmsg_next(nlh, &len);
		}
	}
}

struct object {
	const struct layout *layout;
	void *data;
};

static int object_fill(const struct nlmsghdr *nlh, void *data)
{
	struct object *object = data;

	if (!object->layout)
		return 0;
	return message_parse(nlh, object->layout, object->data);
}

int request_do(struct migtrack *mt, struct request *req,
	       const struct layout *layout, void *object)
{
	struct object target = { .layout = layout, .data = object };
	struct reply reply = { .fn = object_fill, .data = &target };
	int ret;

	if (layout)
		layout_init(layout, object);
	req->nlh->nlmsg_flags |= NLM_F_ACK;
	ret = request_send(mt, req->nlh);
	if (ret)
		return ret;
	return reply_read(mt, &reply);
}

/* Objects of one dump, in the order in which they came. */
struct collection {
	const struct layout *layout;
	char *objects;
	size_t n;
	size_t room;
};

static int collection_add(const struct nlmsghdr *nlh, void *data)
{
	struct collection *all = data;
	size_t size = all->layout->size;
	char *objects;
	int ret;

	if (all->n == all->room) {
		size_t room = all->room ? 2 * all->room : 16;

		objects = reallocarray(all->objects, room, size);
		if (!objects)
			return -ENOMEM;
		all->objects = objects;
		all->room = room;
	}
	layout_init(all->layout, all->objects + all->n * size);
	ret = message_parse(nlh, all->layout, all->objects + all->n * size);
	if (ret)
		return ret;
	all->n++;
	return 0;
}

static int collection_read(struct migtrack *mt, const struct request *req,
			   struct collection *all)
{
	struct reply reply = { .fn = collection_add, .data = all };
	struct request copy = *req;
	int attempt, ret;

	copy.nlh = (struct nlmsghdr *)copy.buffer;
	copy.nlh->nlmsg_flags |= NLM_F_DUMP | NLM_F_ACK;
	for (attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
		all->n = 0;
		reply.interrupted = false;
		ret = request_send(mt, copy.nlh);
		if (!ret)
			ret = reply_read(mt, &reply);
		if (ret || !reply.interrupted)
			return ret;
	}
	return -EAGAIN;
}

int request_dump(struct migtrack *mt, const struct request *req,
		 const struct layout *layout,
		 int (*fn)(const void *object, void *data), void *data)
{
	struct collection all = { .layout = layout };
	size_t i;
	int ret;

	ret = collection_read(mt, req, &all);
	for (i = 0; i < all.n && !ret; i++)
		ret = fn(all.objects + i * layout->size, data);
	free(all.objects);
	return ret;
}

static void group_parse(struct migtrack *mt, const struct nlattr *nest)
{
	const struct nlattr *attr;
	const char *name = "";
	uint32_t id = 0;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case CTRL_ATTR_MCAST_GRP_NAME:
			if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
				name = mnl_attr_get_str(attr);
			break;
		case CTRL_ATTR_MCAST_GRP_ID:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
				id = mnl_attr_get_u32(attr);
			break;
		}
	}
	if (!strcmp(name, MIGTRACK_MCGRP_EVENTS))
		mt->group = id;
}

static int family_parse(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *attr, *nest;
	struct migtrack *mt = data;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (mnl_attr_get_type(attr)) {
		case CTRL_ATTR_FAMILY_ID:
			if (mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
				mt->family = mnl_attr_get_u16(attr);
			break;
		case CTRL_ATTR_MCAST_GROUPS:
			mnl_attr_for_each_nested(nest, attr)
				group_parse(mt, nest);
			break;
		}
	}
	return 0;
}

int family_resolve(struct migtrack *mt)
{
	struct reply reply = { .fn = family_parse, .data = mt };
	struct genlmsghdr *genl;
	struct request req;
	int ret;

	req.nlh = mnl_nlmsg_put_header(req.buffer);
	req.nlh->nlmsg_type = GENL_ID_CTRL;
	req.nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	genl = mnl_nlmsg_put_extra_header(req.nlh, sizeof(*genl));
	genl->cmd = CTRL_CMD_GETFAMILY;
	genl->version = 1;
	mnl_attr_put_strz(req.nlh, CTRL_ATTR_FAMILY_NAME, MIGTRACK_FAMILY_NAME);
	ret = request_send(mt, req.nlh);
	if (ret)
		return ret;
	ret = reply_read(mt, &reply);
	if (ret)
		return ret;
	return mt->family ? 0 : -ENOENT;
}
