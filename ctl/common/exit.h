/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migctl's exit codes; migctl(8) documents them, scripts depend on them. */
#ifndef MIGCTL_EXIT_H
#define MIGCTL_EXIT_H

enum exit_code {
	EXIT_OK = 0,		/* done, or ended by the user as asked */
	EXIT_FAILED = 1,	/* anything that has no code of its own */
	EXIT_USAGE = 2,		/* the command line is wrong */
	EXIT_NO_MODULE = 3,	/* the kernel module is not loaded */
	EXIT_PERMISSION = 4,	/* the caller lacks a privilege */
	EXIT_GONE = 5,		/* process, VM or session does not exist any more */
	EXIT_UNTRACKABLE = 6,	/* memory of a kind that can't be tracked */
	EXIT_VMM = 7,		/* the VMM can't be reached or talks nonsense */
	EXIT_UNUSABLE = 8,	/* check: this host can't track */
	EXIT_PEER = 9,		/* a migration's other side is not there, refuses or is gone */
	EXIT_TIMEOUT = 10,	/* not converged in time; the guest runs on here;
				   forecast: it would not converge */
	EXIT_CANCELLED = 11,	/* called off; the guest runs on here */
	EXIT_IN_DOUBT = 12,	/* handed over, no answer; see the record */
	EXIT_DIFFERS = 13,	/* migrate: the two memories are not equal; restore:
				   the snapshot is not what was saved */
	EXIT_SNAPSHOT = 14,	/* no snapshot, or one that can't be used */
	EXIT_MOVED = 15,	/* migrate, supervise: the guest runs at the destination,
				   and what was to be done after that failed, or it was
				   too late to call it off */
};

/* The code's name in JSON. */
const char *exit_code_name(enum exit_code code);

#endif /* MIGCTL_EXIT_H */
