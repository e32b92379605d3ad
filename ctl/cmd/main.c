// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

static command_fn cmd_help;
static command_fn cmd_version;

static const char help_usage[] = "migctl help [COMMAND]";
static const char version_usage[] = "migctl version [-j]";

struct command {
	const char *name;
	command_fn *run;
	const char *usage;
	const char *help;
};

static const struct command commands[] = {
	{ "track", cmd_track, track_usage,
	  "show how much memory a running guest writes" },
	{ "forecast", cmd_forecast, forecast_usage,
	  "whether a migration of a running guest would converge" },
	{ "migrate", cmd_migrate, migrate_usage,
	  "move a running guest to another QEMU" },
	{ "receive", cmd_receive, receive_usage,
	  "take over a guest that is moved here" },
	{ "snapshot", cmd_snapshot, snapshot_usage,
	  "save a running guest to a directory; it runs on" },
	{ "restore", cmd_restore, restore_usage,
	  "have a guest run from a snapshot" },
	{ "supervise", cmd_supervise, supervise_usage,
	  "decide for a migration that QEMU does itself" },
	{ "set", cmd_set, set_usage,
	  "change the limits of a migration that is under way" },
	{ "switchover", cmd_switchover, switchover_usage,
	  "end a migration now, whatever downtime that takes" },
	{ "cancel", cmd_cancel, cancel_usage,
	  "call a migration off; the guest runs on at the source" },
	{ "resolve", cmd_resolve, resolve_usage,
	  "end a migration that is in doubt, once it is known where the guest is" },
	{ "history", cmd_history, history_usage,
	  "past migrations, and why they ended" },
	{ "list", cmd_list, list_usage,
	  "the sessions on this host (also without a command)" },
	{ "show", cmd_show, show_usage,
	  "everything about one session" },
	{ "monitor", cmd_monitor, monitor_usage,
	  "sessions' events as they happen" },
	{ "check", cmd_check, check_usage,
	  "what this host can do, and how to fix what it can't" },
	{ "version", cmd_version, version_usage,
	  "the version of migctl" },
	{ "help", cmd_help, help_usage,
	  "this, or a command's options" },
};

static const struct command *command_find(const char *name, struct error *err)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	error_set(err, EXIT_USAGE, "there is no command %s", name);
	error_advise(err, "see migctl help");
	return NULL;
}

static void help_overview(struct output *out)
{
	size_t i;

	out_say(out, "migctl - what is still to be moved of a virtual machine\n");
	out_say(out, "Usage: migctl [COMMAND] [OPTIONS]\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		out_say(out, "  %-10s %s", commands[i].name, commands[i].help);
	out_say(out, "\nEvery command takes -j (--json): one JSON object a line, in bytes and\n"
		"nanoseconds. Exit codes and JSON keys are in migctl(8).");
}

static int cmd_help(struct output *out, int argc, char **argv,
		    struct error *err)
{
	const struct command *command;

	out->json = false;
	if (argc < 2) {
		help_overview(out);
		return 0;
	}
	command = command_find(argv[1], err);
	if (!command)
		return -1;
	out_say(out, "%s: %s\n\nUsage: %s", command->name, command->help,
		command->usage);
	return 0;
}

static int cmd_version(struct output *out, int argc, char **argv,
		       struct error *err)
{
	static const struct option longs[] = { COMMON_OPTIONS };
	static const struct out_field version = { "version", "migctl", 0, OUT_TEXT };
	int option;

	while ((option = option_next(argc, argv, ":j", longs, err)))
		if (option < 0)
			return -1;
	if (option_end(argc, argv, err))
		return -1;
	out_begin(out, OUT_RECORD, "version");
	out_text(out, &version, MIGTRACK_VERSION);
	out_end(out);
	return 0;
}

static bool has_option(int argc, char **argv, const char *brief,
		       const char *full)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], brief) || !strcmp(argv[i], full))
			return true;
	}
	return false;
}

static void write_failed(const struct output *out, const char *but)
{
	fprintf(stderr, "migctl: can't write: %s%s\n", strerror(out->error), but);
}

/* A guest that was moved, or saved, has been, whoever has read of it. */
static bool is_done(const struct command *command)
{
	return command->run == cmd_migrate || command->run == cmd_receive ||
	       command->run == cmd_supervise || command->run == cmd_snapshot ||
	       command->run == cmd_restore;
}

static int command_run(struct output *out, int argc, char **argv,
		       struct error *err)
{
	const struct command *command;
	char *help[] = { "help", argv[0], NULL };
	int ret;

	command = command_find(argv[0], err);
	if (!command)
		return -1;
	if (has_option(argc, argv, "-h", "--help"))
		return cmd_help(out, 2, help, err);
	ret = command->run(out, argc, argv, err);
	if (!ret && is_done(command) && out->failed) {
		write_failed(out, "; what was done is not affected by that");
		out->failed = false;
	}
	return ret;
}

/* Options before the command: only the bare migctl and the usual two. */
static int run(struct output *out, int argc, char **argv, struct error *err)
{
	char *name[] = { "list", NULL };

	if (argc > 1 && argv[1][0] != '-')
		return command_run(out, argc - 1, argv + 1, err);
	if (has_option(argc, argv, "-h", "--help"))
		return cmd_help(out, 1, argv, err);
	if (has_option(argc, argv, "-V", "--version"))
		return cmd_version(out, 1, argv, err);
	if (argc == 1 || (argc == 2 && out->json))
		return cmd_list(out, 1, name, err);
	if (out->json && argc > 2 && argv[2][0] != '-')
		return command_run(out, argc - 2, argv + 2, err);
	error_set(err, EXIT_USAGE, "unknown option %s", argv[1]);
	return error_advise(err, "options follow the command; see migctl help");
}

int main(int argc, char **argv)
{
	struct output out = { .stream = stdout };
	struct error err = {};
	int ret;

	out.json = has_option(argc, argv, "-j", "--json");
	ret = run(&out, argc, argv, &err);
	if (ret)
		out_error(&out, &err);
	else if (out.failed)
		write_failed(&out, "");
	if (ret)
		return err.code;
	return out.failed ? EXIT_FAILED : EXIT_OK;
}
