/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a host can do. Reads files below a root directory, nothing else. */
#ifndef MIGCTL_HOST_H
#define MIGCTL_HOST_H

#include <stddef.h>

enum finding_state {
	FINDING_OK,
	FINDING_ADVICE,		/* works, could be better */
	FINDING_MISSING,	/* tracking is impossible */
};

/**
 * struct finding - one line of check
 * @name: what was looked at
 * @state: how it is
 * @detail: what was found
 * @fix: what to do about it, "" if nothing is to be done
 */
struct finding {
	const char *name;
	enum finding_state state;
	char detail[256];
	char fix[256];
};

/**
 * struct host - where to look
 * @root: prefix of all paths, "" for this host
 * @release: of the kernel, as uname(2) tells it
 * @machine: likewise
 */
struct host {
	const char *root;
	const char *release;
	const char *machine;
};

typedef void host_check_fn(const struct host *host, struct finding *finding);

/* The checks in the order in which a person fixes things; NULL at the end. */
extern host_check_fn * const host_checks[];

void finding_set(struct finding *finding, enum finding_state state,
		 const char *fix, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

const char *finding_state_name(enum finding_state state);

#endif /* MIGCTL_HOST_H */
