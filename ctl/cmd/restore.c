// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/restore.h"

const char restore_usage[] =
	"migctl restore [OPTIONS] DIRECTORY --qmp|--vmm SOCKET\n"
	"       migctl restore [OPTIONS] DIRECTORY --lazy --listen SOCKET\n"
	"\n"
	"Have a guest go on from where migctl snapshot saved it. QEMU waits for it with\n"
	"-incoming defer -S, and the same machine and memory as the one that was saved.\n"
	"Every page is compared with its digest. If it fails after the first page was\n"
	"loaded, this VMM is ended: what it has is half a guest. Disks are not in a\n"
	"snapshot: they must be as they were when it was taken.\n"
	"\n"
	"A QEMU whose memory back ends are the snapshot's own files, mapped privately\n"
	"(share=off,readonly=on,rom=off,mem-path=DIRECTORY/memory0), is given no copy: it\n"
	"reads them as the guest touches them, and writes nothing there.\n"
	"\n"
	"With --lazy a VMM that hands over its userfaultfd gets its memory page by page as\n"
	"it touches it, the rest meanwhile, and the working set before that if one was\n"
	"recorded. It connects as Firecracker does to its UFFD back end, and DIRECTORY may\n"
	"also be the memory file of a snapshot that it made.\n"
	"\n"
	"  --qmp SOCKET     the QMP socket of the QEMU that gets the guest\n"
	"  --vmm SOCKET     that of a VMM which hands over its memory itself\n"
	"  --paused         leave the guest paused\n"
	"  --verify WHEN    compare memory that is mapped before the guest runs (default), or\n"
	"                   after: it runs at once, and is ended if a page differs\n"
	"  --lazy           load pages as they are touched\n"
	"  --listen SOCKET  where the VMM connects; a path\n"
	"  --keep           serve every VMM that comes, until Ctrl-C\n"
	"  --record-working-set T\n"
	"                   note in which order pages are touched, for this time, before the\n"
	"                   rest is loaded; they are loaded first from then on\n"
	"  -j, --json       one JSON object a line, in bytes and nanoseconds";

enum {
	OPTION_QMP = 256, OPTION_VMM, OPTION_PAUSED, OPTION_LAZY, OPTION_LISTEN, OPTION_KEEP,
	OPTION_RECORD, OPTION_VERIFY,
};

static int option_verify(struct restore_options *options, const char *value,
			 struct error *err)
{
	static const char * const words[] = { "before", "after" };
	size_t word;

	if (option_word("--verify", value, words, ARRAY_SIZE(words),
			"it is before or after", &word, err))
		return -1;
	options->verify = true;
	options->verify_after = word;
	return 0;
}

static int options_take(struct restore_options *options, int option,
			struct error *err)
{
	switch (option) {
	case OPTION_QMP:
		return choice_take(&options->guest, &vmm_driver_qemu, optarg, err);
	case OPTION_VMM:
		return choice_take(&options->guest, &vmm_driver_handover, optarg, err);
	case OPTION_PAUSED:
		options->paused = true;
		return 0;
	case OPTION_VERIFY:
		return option_verify(options, optarg, err);
	case OPTION_LAZY:
		options->lazy = true;
		return 0;
	case OPTION_LISTEN:
		options->listen = optarg;
		return 0;
	case OPTION_KEEP:
		options->keep = true;
		return 0;
	case OPTION_RECORD:
		return option_time("--record-working-set", optarg,
				   &options->record_ns, err);
	default:
		return 0;
	}
}

static int options_check(const struct restore_options *options, struct error *err)
{
	bool of_lazy = options->listen || options->keep || options->record_ns;
	bool of_whole = options->guest.socket || options->paused || options->verify;

	if (!options->dir) {
		error_set(err, EXIT_USAGE, "restore: which snapshot?");
		return error_advise(err, "give DIRECTORY; see migctl restore --help");
	}
	if (options->lazy ? of_whole : of_lazy) {
		error_set(err, EXIT_USAGE, "restore: --qmp, --vmm, --paused and --verify are without --lazy; --listen, --keep and --record-working-set with it");
		return error_advise(err, "see migctl restore --help");
	}
	if (options->keep && options->record_ns) {
		error_set(err, EXIT_USAGE, "restore: a working set is that of one VMM");
		return error_advise(err, "give --record-working-set without --keep");
	}
	if (options->lazy ? options->listen : options->guest.socket)
		return 0;
	error_set(err, EXIT_USAGE, "restore: into which VMM?");
	return error_advise(err, "give --qmp SOCKET or --vmm SOCKET, or --lazy --listen SOCKET; see migctl restore --help");
}

static int options_parse(struct restore_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "qmp", required_argument, NULL, OPTION_QMP },
		{ "vmm", required_argument, NULL, OPTION_VMM },
		{ "paused", no_argument, NULL, OPTION_PAUSED },
		{ "verify", required_argument, NULL, OPTION_VERIFY },
		{ "lazy", no_argument, NULL, OPTION_LAZY },
		{ "listen", required_argument, NULL, OPTION_LISTEN },
		{ "keep", no_argument, NULL, OPTION_KEEP },
		{ "record-working-set", required_argument, NULL, OPTION_RECORD },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct restore_options){};
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0 || options_take(options, option, err))
			return -1;
	}
	if (optind < argc)
		options->dir = argv[optind++];
	if (option_end(argc, argv, err))
		return -1;
	return options_check(options, err);
}

int cmd_restore(struct output *out, int argc, char **argv, struct error *err)
{
	struct restore_options options;

	if (options_parse(&options, argc, argv, err))
		return -1;
	return options.lazy ? restore_lazy(out, &options, err) :
			      restore_whole(out, &options, err);
}
