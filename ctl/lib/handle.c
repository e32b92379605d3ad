// SPDX-License-Identifier: LGPL-2.1-or-later
/* Opening and closing; events. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <linux/genetlink.h>

#include "internal.h"

static int socket_open(struct migtrack *mt)
{
	int one = 1;

	mt->nl = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!mt->nl)
		return -errno;
	if (mnl_socket_bind(mt->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	mt->portid = mnl_socket_get_portid(mt->nl);
	if (mnl_socket_setsockopt(mt->nl, NETLINK_EXT_ACK, &one, sizeof(one)))
		return -errno;
	if (mnl_socket_setsockopt(mt->nl, NETLINK_CAP_ACK, &one, sizeof(one)))
		return -errno;
	return 0;
}

/**
 * migtrack_open() - connect to the kernel's migtrack family
 * @mt: the handle, NULL on failure
 *
 * The kernel loads an installed module by itself when its family is asked for.
 *
 * Return: 0, -ENOENT if there is no such family (module not loaded), or
 * another negative errno.
 */
int migtrack_open(struct migtrack **mt)
{
	struct migtrack *new;
	int ret;

	*mt = NULL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	ret = socket_open(new);
	if (ret)
		goto err_close;
	ret = family_resolve(new);
	if (ret)
		goto err_close;
	*mt = new;
	return 0;

err_close:
	migtrack_close(new);
	return ret;
}

/**
 * migtrack_close() - let go of the handle
 * @mt: the handle, or NULL
 *
 * Sessions live on: they belong to their descriptors.
 */
void migtrack_close(struct migtrack *mt)
{
	if (!mt)
		return;
	if (mt->nl)
		mnl_socket_close(mt->nl);
	free(mt);
}

/**
 * migtrack_message() - what the kernel said about the last call that failed
 * @mt: the handle
 *
 * Return: the text, "" if it said nothing; valid until the next call.
 */
const char *migtrack_message(const struct migtrack *mt)
{
	return mt->message;
}

/**
 * migtrack_fd() - the descriptor to poll for events
 * @mt: a handle that subscribed
 *
 * Return: the descriptor; it belongs to the handle.
 */
int migtrack_fd(const struct migtrack *mt)
{
	return mnl_socket_get_fd(mt->nl);
}

/**
 * migtrack_subscribe() - listen to the family's events
 * @mt: the handle, from now on for migtrack_event_read() only
 *
 * Return: 0 or a negative errno.
 */
int migtrack_subscribe(struct migtrack *mt)
{
	int flags, fd = migtrack_fd(mt);

	if (!mt->group)
		return -ENOENT;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	if (mnl_socket_setsockopt(mt->nl, NETLINK_ADD_MEMBERSHIP, &mt->group,
				  sizeof(mt->group)))
		return -errno;
	return 0;
}

/* Returns 1 if the message is an event, 0 if it is none of ours. */
static int event_parse(const struct migtrack *mt, const struct nlmsghdr *nlh,
		       struct migtrack_event *event)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	int ret;

	if (nlh->nlmsg_type != mt->family ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(*genl))
		return 0;
	*event = (struct migtrack_event){};
	switch (genl->cmd) {
	case MIGTRACK_CMD_SESSION_NEW_NTF:
		event->type = MIGTRACK_EVENT_SESSION_NEW;
		break;
	case MIGTRACK_CMD_SESSION_ITERATION_NTF:
		event->type = MIGTRACK_EVENT_SESSION_ITERATION;
		break;
	case MIGTRACK_CMD_SESSION_DEL_NTF:
		event->type = MIGTRACK_EVENT_SESSION_DEL;
		break;
	case MIGTRACK_CMD_SESSION_CHANGE_NTF:
		event->type = MIGTRACK_EVENT_SESSION_CHANGE;
		break;
	case MIGTRACK_CMD_SOURCE_CHANGE_NTF:
		event->type = MIGTRACK_EVENT_SOURCE_CHANGE;
		layout_init(&migtrack_source_layout, &event->source);
		ret = message_parse(nlh, &migtrack_source_layout,
				    &event->source);
		return ret ? ret : 1;
	default:
		return 0;
	}
	layout_init(&migtrack_session_layout, &event->session);
	ret = message_parse(nlh, &migtrack_session_layout, &event->session);
	return ret ? ret : 1;
}

/* Returns 1 with an event, 0 if the buffer holds none any more. */
static int event_next(struct migtrack *mt, struct migtrack_event *event)
{
	const struct nlmsghdr *nlh;
	int ret;

	while (mt->event && message_ok(mt->event, mt->event_bytes)) {
		nlh = mt->event;
		mt->event = mnl_nlmsg_next(nlh, &mt->event_bytes);
		ret = event_parse(mt, nlh, event);
		if (ret)
			return ret;
	}
	mt->event = NULL;
	return 0;
}

/**
 * migtrack_event_read() - take the next event
 * @mt: a handle that subscribed
 * @event: filled on success
 *
 * The descriptor does not block: read until -EAGAIN, then poll, because events
 * that arrived together wait in the handle, where poll(2) does not see them.
 *
 * Return: 0, -EAGAIN if there is none now, -ENOBUFS if events were lost, or
 * another negative errno.
 */
int migtrack_event_read(struct migtrack *mt, struct migtrack_event *event)
{
	ssize_t len;
	int ret;

	for (;;) {
		ret = event_next(mt, event);
		if (ret)
			return ret < 0 ? ret : 0;
		len = mnl_socket_recvfrom(mt->nl, mt->buffer,
					  sizeof(mt->buffer));
		if (len < 0)
			return -errno;
		mt->event = (const struct nlmsghdr *)mt->buffer;
		mt->event_bytes = (int)len;
	}
}
