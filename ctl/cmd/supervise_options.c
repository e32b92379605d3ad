// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "cmd/limits.h"
#include "cmd/supervise.h"

const char supervise_usage[] =
	"migctl supervise [OPTIONS] --qmp SOCKET [--to ADDRESS]\n"
	"\n"
	"QEMU moves a guest itself, whatever its memory and devices; migctl counts what\n"
	"is left, decides and says why. Without --to it takes charge of the migration\n"
	"that is under way. Ctrl-C or migctl cancel call it off: the guest runs on here.\n"
	"\n"
	"  --qmp SOCKET         the source QEMU's QMP socket\n"
	"  --to ADDRESS         as QEMU's migrate takes it: tcp:HOST:PORT, unix:PATH\n"
	"  --downtime T         the guest may be stopped for so long (300ms)\n"
	"  --max-downtime T     raise that as far as needed, up to this\n"
	"  --fixed-cost T       of it, keep so much for the stop and the resume (0ms)\n"
	"  --switchover-bandwidth RATE\n"
	"                       decide by this many bytes a second (100M), not by what\n"
	"                       is measured\n"
	"  --max-bandwidth RATE have QEMU send no more than that while the guest runs\n"
	"  --timeout T          after this time, of all attempts, do what --on-timeout\n"
	"                       says\n"
	"  --on-timeout WHAT    cancel (default), postcopy, or stop: move the rest with\n"
	"                       the guest stopped, however long that takes\n"
	"  --postcopy           set the source up for post-copy, also against a stall;\n"
	"                       the destination's QEMU must have been, too\n"
	"  --attempts N         if a device starts anew when it is stopped (3)\n"
	"  --min-interval T     between two looks at all that is left (100ms)\n"
	"  --stall-window T     no progress for so long is a stall (40s)\n"
	"  --multifd N          move memory over N channels\n"
	"  --tls-creds ID       QEMU's object with the TLS credentials\n"
	"  --tls-hostname NAME  that the destination's certificate is to have\n"
	"  --switchover-ack     devices of the destination have a say; set there, too\n"
	"  --dry-run            watch the migration that is under way, and only say what\n"
	"                       would be done\n"
	"  --force              also a guest that libvirt manages\n"
	"  -j, --json           one JSON object a line, in bytes and nanoseconds";

enum {
	OPTION_QMP = 256, OPTION_TO, OPTION_SWITCHOVER_BANDWIDTH,
	OPTION_MAX_BANDWIDTH, OPTION_ON_TIMEOUT, OPTION_POSTCOPY, OPTION_ATTEMPTS,
	OPTION_MIN_INTERVAL, OPTION_MULTIFD,
	OPTION_TLS_CREDS, OPTION_TLS_HOSTNAME, OPTION_SWITCHOVER_ACK,
	OPTION_DRY_RUN, OPTION_FORCE,
};

/* What QEMU takes. */
#define MULTIFD_MAX	255
#define ATTEMPTS_MAX	100
#define MIN_INTERVAL	(10 * NS_PER_MS)

static int option_on_timeout(const char *value, struct supervise_options *options,
			     struct error *err)
{
	static const char * const names[] = {
		[POLICY_ON_TIMEOUT_CANCEL] = "cancel",
		[POLICY_ON_TIMEOUT_POSTCOPY] = "postcopy",
		[POLICY_ON_TIMEOUT_STOP] = "stop",
	};
	size_t word;

	if (option_word("--on-timeout", value, names, ARRAY_SIZE(names),
			"it is cancel, postcopy or stop", &word, err))
		return -1;
	options->limits.on_timeout = (enum policy_on_timeout)word;
	if (word == POLICY_ON_TIMEOUT_POSTCOPY)
		options->vmm.postcopy = true;
	return 0;
}

static int take_numbers(struct supervise_options *options, int option,
			struct error *err)
{
	uint64_t number;

	switch (option) {
	case OPTION_ATTEMPTS:
		if (option_number("--attempts", optarg, 1, ATTEMPTS_MAX, &number, err))
			return -1;
		options->attempts = (unsigned int)number;
		return 0;
	case OPTION_MULTIFD:
		if (option_number("--multifd", optarg, 1, MULTIFD_MAX, &number, err))
			return -1;
		options->vmm.multifd = (unsigned int)number;
		return 0;
	case OPTION_SWITCHOVER_BANDWIDTH:
		return option_rate("--switchover-bandwidth", optarg,
				   &options->limits.bandwidth, err);
	case OPTION_MAX_BANDWIDTH:
		return option_rate("--max-bandwidth", optarg,
				   &options->max_bandwidth, err);
	case OPTION_MIN_INTERVAL:
		return option_time("--min-interval", optarg,
				   &options->limits.min_interval, err);
	default:
		return limits_option(&options->limits, option, optarg, err);
	}
}

static int take_words(struct supervise_options *options, int option,
		      struct error *err)
{
	switch (option) {
	case OPTION_QMP:
		options->qmp = optarg;
		return 0;
	case OPTION_TO:
		options->vmm.to = optarg;
		return 0;
	case OPTION_ON_TIMEOUT:
		return option_on_timeout(optarg, options, err);
	case OPTION_POSTCOPY:
		options->vmm.postcopy = true;
		options->limits.allowed |= POLICY_ALLOW_POSTCOPY;
		return 0;
	case OPTION_TLS_CREDS:
		options->vmm.tls_creds = optarg;
		return 0;
	case OPTION_TLS_HOSTNAME:
		options->vmm.tls_hostname = optarg;
		return 0;
	case OPTION_SWITCHOVER_ACK:
		options->vmm.switchover_ack = true;
		return 0;
	case OPTION_DRY_RUN:
		options->dry_run = true;
		return 0;
	case OPTION_FORCE:
		options->vmm.force = true;
		return 0;
	default:
		return 0;
	}
}

static int options_take(struct supervise_options *options, int option,
			struct error *err)
{
	int ret = take_numbers(options, option, err);

	return ret > 0 ? take_words(options, option, err) : ret;
}

static int numbers_check(const struct policy_limits *limits, struct error *err)
{
	if (limits->downtime > DOWNTIME_ANY || limits->max_downtime > DOWNTIME_ANY) {
		error_set(err, EXIT_USAGE, "supervise: QEMU allows no downtime above %llu s",
			  DOWNTIME_ANY / NS_PER_S);
		return error_advise(err, "--on-timeout stop allows any, after a time");
	}
	if (limits->min_interval < MIN_INTERVAL ||
	    limits->min_interval > limits->max_iteration) {
		error_set(err, EXIT_USAGE, "supervise: --min-interval is from %llu ms to %llu s",
			  MIN_INTERVAL / NS_PER_MS,
			  (unsigned long long)(limits->max_iteration / NS_PER_S));
		return error_advise(err, "100ms is usual");
	}
	return limits_check("supervise", limits, err);
}

static int options_check(const struct supervise_options *options,
			 struct error *err)
{
	if (!options->qmp) {
		error_set(err, EXIT_USAGE, "supervise: which guest?");
		return error_advise(err, "give --qmp SOCKET; see migctl supervise --help");
	}
	if (options->dry_run && options->vmm.to) {
		error_set(err, EXIT_USAGE, "supervise: --dry-run starts no migration");
		return error_advise(err,
				    "leave --to out to watch one that is under way; before one, see migctl track");
	}
	if (!options->vmm.to && (options->vmm.multifd || options->vmm.tls_creds ||
				 options->vmm.tls_hostname || options->vmm.postcopy ||
				 options->vmm.switchover_ack)) {
		error_set(err, EXIT_USAGE,
			  "supervise: channels, TLS, post-copy and switchover-ack can't be set while a migration is under way");
		return error_advise(err, "leave them out, or start it with --to");
	}
	return numbers_check(&options->limits, err);
}

int supervise_options_parse(struct supervise_options *options, int argc,
			    char **argv, struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "to", required_argument, NULL, OPTION_TO },
		LIMITS_OPTIONS,
		{ "switchover-bandwidth", required_argument, NULL,
		  OPTION_SWITCHOVER_BANDWIDTH },
		{ "max-bandwidth", required_argument, NULL, OPTION_MAX_BANDWIDTH },
		{ "on-timeout", required_argument, NULL, OPTION_ON_TIMEOUT },
		{ "postcopy", no_argument, NULL, OPTION_POSTCOPY },
		{ "attempts", required_argument, NULL, OPTION_ATTEMPTS },
		{ "min-interval", required_argument, NULL, OPTION_MIN_INTERVAL },
		{ "multifd", required_argument, NULL, OPTION_MULTIFD },
		{ "tls-creds", required_argument, NULL, OPTION_TLS_CREDS },
		{ "tls-hostname", required_argument, NULL, OPTION_TLS_HOSTNAME },
		{ "switchover-ack", no_argument, NULL, OPTION_SWITCHOVER_ACK },
		{ "dry-run", no_argument, NULL, OPTION_DRY_RUN },
		{ "force", no_argument, NULL, OPTION_FORCE },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct supervise_options) {
		.limits = policy_default_limits,
		.attempts = 3,
	};
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0 || options_take(options, option, err))
			return -1;
	}
	if (option_end(argc, argv, err))
		return -1;
	options->limits.postcopy = options->vmm.postcopy;
	return options_check(options, err);
}
