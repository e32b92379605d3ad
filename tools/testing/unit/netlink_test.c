// SPDX-License-Identifier: GPL-2.0-or-later
/* The library's reading and writing of attributes, without a kernel. */
#include <errno.h>
#include <stdlib.h>

#include <linux/genetlink.h>

#include "lib/internal.h"
#include "unit.h"

static struct nlmsghdr *reply_new(char *buffer)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct genlmsghdr));
	return nlh;
}

TEST(uint_is_written_as_short_as_it_fits)
{
	struct migtrack mt = { .family = 42 };
	const struct nlattr *attr;
	struct request req;
	int n = 0;

	request_init(&mt, &req, MIGTRACK_CMD_SYNC, 0);
	CHECK_EQ(req.nlh->nlmsg_type, 42);
	request_put_uint(&req, 1, 0);
	request_put_uint(&req, 2, UINT32_MAX);
	request_put_uint(&req, 3, 1ull << 32);
	mnl_attr_for_each(attr, req.nlh, sizeof(struct genlmsghdr)) {
		n++;
		CHECK_EQ(mnl_attr_get_payload_len(attr), n == 3 ? 8 : 4);
	}
	CHECK_EQ(n, 3);
}

TEST(uint_is_read_in_both_sizes)
{
	char buffer[512] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = reply_new(buffer);
	struct migtrack_session session = {};

	mnl_attr_put_u32(nlh, MIGTRACK_A_SESSION_ID, 7);
	mnl_attr_put_u64(nlh, MIGTRACK_A_SESSION_ITERATION, 8);
	mnl_attr_put_u64(nlh, MIGTRACK_A_SESSION_TOTAL, UINT64_MAX);
	mnl_attr_put_u32(nlh, MIGTRACK_A_SESSION_FLAGS, 5);
	mnl_attr_put_u32(nlh, 999, 1);
	CHECK_EQ(message_parse(nlh, &migtrack_session_layout, &session), 0);
	CHECK_EQ(session.id, 7);
	CHECK_EQ(session.iteration, 8);
	CHECK(session.bytes.total == UINT64_MAX);
	CHECK_EQ(session.flags, 5);
	CHECK_EQ(session.memory, 0);
}

TEST(attributes_of_odd_sizes_are_refused)
{
	char buffer[512] __attribute__((aligned(8)));
	struct migtrack_source source = {};
	struct nlmsghdr *nlh;

	nlh = reply_new(buffer);
	mnl_attr_put_u16(nlh, MIGTRACK_A_SOURCE_LENGTH, 1);
	CHECK_EQ(message_parse(nlh, &migtrack_source_layout, &source), -EPROTO);
	nlh = reply_new(buffer);
	mnl_attr_put_u64(nlh, MIGTRACK_A_SOURCE_FLAGS, 1ull << 40);
	CHECK_EQ(message_parse(nlh, &migtrack_source_layout, &source), -EPROTO);
	nlh = mnl_nlmsg_put_header(buffer);
	CHECK_EQ(message_parse(nlh, &migtrack_source_layout, &source), -EPROTO);
}

/* A message of our own in the handle's buffer, as if received. */
static void event_put(struct migtrack *mt, uint8_t cmd, uint16_t attr,
		      uint64_t id)
{
	char *end = mt->buffer + mt->event_bytes;
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(end);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = mt->family;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	mnl_attr_put_u64(nlh, attr, id);
	mt->event_bytes += (int)MNL_ALIGN(nlh->nlmsg_len);
	mt->event = (struct nlmsghdr *)mt->buffer;
}

TEST(events_come_one_at_a_time)
{
	struct migtrack *mt = calloc(1, sizeof(*mt));
	struct migtrack_event event;

	mt->family = 42;
	event_put(mt, MIGTRACK_CMD_SESSION_NEW_NTF, MIGTRACK_A_SESSION_ID, 1);
	event_put(mt, 200, MIGTRACK_A_SESSION_ID, 2);
	event_put(mt, MIGTRACK_CMD_SOURCE_CHANGE_NTF,
		  MIGTRACK_A_SOURCE_SESSION_ID, 3);
	CHECK_EQ(migtrack_event_read(mt, &event), 0);
	CHECK_EQ(event.type, MIGTRACK_EVENT_SESSION_NEW);
	CHECK_EQ(event.session.id, 1);
	CHECK_EQ(migtrack_event_read(mt, &event), 0);
	CHECK_EQ(event.type, MIGTRACK_EVENT_SOURCE_CHANGE);
	CHECK_EQ(event.source.session_id, 3);
	CHECK_EQ(mt->event_bytes, 0);
	free(mt);
}

TEST(strings_are_read_as_far_as_there_is_room)
{
	char buffer[512] __attribute__((aligned(8))), name[101];
	struct nlmsghdr *nlh = reply_new(buffer);
	struct migtrack_source source = {};

	memset(name, 'x', 100);
	name[100] = '\0';
	mnl_attr_put_strz(nlh, MIGTRACK_A_SOURCE_NAME, name);
	CHECK_EQ(message_parse(nlh, &migtrack_source_layout, &source), 0);
	CHECK_EQ(strlen(source.name), sizeof(source.name) - 1);

	nlh = reply_new(buffer);
	mnl_attr_put_strz(nlh, MIGTRACK_A_SOURCE_NAME, "0000:3b:00.1");
	CHECK_EQ(message_parse(nlh, &migtrack_source_layout, &source), 0);
	CHECK_STR(source.name, "0000:3b:00.1");

	/* Without an end. */
	nlh = reply_new(buffer);
	mnl_attr_put(nlh, MIGTRACK_A_SOURCE_NAME, 4, "abcd");
	CHECK_EQ(message_parse(nlh, &migtrack_source_layout, &source), -EPROTO);
}
