// SPDX-License-Identifier: GPL-2.0-or-later
/* What a client asks of a migration that is under way, on its control socket. */
#include "../../../ctl/cmd/control.c"
#include "cmd/limits.h"
#include "fuzz.h"

static struct policy policy;
static unsigned int asked;

/* As the migrations do it. */
static int asked_for(const char *command, const json_t *request, void *data,
		     struct error *err)
{
	(void)data;
	asked++;
	if (strcmp(command, "set"))
		return error_set(err, EXIT_USAGE, "%s is not known here", command);
	if (limits_set(&policy, UINT64_MAX, request, err))
		return -1;
	FUZZ_ASSERT(policy.limits.downtime > policy_fixed_cost(&policy));
	policy_threshold(&policy);
	policy_act(&policy, 1000000000);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char line[CONTROL_LINE], reply[CONTROL_LINE];
	struct error err;
	size_t used = 0, whole;
	int pair[2], ret;

	FUZZ_ASSERT(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	FUZZ_ASSERT(send(pair[1], data, size, MSG_DONTWAIT) == (ssize_t)size);
	policy_init(&policy, &policy_default_limits, 0);
	asked = 0;
	ret = line_take(pair[0], line, &used);
	FUZZ_ASSERT(used < CONTROL_LINE && (ret <= 0 || line[used - 1] == '\n'));
	if (ret > 0) {
		/* Whatever it is, one answer comes, a line, that our own side understands. */
		answer(pair[0], line, asked_for, NULL);
		whole = 0;
		FUZZ_ASSERT(line_take(pair[1], reply, &whole) == 1 && asked <= 1);
		if (answer_take(reply, &err))
			FUZZ_ASSERT(err.message[0]);
	}
	close(pair[0]);
	close(pair[1]);
	return 0;
}
