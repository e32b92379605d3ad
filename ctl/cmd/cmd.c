// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

#include "cmd/cmd.h"
#include "vmm/memfile.h"

int option_next(int argc, char **argv, const char *shorts,
		const struct option *longs, struct error *err)
{
	int option;

	opterr = 0;
	option = getopt_long(argc, argv, shorts, longs, NULL);
	if (option == -1)
		return 0;
	if (option != '?' && option != ':')
		return option;
	if (optopt && option == '?')
		error_set(err, EXIT_USAGE, "%s: unknown option -%c", argv[0],
			  optopt);
	else
		error_set(err, EXIT_USAGE, "%s: %s %s", argv[0],
			  option == ':' ? "a value is missing after" :
					  "unknown option", argv[optind - 1]);
	return error_advise(err, "see migctl %s --help", argv[0]);
}

int option_end(int argc, char **argv, struct error *err)
{
	if (optind >= argc)
		return 0;
	error_set(err, EXIT_USAGE, "%s: unexpected argument %s", argv[0],
		  argv[optind]);
	return error_advise(err, "see migctl %s --help", argv[0]);
}

int option_session(int argc, char **argv, uint64_t *id, struct error *err)
{
	static const struct option longs[] = { COMMON_OPTIONS };
	int option;

	while ((option = option_next(argc, argv, ":j", longs, err)))
		if (option < 0)
			return -1;
	if (optind >= argc) {
		error_set(err, EXIT_USAGE, "%s: which session?", argv[0]);
		return error_advise(err, "give a number from migctl list");
	}
	if (option_number(argv[0], argv[optind++], 1, UINT64_MAX, id, err))
		return -1;
	return option_end(argc, argv, err);
}

int option_time(const char *name, const char *value, uint64_t *ns,
		struct error *err)
{
	if (parse_time(value, ns)) {
		error_set(err, EXIT_USAGE, "%s %s: not a time", name, value);
		return error_advise(err,
				    "write it as 500ms, 1s, 2.5s, 10m or a number of seconds");
	}
	if (*ns >= NS_PER_MS)
		return 0;
	error_set(err, EXIT_USAGE, "%s %s: too short", name, value);
	return error_advise(err, "the minimum is 1ms, 1s is usual");
}

int option_rate(const char *name, const char *value, uint64_t *rate,
		struct error *err)
{
	if (!parse_size(value, rate) && *rate)
		return 0;
	error_set(err, EXIT_USAGE, "%s %s is no rate", name, value);
	return error_advise(err, "give bytes per second: 100M, 1G, 125000000");
}

int option_number(const char *name, const char *value, uint64_t min,
		  uint64_t max, uint64_t *number, struct error *err)
{
	if (!parse_number(value, max, number) && *number >= min)
		return 0;
	error_set(err, EXIT_USAGE, "%s %s: not a number of at least %llu",
		  name, value, (unsigned long long)min);
	return error_advise(err, "give a decimal number of at most %llu",
			    (unsigned long long)max);
}

int option_word(const char *name, const char *value, const char * const *words, size_t n,
		const char *advice, size_t *word, struct error *err)
{
	for (*word = 0; *word < n; ++*word) {
		if (!strcmp(value, words[*word]))
			return 0;
	}
	error_set(err, EXIT_USAGE, "%s %s is unknown", name, value);
	return error_advise(err, "%s", advice);
}

int kernel_open(struct migtrack **mt, struct error *err)
{
	int ret;

	ret = migtrack_open(mt);
	if (!ret)
		return 0;
	if (ret == -ENOENT) {
		error_set(err, EXIT_NO_MODULE,
			  "the migtrack kernel module is not loaded");
		return error_advise(err,
				    "load it with: modprobe migtrack (migctl check says what is missing)");
	}
	return error_set(err, EXIT_FAILED, "can't talk to the kernel: %s",
			 strerror(-ret));
}

static const char *kernel_advice(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return "run migctl as root, or with CAP_NET_ADMIN and CAP_SYS_PTRACE";
	case ESRCH:
		return "the process may have exited; see ps, and mind pid namespaces";
	case ENXIO:
		return "see /proc/PID/maps for what it maps; for the memory of another mount namespace use --ram fd:N or --qmp";
	case EINVAL:
	case EOPNOTSUPP:
	case EBADF:
		return MEMFILE_ADVICE;
	case ENOSPC:
		return "end a session (migctl list), or raise the limit in /sys/module/migtrack/parameters";
	case ENOENT:
	case ENODEV:
		return "see migctl list for the sessions that exist";
	default:
		return "";
	}
}

static enum exit_code kernel_code(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return EXIT_PERMISSION;
	case ESRCH:
	case ENOENT:
	case ENODEV:
		return EXIT_GONE;
	case ENXIO:
	case EINVAL:
	case EOPNOTSUPP:
	case EBADF:
		return EXIT_UNTRACKABLE;
	default:
		return EXIT_FAILED;
	}
}

int kernel_error(const struct migtrack *mt, int ret, const char *what,
		 struct error *err)
{
	const char *message = migtrack_message(mt);

	error_set(err, kernel_code(-ret), "%s: %s", what,
		  *message ? message : strerror(-ret));
	return error_advise(err, "%s", kernel_advice(-ret));
}

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

int signals_open(struct error *err)
{
	sigset_t set;
	int fd;

	ending_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return error_set(err, EXIT_FAILED, "signalfd: %s",
				 strerror(errno));
	return fd;
}

int signals_open_for_guest(struct error *err)
{
	static const int ignored[] = { SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU };
	size_t i;

	/* Stopped by a key we would leave a guest stopped: the guard sees only our end. */
	for (i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	return signals_open(err);
}

void signals_drain(int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) > 0)
		;
}

void signals_close(int fd)
{
	sigset_t set;

	signals_drain(fd);
	close(fd);
	ending_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void signals_end(struct output *out, int fd)
{
	if (fd >= 0)
		signals_drain(fd);
	out_may_wait(out, fd);
	if (fd >= 0)
		signals_close(fd);
}

uint64_t clock_ns(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

const struct flag_text flag_texts[] = {
	{ MIGTRACK_COUNTER_FLAGS_EXACT, "exact", NULL },
	{ MIGTRACK_COUNTER_FLAGS_CLAMPED, "clamped",
	  "a source reported an impossible size; its last good one stands for it" },
	{ MIGTRACK_COUNTER_FLAGS_STALE, "stale",
	  "a source could not be asked, or did not report in time; its last known numbers are shown" },
	{ MIGTRACK_COUNTER_FLAGS_GONE, "gone",
	  "what was tracked does not exist any more" },
	{ MIGTRACK_COUNTER_FLAGS_BARRIER, "barrier",
	  "a private or read-only mapping of the memory exists; 2 MiB around what it covers is reported whole, so the numbers are too high" },
	{ MIGTRACK_COUNTER_FLAGS_HUGE, "huge",
	  "huge pages appeared in the memory; each is reported whole, so the numbers are too high (see migctl check)" },
	{ MIGTRACK_COUNTER_FLAGS_HELD, "held",
	  "pages under I/O or pinned are reported at every sync until they are let go, so the numbers are too high" },
	{ MIGTRACK_COUNTER_FLAGS_UNKNOWN, "unknown",
	  "the size of a source is not known, so neither is what remains" },
	{ MIGTRACK_COUNTER_FLAGS_REINIT, "reinit",
	  "a device has new initial data, and is not ready to switch over" },
	{ }
};

void out_flags(struct output *out, const struct out_field *field,
	       uint32_t flags)
{
	const struct flag_text *text;
	json_t *names = json_array();
	char line[128] = "";

	for (text = flag_texts; text->flag; text++) {
		if (!(flags & text->flag))
			continue;
		json_array_append_new(names, json_string(text->name));
		if (!text->meaning)
			continue;
		if (line[0])
			strcat(line, ",");
		strcat(line, text->name);
	}
	out_json(out, field, names, line[0] ? line : "-");
}
