// SPDX-License-Identifier: GPL-2.0-or-later
/* Records of runs, and what a migration that is under way is asked and answers. */
#include "../../../ctl/cmd/control.c"
#include "../../../ctl/cmd/history.c"
#include "fuzz.h"

static void check_run(json_t *run)
{
	static FILE *null;
	struct output out = {};
	struct history history = { .out = &out };

	if (!null)
		null = fopen("/dev/null", "we");
	out.stream = null;
	if (!json_is_object(run))
		return;
	show(run, &history);
	out.json = true;
	show(run, &history);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	uint64_t number = 0;
	struct error err;
	json_t *json;

	answer_take(text, &err);
	json = json_loads(text, 0, NULL);
	control_number(json, "number", &number);
	check_run(json);
	json_decref(json);
	free(text);
	return 0;
}
