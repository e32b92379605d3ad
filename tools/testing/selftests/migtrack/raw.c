// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/migtrack.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw.h"

static void raw_attr_put(struct nlmsghdr *nlh, const struct raw_attr *attr)
{
	struct nlattr *nla = (void *)((char *)nlh + NLMSG_ALIGN(nlh->nlmsg_len));

	size_t size = attr->text ? strlen(attr->text) + 1 : attr->size;

	nla->nla_type = attr->type;
	nla->nla_len = NLA_HDRLEN + size;
	memcpy(nla + 1, attr->text ? attr->text : (const char *)&attr->value, size);
	nlh->nlmsg_len = NLMSG_ALIGN(nlh->nlmsg_len) + NLA_ALIGN(nla->nla_len);
}

static void raw_send_to(struct raw *raw, uint16_t family, uint8_t cmd, uint16_t flags,
			const struct raw_attr *attrs, size_t n)
{
	char buffer[1024] __attribute__((aligned(8))) = {};
	struct nlmsghdr *nlh = (void *)buffer;
	struct genlmsghdr *genl = NLMSG_DATA(nlh);
	size_t i;

	nlh->nlmsg_len = NLMSG_LENGTH(sizeof(*genl));
	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nlh->nlmsg_seq = ++raw->seq;
	genl->cmd = cmd;
	genl->version = 1;
	for (i = 0; i < n; i++)
		raw_attr_put(nlh, &attrs[i]);

	raw->message[0] = '\0';
	raw->missing = 0;
	raw->replies = 0;
	raw->interrupted = 0;
	if (send(raw->fd, nlh, nlh->nlmsg_len, 0) != nlh->nlmsg_len)
		err(1, "netlink send");
}

/**
 * raw_send() - send a request, and read nothing
 * @raw: opened
 * @cmd: command
 * @flags: NLM_F_DUMP, or 0
 * @attrs: its attributes
 * @n: how many
 */
void raw_send(struct raw *raw, uint8_t cmd, uint16_t flags,
	      const struct raw_attr *attrs, size_t n)
{
	raw_send_to(raw, raw->family, cmd, flags, attrs, n);
}

static void raw_keep(struct raw *raw, const struct nlmsghdr *nlh, size_t offset)
{
	const char *end = (const char *)nlh + nlh->nlmsg_len;
	const char *at = (const char *)NLMSG_DATA(nlh) + offset;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *nla = (const void *)at;
		const void *value = nla + 1;

		if (nla->nla_type == NLMSGERR_ATTR_MSG)
			snprintf(raw->message, sizeof(raw->message), "%s",
				 (const char *)value);
		else if (nla->nla_type == NLMSGERR_ATTR_MISS_TYPE)
			raw->missing = *(const uint32_t *)value;
		at += NLA_ALIGN(nla->nla_len);
	}
}

static void raw_family(struct raw *raw, const struct nlmsghdr *nlh)
{
	const char *end = (const char *)nlh + nlh->nlmsg_len;
	const char *at = (const char *)NLMSG_DATA(nlh) + sizeof(struct genlmsghdr);

	while (at + NLA_HDRLEN <= end) {
		const struct nlattr *nla = (const void *)at;

		if (nla->nla_type == CTRL_ATTR_FAMILY_ID)
			raw->family = *(const uint16_t *)(nla + 1);
		at += NLA_ALIGN(nla->nla_len);
	}
}

static int raw_message(struct raw *raw, const struct nlmsghdr *nlh)
{
	const int *error = NLMSG_DATA(nlh);

	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		raw->interrupted = 1;
	if (nlh->nlmsg_type == NLMSG_ERROR) {
		raw_keep(raw, nlh, sizeof(struct nlmsgerr));
		return *error ? *error : 1;
	}
	if (nlh->nlmsg_type == NLMSG_DONE) {
		raw_keep(raw, nlh, sizeof(int));
		return *error ? *error : 1;
	}
	raw->replies++;
	if (nlh->nlmsg_type == GENL_ID_CTRL)
		raw_family(raw, nlh);
	return 0;
}

/**
 * raw_recv() - read once
 * @raw: a request was sent
 * @size: of the buffer that the kernel is to fill
 *
 * Return: 0 if more is to come, 1 at the end, or the kernel's negative errno.
 */
int raw_recv(struct raw *raw, size_t size)
{
	const struct nlmsghdr *nlh;
	ssize_t len;
	int ret;

	len = recv(raw->fd, raw->buffer, size, 0);
	if (len < 0)
		err(1, "netlink recv");
	for (nlh = (void *)raw->buffer; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len)) {
		if (nlh->nlmsg_seq != raw->seq)
			continue;
		ret = raw_message(raw, nlh);
		if (ret)
			return ret;
	}
	return 0;
}

/**
 * raw_do() - send a request and read to the end
 * @raw: opened
 * @cmd: command
 * @flags: NLM_F_DUMP, or 0
 * @attrs: its attributes
 * @n: how many
 *
 * Return: 0 or the kernel's negative errno.
 */
int raw_do(struct raw *raw, uint8_t cmd, uint16_t flags,
	   const struct raw_attr *attrs, size_t n)
{
	int ret;

	raw_send(raw, cmd, flags, attrs, n);
	do {
		ret = raw_recv(raw, sizeof(raw->buffer));
	} while (!ret);
	return ret < 0 ? ret : 0;
}

/**
 * raw_open() - connect to the family
 * @raw: out
 */
void raw_open(struct raw *raw)
{
	struct raw_attr name = { .type = CTRL_ATTR_FAMILY_NAME,
				 .text = MIGTRACK_FAMILY_NAME };
	int one = 1, ret;

	memset(raw, 0, sizeof(*raw));
	raw->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (raw->fd < 0 ||
	    setsockopt(raw->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one)) ||
	    setsockopt(raw->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one)))
		err(1, "netlink socket");
	raw_send_to(raw, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0, &name, 1);
	/* The kernel makes a dump's messages as large as the largest read so far. */
	do {
		ret = raw_recv(raw, RAW_SMALL);
	} while (!ret);
	if (!raw->family)
		errx(1, "no family migtrack");
}

/**
 * raw_close() - disconnect
 * @raw: opened
 */
void raw_close(struct raw *raw)
{
	close(raw->fd);
}
