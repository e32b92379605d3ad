// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/control.h"

const char set_usage[] =
	"migctl set SESSION OPTIONS\n"
	"\n"
	"Change the limits of a migration that is under way. SESSION is its number in\n"
	"migctl list.\n"
	"\n"
	"  --downtime T         the guest may be stopped for so long\n"
	"  --max-downtime T     raise that by itself up to this\n"
	"  --timeout T          since the start\n"
	"  --switchover-bandwidth RATE\n"
	"                       decide by this many bytes a second\n"
	"  --max-bandwidth RATE send no more than that while the guest runs";

enum {
	OPTION_DOWNTIME = 256, OPTION_MAX_DOWNTIME, OPTION_TIMEOUT,
	OPTION_SWITCHOVER_BANDWIDTH, OPTION_MAX_BANDWIDTH,
};

static const struct {
	int option;
	const char *name;
	const char *key;
	int (*parse)(const char *name, const char *value, uint64_t *number,
		     struct error *err);
} settings[] = {
	{ OPTION_DOWNTIME, "--downtime", "downtime_ns", option_time },
	{ OPTION_MAX_DOWNTIME, "--max-downtime", "max_downtime_ns", option_time },
	{ OPTION_TIMEOUT, "--timeout", "timeout_ns", option_time },
	{ OPTION_SWITCHOVER_BANDWIDTH, "--switchover-bandwidth",
	  "bandwidth_bytes_per_second", option_rate },
	{ OPTION_MAX_BANDWIDTH, "--max-bandwidth", "max_bandwidth_bytes_per_second",
	  option_rate },
};

static int take(json_t *request, int option, struct error *err)
{
	uint64_t number;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (settings[i].option != option)
			continue;
		if (settings[i].parse(settings[i].name, optarg, &number, err))
			return -1;
		if (number > INT64_MAX)
			number = INT64_MAX;
		json_object_set_new(request, settings[i].key,
				    json_integer((json_int_t)number));
	}
	return 0;
}

static int parse(json_t *request, int argc, char **argv, uint64_t *session,
		 struct error *err)
{
	static const struct option longs[] = {
		{ "downtime", required_argument, NULL, OPTION_DOWNTIME },
		{ "max-downtime", required_argument, NULL, OPTION_MAX_DOWNTIME },
		{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
		{ "switchover-bandwidth", required_argument, NULL,
		  OPTION_SWITCHOVER_BANDWIDTH },
		{ "max-bandwidth", required_argument, NULL, OPTION_MAX_BANDWIDTH },
		COMMON_OPTIONS
	};
	int option;

	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0 || take(request, option, err))
			return -1;
	}
	if (optind >= argc) {
		error_set(err, EXIT_USAGE, "set: which session?");
		return error_advise(err, "give a number from migctl list");
	}
	if (option_number("set", argv[optind++], 1, UINT64_MAX, session, err) ||
	    option_end(argc, argv, err))
		return -1;
	if (json_object_size(request) > 1)
		return 0;
	error_set(err, EXIT_USAGE, "set: what?");
	return error_advise(err, "see migctl set --help");
}

int cmd_set(struct output *out, int argc, char **argv, struct error *err)
{
	json_t *request = json_pack("{s:s}", "command", "set");
	uint64_t session;

	if (parse(request, argc, argv, &session, err)) {
		json_decref(request);
		return -1;
	}
	if (control_ask(session, request, err))
		return -1;
	out_say(out, "Told the migration of session %llu.",
		(unsigned long long)session);
	return 0;
}
