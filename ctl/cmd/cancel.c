// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/record.h"

const char cancel_usage[] =
	"migctl cancel SESSION\n"
	"\n"
	"Call a migration off, as Ctrl-C in the migctl migrate that runs it does: the\n"
	"guest runs on at the source. SESSION is its number in migctl list. Once the\n"
	"guest was handed over it is too late.";

/* The process could have ended, and its number be somebody else's. */
static int interrupt(const struct record *record, struct error *err)
{
	int fd, ret;

	fd = (int)syscall(SYS_pidfd_open, record->pid, 0);
	if (fd < 0 || !record_owner_lives(record)) {
		if (fd >= 0)
			close(fd);
		error_set(err, EXIT_GONE, "process %d, which ran this migration, has ended",
			  record->pid);
		return error_advise(err, "its last state was %s; %s is left of it",
				    record->state, record->path);
	}
	ret = (int)syscall(SYS_pidfd_send_signal, fd, SIGINT, NULL, 0);
	if (ret)
		error_set(err, errno == EPERM ? EXIT_PERMISSION : EXIT_FAILED,
			  "process %d: %s", record->pid, strerror(errno));
	close(fd);
	return ret;
}

int cmd_cancel(struct output *out, int argc, char **argv, struct error *err)
{
	struct record record;
	uint64_t session;

	if (option_session(argc, argv, &session, err) ||
	    record_read(&record, session, err))
		return -1;
	if (strcmp(record.state, "migrating")) {
		error_set(err, EXIT_FAILED, "too late: the guest was handed over");
		return error_advise(err, "see %s", record.path);
	}
	if (interrupt(&record, err))
		return -1;
	out_say(out, "Told process %d to call the migration of session %llu off.",
		record.pid, (unsigned long long)session);
	return 0;
}
