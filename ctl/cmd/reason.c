// SPDX-License-Identifier: GPL-2.0-or-later
#include <jansson.h>
#include <stdlib.h>

#include "cmd/output.h"
#include "cmd/reason.h"

void reason_send(struct channel *channel, enum wire_type type,
		 const struct error *err)
{
	struct error ignored;
	json_t *json;
	char *text;

	json = json_pack("{s:o, s:o}", "message", json_text(err->message), "advice",
			 json_text(err->advice));
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	if (text)
		channel_send_text(channel, type, text, &ignored);
	free(text);
	json_decref(json);
}

int reason_take(const char *text, const char *what, struct error *err)
{
	json_t *json = json_loads(text, 0, NULL);
	const char *reason = json_string_value(json_object_get(json, "message"));
	const char *advice = json_string_value(json_object_get(json, "advice"));

	error_set(err, EXIT_PEER, "%s: %s", what, reason ? reason : "no reason given");
	if (advice && advice[0])
		error_advise(err, "%s", advice);
	json_decref(json);
	return -1;
}
