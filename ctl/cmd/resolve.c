// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A migration in doubt: the destination was told to run the guest, and nobody heard
 * whether it does. Who has looked says so here.
 */
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/lock.h"
#include "cmd/record.h"
#include "vmm/migration.h"

const char resolve_usage[] =
	"migctl resolve [-j]\n"
	"migctl resolve [-j] SESSION --here|--there\n"
	"\n"
	"End a migration that is in doubt: the destination was told to run the guest and\n"
	"did not answer, or migctl died just then, and the guest is paused here. Without\n"
	"a SESSION, show which these are. Look at the destination first: never may two\n"
	"of them run.\n"
	"\n"
	"  --there      it runs at the destination: what is here is left paused, and can\n"
	"               be ended\n"
	"  --here       it does not run there and never will (its VMM has ended): it\n"
	"               runs on here\n"
	"  -j, --json   one JSON object a line";

enum { OPTION_HERE = 256, OPTION_THERE };

struct resolve_options {
	uint64_t session;
	bool here;
	bool there;
};

static int options_parse(struct resolve_options *options, int argc, char **argv,
			 struct error *err)
{
	static const struct option longs[] = {
		{ "here", no_argument, NULL, OPTION_HERE },
		{ "there", no_argument, NULL, OPTION_THERE },
		COMMON_OPTIONS
	};
	int option;

	*options = (struct resolve_options){};
	while ((option = option_next(argc, argv, ":j", longs, err))) {
		if (option < 0)
			return -1;
		options->here |= option == OPTION_HERE;
		options->there |= option == OPTION_THERE;
	}
	if (optind < argc &&
	    option_number(argv[0], argv[optind++], 1, UINT64_MAX, &options->session, err))
		return -1;
	if (option_end(argc, argv, err))
		return -1;
	if (options->here + options->there == !!options->session)
		return 0;
	error_set(err, EXIT_USAGE, "resolve: %s", options->session ?
		  "where is the guest?" : "which session?");
	return error_advise(err,
			    "give the session and one of --here and --there; migctl resolve alone shows the sessions");
}

enum { SESSION, STATE, QMP, TO, FIELDS };

static const struct out_field fields[FIELDS] = {
	[SESSION] = { "session_id", "SESSION", 7, OUT_NUMBER },
	[STATE] = { "state", "STATE", -11, OUT_TEXT },
	[QMP] = { "qmp", "QMP", -24, OUT_TEXT },
	[TO] = { "to", "TO", 0, OUT_TEXT },
};

/* @where: what was found in the place of its VMM. */
static int vmm_has_ended(const struct record *record, const char *where, struct error *err)
{
	error_set(err, EXIT_GONE, "session %llu: the VMM whose guest was moved, process %d, has ended; %s",
		  (unsigned long long)record->session, record->vmm, where);
	return error_advise(err, "nothing can run on here: end this with --there, and boot the guest anew if it does not run there");
}

/* Its guest may be all there is of it: how to get at it is what is to be said. */
static int vmm_not_found(const struct record *record, const char *where,
			 const char *advice, enum exit_code code, struct error *err)
{
	error_set(err, code,
		  "session %llu: the VMM whose guest was moved, process %d, is still there, and was expected at %s%s: %s",
		  (unsigned long long)record->session, record->vmm, record->qmp,
		  record->qmp[0] == '/' ? "" : " (from the directory that its migration was started in)",
		  where);
	return error_advise(err, "%s", advice);
}

static int not_opened(const struct record *record, struct error *err)
{
	struct error why = *err;

	if (!record->vmm)
		return error_advise(err,
				    "if its VMM has ended nothing can run on here: end this with --there, and boot the guest anew");
	if (!record_vmm_is_there(record))
		return vmm_has_ended(record, why.message, err);
	return vmm_not_found(record, why.message, why.advice, why.code, err);
}

static int opened_another(const struct record *record, pid_t pid, struct error *err)
{
	char where[PATH_MAX + 64];

	snprintf(where, sizeof(where), "process %d answers at %s now", pid, record->qmp);
	if (!record_vmm_is_there(record))
		return vmm_has_ended(record, where, err);
	return vmm_not_found(record, where,
			     "have that name lead to the first one again, or end that",
			     EXIT_VMM, err);
}

/* Another one that listens there now has nothing to do with it. */
static int open_vmm(const struct record *record, struct vmm **vmm, struct error *err)
{
	const struct vmm_choice guest = { record->qmp, record->driver };
	pid_t pid;

	*vmm = NULL;
	if (choice_open(&guest, vmm, err))
		return not_opened(record, err);
	pid = (*vmm)->pid;
	if (!record->vmm || record_is_of(record, pid))
		return 0;
	(*vmm)->ops->close(*vmm);
	*vmm = NULL;
	return opened_another(record, pid, err);
}

static bool runs(const struct record *record, struct vmm *vmm)
{
	struct vmm_status status = {};
	struct error ignored;

	return !record->driver->migration->status(vmm, &status, &ignored) &&
	       status.running;
}

/*
 * A VMM that was handing over may have failed at it once migctl had died: then the
 * guard has resumed the guest. Or somebody else has. One that can't be asked is not
 * known to run it.
 */
static bool runs_here(const struct record *record)
{
	struct error ignored;
	struct vmm *vmm;
	bool ret;

	if (open_vmm(record, &vmm, &ignored))
		return false;
	ret = runs(record, vmm);
	vmm->ops->close(vmm);
	return ret;
}

/* It ran at the destination, which may not have got all of its memory. */
static bool is_there(const struct record *record)
{
	return !strcmp(record->state, "postcopy");
}

/* Handed over by a migctl that died is as much in doubt as one that says so. */
static bool may_be_there(const struct record *record)
{
	return !strcmp(record->state, "in-doubt") || is_there(record) ||
	       !strcmp(record->state, "handed-over");
}

static bool is_in_doubt(const struct record *record)
{
	return (!strcmp(record->state, "in-doubt") || !record_owner_lives(record)) &&
	       may_be_there(record) && !runs_here(record);
}

static void out_row(struct output *out, const struct record *record)
{
	out_begin(out, OUT_ROW, "in_doubt");
	out_uint(out, &fields[SESSION], record->session);
	out_text(out, &fields[STATE], record->state);
	out_text(out, &fields[QMP], record->qmp);
	out_text(out, &fields[TO], record->to);
	out_end(out);
}

static void show_one(const struct record *record, void *data)
{
	if (is_in_doubt(record))
		out_row(data, record);
}

static int refuse_here(const struct record *record, struct error *err)
{
	error_set(err, EXIT_FAILED, "session %llu: the guest has run at the destination, what is here is what it was before",
		  (unsigned long long)record->session);
	return error_advise(err, "end the VMM here, then: migctl resolve %llu --there",
			    (unsigned long long)record->session);
}

static int refuse_there(const struct record *record, struct error *err)
{
	error_set(err, EXIT_FAILED, "session %llu: the guest runs here",
		  (unsigned long long)record->session);
	return error_advise(err, "if it runs at the destination, too, stop one of them at once; else: migctl resolve %llu --here",
			    (unsigned long long)record->session);
}

static int check(const struct record *record, struct error *err)
{
	/* It may hear of the destination any moment, and act on it. */
	if (record_owner_lives(record)) {
		error_set(err, EXIT_FAILED, "session %llu is still moved, by process %d",
			  (unsigned long long)record->session, record->pid);
		return error_advise(err, may_be_there(record) ?
				    "it asks the destination: wait until it ends, or end it with Ctrl-C" :
				    "wait until that ends, or see migctl cancel");
	}
	if (may_be_there(record))
		return 0;
	error_set(err, EXIT_FAILED,
		  "session %llu is not in doubt: the guest is here, and nobody else's",
		  (unsigned long long)record->session);
	return error_advise(err, "nothing is to be resolved; start the migration again");
}

/* Nobody else acts on the guest: what the record says now holds. */
static int run_locked(struct record *record, struct vmm *vmm, struct error *err)
{
	bool running = runs(record, vmm);

	if (record_read(record, record->session, err) || check(record, err))
		return -1;
	if (is_there(record))
		return refuse_here(record, err);
	/* It was paused, and so it is left. */
	if (record->paused || running)
		return 0;
	return record->driver->migration->run(vmm, err);
}

/* The destination's answer will never come: nobody else may run the guest. */
static int run_here(struct record *record, struct error *err)
{
	struct lock lock = LOCK_NONE;
	struct vmm *vmm;
	int ret;

	if (is_there(record))
		return refuse_here(record, err);
	/* Nothing is to be done with its VMM, which may have ended. */
	if (record->paused)
		return 0;
	if (open_vmm(record, &vmm, err))
		return -1;
	ret = lock_take(&lock, vmm->pid, err);
	if (!ret)
		ret = run_locked(record, vmm, err);
	lock_drop(&lock);
	vmm->ops->close(vmm);
	return ret;
}

static int resolve(struct record *record, bool here, struct error *err)
{
	if (check(record, err))
		return -1;
	if (here)
		return run_here(record, err);
	return runs_here(record) ? refuse_there(record, err) : 0;
}

static void out_resolved(struct output *out, const struct record *record, bool here)
{
	unsigned long long session = record->session;

	if (!here)
		out_say(out, "Session %llu: the guest is the destination's. The VMM here can be ended.",
			session);
	else if (record->paused)
		out_say(out, "Session %llu: the guest is here, and paused as it was before.", session);
	else
		out_say(out, "Session %llu: the guest runs on here.", session);
}

int cmd_resolve(struct output *out, int argc, char **argv, struct error *err)
{
	struct resolve_options options;
	struct record record;

	if (options_parse(&options, argc, argv, err))
		return -1;
	if (!options.session) {
		out_header(out, fields, FIELDS);
		return record_each(show_one, out, err);
	}
	if (record_read(&record, options.session, err) ||
	    resolve(&record, options.here, err))
		return -1;
	record_remove(&record);
	out_resolved(out, &record, options.here);
	return 0;
}
