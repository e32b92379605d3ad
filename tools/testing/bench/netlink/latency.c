// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How long a get takes, beside CTRL_CMD_GETFAMILY, which each kernel has: one
 * request and its reply, calls taken in turns, with guests of several sizes.
 *
 *	latency [-n CALLS]
 */
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

#include "migtrack.h"

#define WARM_UP	1000
#define CALLS	5		/* kinds of calls */

struct call {
	const char *name;
	char request[256] __attribute__((aligned(8)));
	uint64_t *ns;
};

struct guest {
	uint64_t id;
	uint32_t source;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void need(struct migtrack *mt, int ret, const char *what)
{
	if (!ret)
		return;
	errno = -ret;
	err(1, "%s: %s", what, migtrack_message(mt));
}

/* A session that tracks a sparse memory of so many bytes; it lives on. */
static struct guest guest_new(struct migtrack *mt, uint64_t bytes)
{
	struct migtrack_source_map map;
	struct guest guest;
	void *memory;
	int fd, mem_fd;

	mem_fd = memfd_create("guest", MFD_CLOEXEC);
	if (mem_fd < 0 || ftruncate(mem_fd, bytes))
		err(1, "memfd");
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mem_fd, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	need(mt, migtrack_session_new(mt, &guest.id, &fd), "session-new");
	need(mt, migtrack_source_add_ram(mt, fd, getpid(), mem_fd, 0, 0, &map),
	     "source-add");
	need(mt, migtrack_sync(mt, fd, MIGTRACK_SYNC_KIND_SETUP), "sync");
	need(mt, migtrack_sync_wait(fd, 60000), "the sync");
	guest.source = map.id;
	return guest;
}

static struct nlmsghdr *call_init(struct call *call, const char *name, uint16_t type,
				  uint8_t cmd)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(call->request);
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));

	call->name = name;
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	genl->cmd = cmd;
	genl->version = 1;
	return nlh;
}

static void getfamily_init(struct call *call)
{
	struct nlmsghdr *nlh = call_init(call, "CTRL_CMD_GETFAMILY", GENL_ID_CTRL,
					 CTRL_CMD_GETFAMILY);

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, MIGTRACK_FAMILY_NAME);
}

static void session_get_init(struct call *call, const char *name, uint16_t family,
			     const struct guest *guest)
{
	struct nlmsghdr *nlh = call_init(call, name, family, MIGTRACK_CMD_SESSION_GET);

	mnl_attr_put_u64(nlh, MIGTRACK_A_SESSION_ID, guest->id);
}

static void source_get_init(struct call *call, const char *name, uint16_t family,
			    const struct guest *guest)
{
	struct nlmsghdr *nlh = call_init(call, name, family, MIGTRACK_CMD_SOURCE_GET);

	mnl_attr_put_u64(nlh, MIGTRACK_A_SOURCE_SESSION_ID, guest->id);
	mnl_attr_put_u32(nlh, MIGTRACK_A_SOURCE_ID, guest->source);
}

/* Request and reply, in ns. */
static uint64_t call_do(struct mnl_socket *nl, struct call *call, char *buffer, size_t size)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)call->request;
	uint64_t start = now_ns();
	ssize_t len;

	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		err(1, "%s: send", call->name);
	len = mnl_socket_recvfrom(nl, buffer, size);
	if (len < 0)
		err(1, "%s: receive", call->name);
	start = now_ns() - start;
	if (((struct nlmsghdr *)buffer)->nlmsg_type != nlh->nlmsg_type)
		errx(1, "%s was refused", call->name);
	return start;
}

static uint16_t family_id(struct mnl_socket *nl, struct call *getfamily, char *buffer,
			  size_t size)
{
	const struct nlattr *attr;

	call_do(nl, getfamily, buffer, size);
	mnl_attr_for_each(attr, (struct nlmsghdr *)buffer, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
			return mnl_attr_get_u16(attr);
	errx(1, "the family has no number");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(struct call *calls, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < CALLS; i++)
		qsort(calls[i].ns, n, sizeof(*calls[i].ns), compare);
	printf("%-24s %10s %10s %8s   (%u calls of each)\n", "CALL", "P50", "P99",
	       "RATIO", n);
	for (i = 0; i < CALLS; i++)
		printf("%-24s %7.2f us %7.2f us %8.2f\n", calls[i].name,
		       calls[i].ns[n / 2] / 1e3, calls[i].ns[n - 1 - n / 100] / 1e3,
		       (double)calls[i].ns[n / 2] / calls[0].ns[n / 2]);
}

int main(int argc, char **argv)
{
	static char buffer[32768] __attribute__((aligned(8)));
	static struct call calls[CALLS];
	unsigned int i, k, n = 20000;
	struct guest small, big;
	struct mnl_socket *nl;
	struct migtrack *mt;
	uint16_t family;

	if (argc == 3 && !strcmp(argv[1], "-n"))
		n = atoi(argv[2]);
	else if (argc > 1)
		errx(2, "usage: latency [-n CALLS]");
	if (!n)
		errx(2, "no calls");
	errno = -migtrack_open(&mt);
	if (errno)
		err(1, "migtrack_open");
	nl = mnl_socket_open(NETLINK_GENERIC);
	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		err(1, "netlink");

	getfamily_init(&calls[0]);
	family = family_id(nl, &calls[0], buffer, sizeof(buffer));
	small = guest_new(mt, 64UL << 20);
	big = guest_new(mt, 2UL << 30);
	session_get_init(&calls[1], "session-get, 64 MiB", family, &small);
	session_get_init(&calls[2], "session-get, 2 GiB", family, &big);
	source_get_init(&calls[3], "source-get, 64 MiB", family, &small);
	source_get_init(&calls[4], "source-get, 2 GiB", family, &big);

	for (k = 0; k < CALLS; k++) {
		calls[k].ns = calloc(n, sizeof(*calls[k].ns));
		if (!calls[k].ns)
			err(1, "memory");
		for (i = 0; i < WARM_UP; i++)
			call_do(nl, &calls[k], buffer, sizeof(buffer));
	}
	for (i = 0; i < n; i++)
		for (k = 0; k < CALLS; k++)
			calls[k].ns[i] = call_do(nl, &calls[k], buffer, sizeof(buffer));
	report(calls, n);
	migtrack_close(mt);
	return 0;
}
