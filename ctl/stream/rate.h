/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A limit of bytes per second: a token bucket, kept as the time at which all
 * that was sent is paid for. A rate of 0 is no limit.
 */
#ifndef MIGCTL_RATE_H
#define MIGCTL_RATE_H

#include <stdbool.h>
#include <stdint.h>

void rate_charge(uint64_t *paid_until, uint64_t rate, uint64_t bytes);
/*
 * Sleep until more may be sent, at most @patience ns, which becomes less by
 * that. Returns false if it may not be sent yet.
 */
bool rate_wait(uint64_t paid_until, uint64_t rate, uint64_t *patience);
/* How much to send at once, so that it goes out evenly. */
uint64_t rate_chunk(uint64_t rate);

#endif /* MIGCTL_RATE_H */
