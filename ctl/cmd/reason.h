/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An error that crosses the connection, so that both ends say the same. */
#ifndef MIGCTL_REASON_H
#define MIGCTL_REASON_H

#include "common/error.h"
#include "stream/channel.h"

/* Tells the other side why, if it is still there. */
void reason_send(struct channel *channel, enum wire_type type,
		 const struct error *err);

/* What the other side said, in a frame's @text; @what says who did what. */
int reason_take(const char *text, const char *what, struct error *err);

#endif /* MIGCTL_REASON_H */
