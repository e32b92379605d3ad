// SPDX-License-Identifier: GPL-2.0-or-later
/* Why one side ends, as the other one is told. */
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/reason.h"
#include "unit.h"

/* What the other side makes of it. */
static void tell(const char *message, const char *advice, struct error *heard)
{
	static char payload[WIRE_MAX_PAYLOAD + 1];
	struct channel here, there;
	struct wire_frame frame;
	struct error err;
	int pair[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	channel_open(&here, pair[0], "here");
	channel_open(&there, pair[1], "there");
	error_set(&err, EXIT_VMM, "%s", message);
	error_advise(&err, "%s", advice);
	reason_send(&here, WIRE_FAILED, &err);
	close(pair[0]);
	CHECK_EQ(channel_receive(&there, &frame, payload, heard), 0);
	CHECK_EQ(frame.type, WIRE_FAILED);
	reason_take(payload, "the other side failed", heard);
	channel_close(&there);
}

TEST(reason_is_told)
{
	struct error heard;

	tell("no room left", "make some", &heard);
	CHECK_STR(heard.message, "the other side failed: no room left");
	CHECK_STR(heard.advice, "make some");
	CHECK_EQ(heard.code, EXIT_PEER);
}

/* A name in Latin-1, or one that was cut in the middle of a letter. */
TEST(reason_is_told_whatever_is_in_it)
{
	struct error heard;

	tell("/srv/gr\xf6\xdf" "e: no room left", "make some in /srv/gr\xc3", &heard);
	CHECK_STR(heard.message, "the other side failed: /srv/gr??e: no room left");
	CHECK_STR(heard.advice, "make some in /srv/gr?");
}
