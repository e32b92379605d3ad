// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/restore.h"

const char restore_usage[] =
	"migctl restore [OPTIONS] DIRECTORY --qmp SOCKET\n"
	"\n"
	"Have a guest go on from where migctl snapshot saved it. QEMU waits for it with\n"
	"-incoming defer -S, and the same machine and memory as the one that was saved.\n"
	"Every page is compared with its digest. If it fails after the first page was\n"
	"loaded, this QEMU is ended: what it has is half a guest. Disks are not in a\n"
	"snapshot: they must be as they were when it was taken.\n"
	"\n"
	"  --qmp SOCKET  the QMP socket of the QEMU that gets the guest\n"
	"  --paused      leave the guest paused\n"
	"  -j, --json    one JSON object a line, in bytes and nanoseconds";

enum { OPTION_QMP = 256, OPTION_PAUSED };

static int options_parse(struct restore_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "paused", no_argument, NULL, OPTION_PAUSED },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct restore_options){};
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0)
			return -1;
		if (option == OPTION_QMP)
			options->qmp = optarg;
		else if (option == OPTION_PAUSED)
			options->paused = true;
	}
	if (optind < argc)
		options->dir = argv[optind++];
	if (option_end(argc, argv, err))
		return -1;
	if (options->dir && options->qmp)
		return 0;
	error_set(err, EXIT_USAGE, "restore: %s",
		  options->dir ? "into which QEMU?" : "which snapshot?");
	return error_advise(err, "give DIRECTORY and --qmp SOCKET; see migctl restore --help");
}

int cmd_restore(struct output *out, int argc, char **argv, struct error *err)
{
	struct restore_options options;

	if (options_parse(&options, argc, argv, err))
		return -1;
	return restore_qemu(out, &options, err);
}
