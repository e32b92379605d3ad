// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's netlink events. */
#include "../../../ctl/lib/handle.c"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct migtrack mt = { .family = 0x21 };
	struct migtrack_event event;

	if (size > sizeof(mt.buffer))
		return 0;
	memcpy(mt.buffer, data, size);
	mt.event = (const struct nlmsghdr *)mt.buffer;
	mt.event_bytes = (int)size;
	while (event_next(&mt, &event))
		;
	return 0;
}
