// SPDX-License-Identifier: GPL-2.0-or-later
/* Who comes: the source, and those who are not it. */
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cmd/reason.h"
#include "cmd/receive.h"

/* Refusals that are told one by one. */
#define MAX_TOLD	32
/* A process that ends closes its connections first. */
#define ENDING_MS	1000

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

bool receive_vmm_ended(const struct reception *r)
{
	struct pollfd connection = { .fd = r->ops->connection(r->vmm), .events = POLLRDHUP };
	struct pollfd process = { .fd = r->vmm_fd, .events = POLLIN };
	bool ending = poll(&connection, 1, 0) > 0;

	return poll(&process, 1, ending ? ENDING_MS : 0) > 0;
}

int receive_gone(const struct reception *r, struct error *err)
{
	error_set(err, EXIT_GONE, "the destination's %s (process %d) has ended",
		  r->vmm->ops->name, r->vmm->pid);
	return error_advise(err, "see its log; to try again start it again, and migctl receive");
}

/* Readable when it is no use to wait any more. */
static int interrupt_open(const struct reception *r, struct error *err)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd >= 0 && !epoll_ctl(fd, EPOLL_CTL_ADD, r->signals, &event) &&
	    !epoll_ctl(fd, EPOLL_CTL_ADD, r->vmm_fd, &event))
		return fd;
	if (fd >= 0)
		close(fd);
	return error_set(err, EXIT_FAILED, "can't wait for the source");
}

/**
 * receive_meet() - wait until the source has said who it is
 * @r: listens
 * @channel: filled
 * @err: why it failed; EXIT_GONE if the VMM has ended
 *
 * Return: 0 or -1.
 */
int receive_meet(struct reception *r, struct channel *channel, struct error *err)
{
	int interrupt, ret;

	interrupt = interrupt_open(r, err);
	if (interrupt < 0)
		return -1;
	ret = door_wait(&r->door, channel, &r->hello, r->payload, interrupt, err);
	close(interrupt);
	return ret && receive_vmm_ended(r) ? receive_gone(r, err) : ret;
}
