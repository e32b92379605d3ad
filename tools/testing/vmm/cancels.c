// SPDX-License-Identifier: GPL-2.0-or-later
/* A migration that is cancelled leaves the guest as it was. */
#include <stdlib.h>

#include "check.h"
#include "drive.h"
#include "tests.h"

static void test_cancel(enum moment moment)
{
	struct vmm_status status = {};
	struct machine src, dst;
	struct vmm *from, *to;
	char *before, *after, name[128];
	json_t *saved = NULL;
	int64_t start;
	int pair[2] = { -1, -1 };

	source_start(&src);
	destination_start(&dst);
	before = settings(&src);
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->save(from, &saved, &err));
	go_to(moment, from, to, &src, &dst, pair);
	start = now_us();
	OK(ops->cancel(from, &err));
	OK(ops->restore(from, saved, &err));
	CHECK(counts_within(&src, PATIENCE_MS) >= 0);
	printf("# cancel %s to running and restored: %lld us\n", moments[moment],
	       (long long)(now_us() - start));
	OK(ops->status(from, &status, &err));
	CHECK(status.running);
	after = settings(&src);
	CHECK(!strcmp(before, after));
	/* And once more, all the way to the stop: nothing is left over. */
	OK(ops->cancel(from, &err));
	free(before);
	free(after);
	json_decref(saved);
	from->ops->close(from);
	to->ops->close(to);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "cancel %s", moments[moment]);
	report(name);
}

/* A guest that was paused stays so. */
static void test_cancel_paused(bool late)
{
	struct vmm_status status = {};
	struct machine src, dst;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2];

	source_start(&src);
	destination_start(&dst);
	from = connect_to(&src);
	to = connect_to(&dst);
	if (!late)
		OK(qmp_execute(src.eyes, "stop", NULL, NULL, &err));
	OK(ops->save(from, &saved, &err));
	if (late)
		OK(qmp_execute(src.eyes, "stop", NULL, NULL, &err));
	go_to(COMPLETED, from, to, &src, &dst, pair);
	OK(ops->cancel(from, &err));
	OK(ops->status(from, &status, &err));
	CHECK(!status.running);
	from->ops->close(from);
	to->ops->close(to);
	json_decref(saved);
	machine_end(&src);
	machine_end(&dst);
	report(late ? "cancel: paused since it was saved stays paused" :
		      "cancel: a paused guest stays paused");
}

void test_cancels(void)
{
	enum moment moment;

	for (moment = PREPARED; moment <= COMPLETED; moment++)
		test_cancel(moment);
	test_cancel_paused(false);
	test_cancel_paused(true);
}
