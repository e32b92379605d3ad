/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection died in the handover: both sides try to reach each other again. */
#ifndef MIGCTL_DOUBT_H
#define MIGCTL_DOUBT_H

#include "common/units.h"

/* A connection that hangs is noticed after 30 s, by one side before the other. */
#define DOUBT_TIMEOUT	(60 * NS_PER_S)

#define DOUBT_USAGE \
	"  --doubt-timeout T    if the connection dies while the guest is handed over, try\n" \
	"                       to reach the other side for so long (1m)\n"

#endif /* MIGCTL_DOUBT_H */
