// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's netlink messages: replies, dumps, the family, and events. */
#include "../../../ctl/lib/netlink.c"
#include "fuzz.h"

static void reply(struct migtrack *mt, size_t size,
		  int (*fn)(const struct nlmsghdr *nlh, void *data), void *data)
{
	struct reply reply = { .fn = fn, .data = data };
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)mt->buffer;
	int len = (int)size;

	while (message_ok(nlh, len)) {
		mt->seq = nlh->nlmsg_seq;
		if (reply_message(mt, nlh, &reply) <= 0)
			break;
		nlh = mnl_nlmsg_next(nlh, &len);
	}
}

static void object(struct migtrack *mt, size_t size, const struct layout *layout)
{
	struct collection all = { .layout = layout };
	struct object target = { .layout = layout };

	target.data = malloc(layout->size);
	layout_init(layout, target.data);
	reply(mt, size, object_fill, &target);
	free(target.data);
	reply(mt, size, collection_add, &all);
	free(all.objects);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct migtrack mt;

	if (size > sizeof(mt.buffer))
		return 0;
	memcpy(mt.buffer, data, size);
	object(&mt, size, &migtrack_session_layout);
	object(&mt, size, &migtrack_source_layout);
	reply(&mt, size, family_parse, &mt);
	FUZZ_ASSERT(strlen(mt.message) < sizeof(mt.message));
	return 0;
}
