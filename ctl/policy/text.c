// SPDX-License-Identifier: GPL-2.0-or-later
/* Names for programs, sentences for people. */
#include <stdio.h>

#include "common/units.h"
#include "policy/policy.h"

const char *policy_reason_name(enum policy_reason reason)
{
	switch (reason) {
	case POLICY_REASON_MORE_TO_MOVE:	return "more-to-move";
	case POLICY_REASON_TOO_SOON:		return "too-soon";
	case POLICY_REASON_ESTIMATE_FITS:	return "estimate-fits";
	case POLICY_REASON_ALL_MOVED:		return "all-moved";
	case POLICY_REASON_MAX_ITERATION:	return "max-iteration";
	case POLICY_REASON_FITS:		return "fits";
	case POLICY_REASON_NOT_READY:		return "not-ready";
	case POLICY_REASON_TOO_MUCH:		return "too-much";
	case POLICY_REASON_NO_BANDWIDTH:	return "no-bandwidth";
	case POLICY_REASON_UNKNOWN_SIZE:	return "unknown-size";
	case POLICY_REASON_TIMEOUT:		return "timeout";
	case POLICY_REASON_REINIT:		return "reinit";
	case POLICY_REASON_PROGRESS:		return "progress";
	case POLICY_REASON_WAIT_MINIMUM:	return "wait-minimum";
	case POLICY_REASON_COOL_DOWN:		return "cool-down";
	case POLICY_REASON_STALL:		return "stall";
	case POLICY_REASON_STOP_ONLY:		return "stop-only";
	case POLICY_REASON_MAX_DOWNTIME:	return "max-downtime";
	case POLICY_REASON_NO_TIME:		return "no-time";
	case POLICY_REASON_POSTCOPY_OFF:	return "postcopy-off";
	case POLICY_REASON_POSTCOPY_SOURCE:	return "postcopy-source";
	}
	return "unknown";
}

bool policy_reason_is_time(enum policy_reason reason)
{
	switch (reason) {
	case POLICY_REASON_TOO_SOON:
	case POLICY_REASON_MAX_ITERATION:
	case POLICY_REASON_TIMEOUT:
	case POLICY_REASON_MAX_DOWNTIME:
	case POLICY_REASON_NO_TIME:
		return true;
	default:
		return false;
	}
}

const char *policy_bandwidth_name(enum policy_bandwidth source)
{
	switch (source) {
	case POLICY_BANDWIDTH_UNKNOWN:		return "unknown";
	case POLICY_BANDWIDTH_MEASURED:		return "measured";
	case POLICY_BANDWIDTH_KEPT:		return "kept";
	case POLICY_BANDWIDTH_USER:		return "user";
	}
	return "unknown";
}

const char *policy_act_name(enum policy_act act)
{
	switch (act) {
	case POLICY_ACT_NONE:			return "none";
	case POLICY_ACT_RAISE:			return "raise-downtime";
	case POLICY_ACT_THROTTLE:		return "throttle";
	case POLICY_ACT_POSTCOPY:		return "postcopy";
	case POLICY_ACT_STOP:			return "stop-and-copy";
	case POLICY_ACT_GIVE_UP:		return "give-up";
	}
	return "unknown";
}

const char *policy_advice_name(enum policy_advice advice)
{
	switch (advice) {
	case POLICY_ADVICE_NONE:		return "none";
	case POLICY_ADVICE_DOWNTIME:		return "downtime";
	case POLICY_ADVICE_DEVICE:		return "device";
	case POLICY_ADVICE_READY:		return "ready";
	case POLICY_ADVICE_BANDWIDTH:		return "bandwidth";
	case POLICY_ADVICE_TIME:		return "time";
	case POLICY_ADVICE_POSTCOPY:		return "postcopy";
	}
	return "unknown";
}

static const char *meaning(enum policy_reason reason)
{
	switch (reason) {
	case POLICY_REASON_STALL:
		return "what is left gets no less";
	case POLICY_REASON_STOP_ONLY:
		return "what can be moved only while the guest is stopped is too much";
	case POLICY_REASON_NOT_READY:
		return "a device or the destination is not ready";
	case POLICY_REASON_UNKNOWN_SIZE:
		return "a device does not say how much it has to move";
	case POLICY_REASON_MAX_DOWNTIME:
		return "it takes a longer downtime than may be allowed";
	case POLICY_REASON_NO_TIME:
		return "it takes longer than the time that is left";
	case POLICY_REASON_TIMEOUT:
		return "the time is over";
	case POLICY_REASON_WAIT_MINIMUM:
		return "what is left gets no less; waiting for a moment with less";
	case POLICY_REASON_COOL_DOWN:
		return "what was done last has yet to show";
	default:
		return "";
	}
}

void policy_explain(char *text, size_t size, const struct policy_action *action)
{
	char value[UNIT_TEXT_SIZE], limit[UNIT_TEXT_SIZE];
	const char *what = meaning(action->reason);

	text[0] = '\0';
	if (!what[0])
		return;
	if (action->reason == POLICY_REASON_UNKNOWN_SIZE)
		snprintf(text, size, "%s: %s", what,
			 action->source ? action->source : "unknown");
	else if (policy_reason_is_time(action->reason))
		snprintf(text, size, "%s: %s of %s", what,
			 format_time(value, action->value),
			 format_time(limit, action->limit));
	else
		snprintf(text, size, "%s: %s left, %s fit into the downtime", what,
			 format_bytes(value, action->value),
			 format_bytes(limit, action->limit));
}

/* Rounded up: who allows what is said must not find it too little. */
static const char *enough_time(char text[UNIT_TEXT_SIZE], uint64_t ns)
{
	const uint64_t step = 100 * NS_PER_MS;

	if (ns >= 10 * NS_PER_S)
		return format_time(text, ns / step * step + (ns % step ? step : 0));
	snprintf(text, UNIT_TEXT_SIZE, "%llu ms",
		 (ns + NS_PER_MS - 1) / NS_PER_MS);
	return text;
}

static const char *enough_rate(char text[UNIT_TEXT_SIZE], uint64_t rate)
{
	uint64_t unit = 1024, tenths;

	while (rate / unit >= 1024 && unit < 1ull << 60)
		unit *= 1024;
	tenths = rate / (unit / 10) + 1;
	return format_rate(text, tenths < UINT64_MAX / unit ? tenths * unit / 10 : rate);
}

void policy_advise_limits(char *text, size_t size, uint64_t downtime,
			  uint64_t bandwidth)
{
	char time[UNIT_TEXT_SIZE], rate[UNIT_TEXT_SIZE];

	if (downtime == POLICY_UNKNOWN)
		snprintf(text, size, "%s", "");
	else if (bandwidth == POLICY_UNKNOWN)
		snprintf(text, size, "allow a downtime of %s",
			 enough_time(time, downtime));
	else
		snprintf(text, size, "allow a downtime of %s, or a bandwidth of %s",
			 enough_time(time, downtime), enough_rate(rate, bandwidth));
}

void policy_advise(char *text, size_t size, const struct policy_action *action)
{
	text[0] = '\0';
	switch (action->advice) {
	case POLICY_ADVICE_NONE:
		return;
	case POLICY_ADVICE_DOWNTIME:
		policy_advise_limits(text, size, action->needed_downtime,
				     action->needed_bandwidth);
		return;
	case POLICY_ADVICE_DEVICE:
		snprintf(text, size,
			 "%s: see its driver's messages, or unplug it for the migration",
			 action->source ? action->source : "the device");
		return;
	case POLICY_ADVICE_READY:
		snprintf(text, size,
			 "wait until the destination has acknowledged the devices' initial data");
		return;
	case POLICY_ADVICE_BANDWIDTH:
		snprintf(text, size,
			 "give the bandwidth to decide by: none could be measured");
		return;
	case POLICY_ADVICE_TIME:
		snprintf(text, size, "allow more time");
		return;
	case POLICY_ADVICE_POSTCOPY:
		snprintf(text, size,
			 "set both sides up for post-copy before the migration starts");
		return;
	}
}
