/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef MIGCTL_PROMETHEUS_H
#define MIGCTL_PROMETHEUS_H

#include <stdio.h>

#include "cmd/cmd.h"

/* All sessions, or @id alone, and the last run. */
int show_prometheus(struct output *out, struct migtrack *mt, uint64_t id,
		    struct error *err);

void prometheus_session_metrics(FILE *file, const struct migtrack_session *sessions,
				size_t n);
/* NULL: there was none. */
void prometheus_run_metrics(FILE *file, const json_t *run);

#endif /* MIGCTL_PROMETHEUS_H */
