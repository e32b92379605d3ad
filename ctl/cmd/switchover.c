// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/cmd.h"
#include "cmd/control.h"

const char switchover_usage[] =
	"migctl switchover SESSION\n"
	"\n"
	"End a migration, or a migctl snapshot, now: what is left is moved with the guest\n"
	"stopped, however long that takes. SESSION is its number in migctl list.";

int cmd_switchover(struct output *out, int argc, char **argv, struct error *err)
{
	uint64_t session;

	if (option_session(argc, argv, &session, err) ||
	    control_ask(session, json_pack("{s:s}", "command", "switchover"), err))
		return -1;
	out_say(out, "Told the migration of session %llu to switch over.",
		(unsigned long long)session);
	return 0;
}
