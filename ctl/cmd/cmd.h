/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What main() and the commands share. */
#ifndef MIGCTL_CMD_H
#define MIGCTL_CMD_H

#include <getopt.h>

#include "cmd/output.h"
#include "common/error.h"
#include "common/units.h"
#include "lib/migtrack.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Every command has these. */
#define COMMON_OPTIONS \
	{ "json", no_argument, NULL, 'j' }, \
	{ }

/* A command returns 0, or -1 with the error filled in. argv[0] is its name. */
typedef int command_fn(struct output *out, int argc, char **argv,
		       struct error *err);

command_fn cmd_cancel;
command_fn cmd_check;
command_fn cmd_forecast;
command_fn cmd_history;
command_fn cmd_list;
command_fn cmd_migrate;
command_fn cmd_monitor;
command_fn cmd_receive;
command_fn cmd_resolve;
command_fn cmd_restore;
command_fn cmd_set;
command_fn cmd_show;
command_fn cmd_snapshot;
command_fn cmd_supervise;
command_fn cmd_switchover;
command_fn cmd_track;

extern const char cancel_usage[];
extern const char check_usage[];
extern const char forecast_usage[];
extern const char history_usage[];
extern const char list_usage[];
extern const char migrate_usage[];
extern const char monitor_usage[];
extern const char receive_usage[];
extern const char resolve_usage[];
extern const char restore_usage[];
extern const char set_usage[];
extern const char show_usage[];
extern const char snapshot_usage[];
extern const char supervise_usage[];
extern const char switchover_usage[];
extern const char track_usage[];

/*
 * The next option: its letter, 0 after the last, -1 with the error filled in.
 * @shorts begins with a colon.
 */
int option_next(int argc, char **argv, const char *shorts,
		const struct option *longs, struct error *err);

/* Refuses what is left of the command line. */
int option_end(int argc, char **argv, struct error *err);

/* All of the command line of a command that takes a session, and -j. */
int option_session(int argc, char **argv, uint64_t *id, struct error *err);

int option_time(const char *name, const char *value, uint64_t *ns,
		struct error *err);
/* Bytes per second, not 0. */
int option_rate(const char *name, const char *value, uint64_t *rate,
		struct error *err);
int option_number(const char *name, const char *value, uint64_t min,
		  uint64_t max, uint64_t *number, struct error *err);
/* One of @n words; @advice names them. */
int option_word(const char *name, const char *value, const char * const *words, size_t n,
		const char *advice, size_t *word, struct error *err);

/* migtrack_open() with an error for people. */
int kernel_open(struct migtrack **mt, struct error *err);

/* What the kernel refused, as an error: @ret its errno, @what was tried. */
int kernel_error(const struct migtrack *mt, int ret, const char *what,
		 struct error *err);

/* SIGINT, SIGTERM and SIGHUP as a descriptor, from now on. */
int signals_open(struct error *err);
/* The same for who has a guest in hand: whoever reads what we say may end, too. */
int signals_open_for_guest(struct error *err);
/* What came of them is forgotten. */
void signals_drain(int fd);
/* There is nothing left to protect: they end the process again. */
void signals_close(int fd);
/*
 * After out_never_wait(): what was kept goes to whoever reads, or a signal ends that. Those
 * from before were for the guest. @fd is closed, or -1.
 */
void signals_end(struct output *out, int fd);

uint64_t clock_ns(int clock);

/* Flags: a JSON array of names, or names with commas between. */
void out_flags(struct output *out, const struct out_field *field,
	       uint32_t flags);

/* What a flag means to who reads the numbers, NULL after the last. */
struct flag_text {
	uint32_t flag;
	const char *name;
	const char *meaning;
};

extern const struct flag_text flag_texts[];

#endif /* MIGCTL_CMD_H */
