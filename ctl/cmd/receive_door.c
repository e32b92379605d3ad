// SPDX-License-Identifier: GPL-2.0-or-later
/* Who comes: the source, and those who are not it. */
#include <string.h>

#include "cmd/reason.h"
#include "cmd/receive.h"

/* Refusals that are told one by one. */
#define MAX_TOLD	32

static int check_version(const json_t *hello, struct error *err)
{
	json_int_t version = json_integer_value(json_object_get(hello, "version"));

	if (version == WIRE_VERSION)
		return 0;
	error_set(err, EXIT_PEER, "the source speaks version %lld of the protocol, this side %d",
		  (long long)version, WIRE_VERSION);
	return error_advise(err, "use the same migctl on both hosts");
}

static int check_form(const json_t *hello, const char *peer, struct error *err)
{
	const char *id = json_string_value(json_object_get(hello, "id"));
	uint8_t parsed[WIRE_ID_SIZE];

	if (!link_parse_id(id, parsed) &&
	    json_is_integer(json_object_get(hello, "channels")) &&
	    json_is_object(json_object_get(hello, "vm")) &&
	    json_is_array(json_object_get(hello, "blocks")))
		return 0;
	return error_set(err, EXIT_PEER, "%s: its greeting can't be understood", peer);
}

/* Is this a migctl migrate that can be talked to? */
static int check_hello(void *data, struct channel *channel,
		       const struct wire_frame *frame, const char *payload,
		       struct error *err)
{
	json_t *hello;
	int ret;

	(void)data;
	if (frame->type != WIRE_HELLO)
		return error_set(err, EXIT_PEER, "%s is no migctl migrate",
				 channel->peer);
	hello = json_loads(payload, 0, NULL);
	if (!json_is_object(hello))
		ret = error_set(err, EXIT_PEER, "%s: its greeting can't be understood",
				channel->peer);
	else
		ret = check_version(hello, err);
	if (!ret)
		ret = check_form(hello, channel->peer, err);
	json_decref(hello);
	return ret;
}

static void tell_refused(void *data, struct channel *channel,
			 const struct error *why)
{
	struct reception *r = data;

	if (channel)
		reason_send(channel, WIRE_REFUSE, why);
	if (++r->refused > MAX_TOLD)
		return;
	out_say(r->out, "Refused a connection: %s%s%s.", why->message,
		why->advice[0] ? "; " : "", why->advice);
	if (r->refused == MAX_TOLD)
		out_say(r->out, "More such connections are not told of.");
	fflush(r->out->stream);
}

int receive_listen(struct reception *r, struct error *err)
{
	struct door_ops ops = {
		.check = check_hello, .refused = tell_refused, .refused_data = r,
	};

	return door_open(&r->door, r->options->listen, &r->secured.security,
			 &ops, err);
}

/**
 * receive_wait() - wait until the source has said who it is
 * @r: listens
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int receive_wait(struct reception *r, struct error *err)
{
	return door_wait(&r->door, &r->channel, &r->hello, r->payload, r->signals,
			 err);
}
