// SPDX-License-Identifier: GPL-2.0-or-later
/* What a stranger says at the door, in two parts; and what ours say there. */
#include "../../../ctl/stream/door.c"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct visitor visitor;
	size_t half = size / 2;
	struct wire_frame frame;
	struct error err;
	int pair[2], ret;

	FUZZ_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	channel_open(&visitor.channel, pair[0], "fuzz");
	visitor.got = 0;
	memset(visitor.bytes, 0, WIRE_HEADER_SIZE);
	FUZZ_ASSERT(send(pair[1], data, half, MSG_DONTWAIT) == (ssize_t)half);
	ret = visitor_read(&visitor, &frame, &err);
	if (!ret) {
		FUZZ_ASSERT(send(pair[1], data + half, size - half, MSG_DONTWAIT) ==
			    (ssize_t)(size - half));
		ret = visitor_read(&visitor, &frame, &err);
	}
	FUZZ_ASSERT(visitor.got <= sizeof(visitor.bytes));
	if (ret > 0)
		FUZZ_ASSERT(visitor.got == WIRE_HEADER_SIZE + frame.length);
	channel_close(&visitor.channel);
	close(pair[1]);
	return 0;
}
