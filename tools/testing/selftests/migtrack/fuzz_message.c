// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hostile messages: half is rubbish, or a request that is broken; half is a
 * request that could be meant, with one attribute changed at most.
 */

#include <linux/capability.h>
#include <linux/genetlink.h>
#include <linux/migtrack.h>
#include <linux/netlink.h>
#include <string.h>

#include "fuzz.h"

#define SESSION(name)	MIGTRACK_A_SESSION_##name
#define SOURCE(name)	MIGTRACK_A_SOURCE_##name

const struct fuzz_command fuzz_commands[] = {
	{ "session-new", MIGTRACK_CMD_SESSION_NEW, .weight = 6 },
	{ "session-del", MIGTRACK_CMD_SESSION_DEL, .weight = 4, .attributes = {
		{ SESSION(FD), FUZZ_SESSION_FD, true } } },
	{ "session-get", MIGTRACK_CMD_SESSION_GET, .weight = 8, .attributes = {
		{ SESSION(ID), FUZZ_SESSION_ID, true } } },
	{ "session-get, dump", MIGTRACK_CMD_SESSION_GET, .dump = true, .weight = 2 },
	{ "source-add", MIGTRACK_CMD_SOURCE_ADD, .weight = 32, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(TYPE), FUZZ_TYPE_RAM, true },
		{ SOURCE(PID), FUZZ_PID, true },
		{ SOURCE(MEM_FD), FUZZ_MEM_FD, true },
		{ SOURCE(OFFSET), FUZZ_OFFSET, false },
		{ SOURCE(LENGTH), FUZZ_LENGTH, false } } },
	{ "source-add, reported", MIGTRACK_CMD_SOURCE_ADD, .weight = 8, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(TYPE), FUZZ_TYPE_REPORTED, true },
		{ SOURCE(MAX_AGE), FUZZ_NUMBER, false } } },
	{ "source-add, vfio", MIGTRACK_CMD_SOURCE_ADD, .hopeless = true, .weight = 6, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(TYPE), FUZZ_TYPE_VFIO, true },
		{ SOURCE(DEVICE_FD), FUZZ_MEM_FD, true },
		{ SOURCE(DATA_FD), FUZZ_MEM_FD, false },
		{ SOURCE(NAME), FUZZ_NUMBER, false } } },
	{ "source-set", MIGTRACK_CMD_SOURCE_SET, .hopeless = true, .weight = 4, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(ID), FUZZ_SOURCE_ID, true },
		{ SOURCE(DATA_FD), FUZZ_MEM_FD, true } } },
	{ "dma-log-start", MIGTRACK_CMD_DMA_LOG_START, .hopeless = true, .weight = 12, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(ID), FUZZ_SOURCE_ID, true },
		{ SOURCE(DMA_MAP), FUZZ_DMA_MAP, true } } },
	{ "dma-log-stop", MIGTRACK_CMD_DMA_LOG_STOP, .hopeless = true, .weight = 4, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(ID), FUZZ_SOURCE_ID, true } } },
	{ "source-report", MIGTRACK_CMD_SOURCE_REPORT, .weight = 12, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(ID), FUZZ_SOURCE_ID, true },
		{ SOURCE(PRECOPY), FUZZ_NUMBER, false },
		{ SOURCE(POSTCOPY), FUZZ_NUMBER, false },
		{ SOURCE(STOPCOPY), FUZZ_NUMBER, false },
		{ SOURCE(FLAGS), FUZZ_REPORT_FLAGS, false },
		{ SOURCE(DIRTY_RATE), FUZZ_NUMBER, false } } },
	{ "source-del", MIGTRACK_CMD_SOURCE_DEL, .weight = 6, .attributes = {
		{ SOURCE(SESSION_FD), FUZZ_SESSION_FD, true },
		{ SOURCE(ID), FUZZ_SOURCE_ID, true } } },
	{ "source-get", MIGTRACK_CMD_SOURCE_GET, .weight = 8, .attributes = {
		{ SOURCE(SESSION_ID), FUZZ_SESSION_ID, true },
		{ SOURCE(ID), FUZZ_SOURCE_ID, true } } },
	{ "source-get, dump", MIGTRACK_CMD_SOURCE_GET, .dump = true, .weight = 6, .attributes = {
		{ SOURCE(SESSION_ID), FUZZ_SESSION_ID, true } } },
	{ "sync", MIGTRACK_CMD_SYNC, .weight = 16, .attributes = {
		{ SESSION(FD), FUZZ_SESSION_FD, true },
		{ SESSION(SYNC_KIND), FUZZ_SYNC_KIND, true } } },
	{ "session-set", MIGTRACK_CMD_SESSION_SET, .weight = 12, .attributes = {
		{ SESSION(FD), FUZZ_SESSION_FD, true },
		{ SESSION(PHASE), FUZZ_PHASE, false },
		{ SESSION(DOWNTIME_LIMIT), FUZZ_NUMBER, false },
		{ SESSION(BANDWIDTH), FUZZ_NUMBER, false },
		{ SESSION(BANDWIDTH_SOURCE), FUZZ_BANDWIDTH_SOURCE, false },
		{ SESSION(EXPECTED_DOWNTIME), FUZZ_NUMBER, false },
		{ SESSION(VERDICT), FUZZ_VERDICT, false },
		{ SESSION(REASON), FUZZ_REASON, false } } },
};
const unsigned int fuzz_ncommands = sizeof(fuzz_commands) / sizeof(fuzz_commands[0]);

/* ---- writing ---- */

static struct nlmsghdr *begin(struct fuzz_message *message, uint16_t family, uint8_t cmd,
			      uint16_t flags)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)message->bytes;
	struct genlmsghdr *genl = NLMSG_DATA(nlh);

	memset(nlh, 0, NLMSG_HDRLEN + GENL_HDRLEN);
	nlh->nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN;
	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	genl->cmd = cmd;
	genl->version = MIGTRACK_FAMILY_VERSION;
	message->length = nlh->nlmsg_len;
	message->without = 0;
	message->no_fds = false;
	return nlh;
}

/* Returns NULL if there is no room. */
static struct nlattr *put(struct nlmsghdr *nlh, uint16_t type, const void *data,
			  uint16_t length)
{
	struct nlattr *nla = (void *)nlh + NLMSG_ALIGN(nlh->nlmsg_len);

	if (nlh->nlmsg_len + NLA_HDRLEN + NLA_ALIGN(length) > FUZZ_SEND_MAX - 64)
		return NULL;
	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + length;
	memcpy((char *)nla + NLA_HDRLEN, data, length);
	memset((char *)nla + nla->nla_len, 0, NLA_ALIGN(length) - length);
	nlh->nlmsg_len = NLMSG_ALIGN(nlh->nlmsg_len) + NLA_HDRLEN + NLA_ALIGN(length);
	return nla;
}

/* Numbers of type uint may be short or long; all others are short. */
static void put_number(struct fuzz_world *world, struct nlmsghdr *nlh,
		       const struct fuzz_attribute *attribute, uint64_t value)
{
	bool uint = attribute->kind == FUZZ_SESSION_ID || attribute->kind == FUZZ_OFFSET ||
		    attribute->kind == FUZZ_LENGTH || attribute->kind == FUZZ_NUMBER;

	put(nlh, attribute->type, &value,
	    uint && (value > UINT32_MAX || fuzz_one_in(world, 2)) ? 8 : 4);
}

/* ---- values ---- */

static uint64_t strange_number(struct fuzz_world *world)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 63, 64, 65, 4095, 4096, 4097, 1 << 16, INT32_MAX, 1ULL << 31,
		UINT32_MAX, 1ULL << 32, INT64_MAX, 1ULL << 63, -4096ULL, UINT64_MAX,
	};

	if (fuzz_one_in(world, 4))
		return fuzz_random(world) >> fuzz_below(world, 64);
	return numbers[fuzz_below(world, sizeof(numbers) / sizeof(numbers[0]))];
}

/* One that could be meant. */
static uint64_t good_value(struct fuzz_world *world, const struct fuzz_slot *slot,
			   enum fuzz_kind kind)
{
	switch (kind) {
	case FUZZ_SESSION_ID:
		return slot->id;
	case FUZZ_SESSION_FD:
		return slot->fd;
	case FUZZ_SOURCE_ID:
		return slot->sources ? fuzz_below(world, slot->sources) : 0;
	case FUZZ_TYPE_RAM:
		return MIGTRACK_SOURCE_TYPE_RAM;
	case FUZZ_TYPE_REPORTED:
		return MIGTRACK_SOURCE_TYPE_REPORTED;
	case FUZZ_TYPE_VFIO:
		return MIGTRACK_SOURCE_TYPE_VFIO;
	case FUZZ_REPORT_FLAGS:
		return fuzz_one_in(world, 4) ? MIGTRACK_COUNTER_FLAGS_STALE :
					       MIGTRACK_COUNTER_FLAGS_EXACT;
	case FUZZ_VERDICT:
		return fuzz_below(world, MIGTRACK_VERDICT_GIVE_UP + 1);
	case FUZZ_REASON:
		return fuzz_below(world, MIGTRACK_REASON_POSTCOPY_SOURCE + 1);
	case FUZZ_PID:
		return world->pids[fuzz_one_in(world, 4) ? FUZZ_OTHER : FUZZ_SELF];
	case FUZZ_MEM_FD:
		return world->memories[fuzz_one_in(world, 8) ? FUZZ_ODD_SIZE : FUZZ_GOOD];
	case FUZZ_OFFSET:
		return fuzz_below(world, 8) * 4096;
	case FUZZ_LENGTH:
		return (1 + fuzz_below(world, 8)) * 4096;
	case FUZZ_SYNC_KIND:
		return fuzz_one_in(world, 3) ? MIGTRACK_SYNC_KIND_SETUP :
		       MIGTRACK_SYNC_KIND_ITERATION + fuzz_below(world, 3);
	case FUZZ_PHASE:
		return fuzz_below(world, MIGTRACK_PHASE_FAILED + 1);
	case FUZZ_BANDWIDTH_SOURCE:
		return fuzz_below(world, MIGTRACK_BANDWIDTH_SOURCE_USER + 1);
	case FUZZ_NUMBER:
		return fuzz_random(world);
	case FUZZ_DMA_MAP:
		break;
	}
	return 0;
}

static int wrong_fd(struct fuzz_world *world)
{
	switch (fuzz_below(world, 4)) {
	case 0:
		return world->slots[fuzz_below(world, FUZZ_SLOTS)].fd;
	case 1:
		return world->other_fd;
	case 2:
		return world->memories[fuzz_below(world, FUZZ_MEMORIES)];
	default:
		return world->wrong_fds[fuzz_below(world, FUZZ_WRONG_FDS)];
	}
}

/* One that was not meant, but is of the attribute's kind. */
static uint64_t wrong_value(struct fuzz_world *world, enum fuzz_kind kind)
{
	switch (kind) {
	case FUZZ_SESSION_ID:
		return fuzz_one_in(world, 2) ? world->other_id : strange_number(world);
	case FUZZ_SESSION_FD:
		return wrong_fd(world);
	case FUZZ_MEM_FD:
		return fuzz_one_in(world, 3) ? wrong_fd(world) :
		       world->memories[1 + fuzz_below(world, FUZZ_MEMORIES - 1)];
	case FUZZ_PID:
		return fuzz_one_in(world, 4) ? strange_number(world) :
		       world->pids[fuzz_below(world, FUZZ_PIDS)];
	case FUZZ_TYPE_RAM:
	case FUZZ_TYPE_VFIO:
		return fuzz_one_in(world, 2) ? MIGTRACK_SOURCE_TYPE_REPORTED :
					       strange_number(world);
	case FUZZ_TYPE_REPORTED:
		return fuzz_one_in(world, 2) ? MIGTRACK_SOURCE_TYPE_RAM : strange_number(world);
	default:
		return strange_number(world);
	}
}

/* ---- maps of what a device can write to ---- */

/* One range, with one of its attributes as it was not meant, if any is. */
static void put_range(struct fuzz_world *world, struct nlmsghdr *nlh, unsigned int number,
		      uint32_t source, int wrong)
{
	uint64_t values[] = { (number + 1) * 8192ULL, 4096, source, 0 };
	struct nlattr *nest;
	unsigned int i;

	nest = put(nlh, MIGTRACK_A_SOURCE_DMA_MAP | NLA_F_NESTED, NULL, 0);
	if (!nest)
		return;
	if (wrong == 4)		/* as the one before it */
		values[0] -= number ? 8192 : 0;
	else if (wrong >= 0)
		values[wrong] = fuzz_one_in(world, 2) ? -4096ULL : strange_number(world);
	for (i = 0; i < 4; i++) {
		bool uint = i != MIGTRACK_A_DMA_RANGE_SOURCE_ID - 1;

		if ((int)i != wrong || !fuzz_one_in(world, 6))
			put(nlh, i + 1, &values[i], uint && values[i] > UINT32_MAX ? 8 : 4);
	}
	nest->nla_len = (char *)nlh + nlh->nlmsg_len - (char *)nest;
}

static void put_map(struct fuzz_world *world, struct nlmsghdr *nlh,
		    const struct fuzz_slot *slot, bool wrong)
{
	bool many = wrong && fuzz_one_in(world, 8);
	unsigned int i, n = many ? MIGTRACK_MAX_DMA_RANGES + 1 : 1 + fuzz_below(world, 3);
	unsigned int bad = wrong ? fuzz_below(world, n) : n;

	for (i = 0; i < n; i++)
		put_range(world, nlh, i, slot->sources ? fuzz_below(world, slot->sources) : 0,
			  i == bad ? (int)fuzz_below(world, 5) : -1);
}

/* ---- requests that could be meant ---- */

static const struct fuzz_command *choose_command(struct fuzz_world *world)
{
	unsigned int i, sum = 0, at;

	for (i = 0; i < fuzz_ncommands; i++)
		sum += fuzz_commands[i].weight;
	at = fuzz_below(world, sum);
	for (i = 0; at >= fuzz_commands[i].weight; i++)
		at -= fuzz_commands[i].weight;
	return &fuzz_commands[i];
}

static unsigned int count_attributes(const struct fuzz_command *command)
{
	unsigned int n = 0;

	while (n < FUZZ_ATTRIBUTES && command->attributes[n].type)
		n++;
	return n;
}

static void put_changed(struct fuzz_world *world, struct nlmsghdr *nlh,
			const struct fuzz_attribute *attribute,
			const struct fuzz_slot *slot)
{
	uint64_t bytes[4] = { good_value(world, slot, attribute->kind), fuzz_random(world) };
	struct nlattr *nla;

	if (attribute->kind == FUZZ_DMA_MAP && !fuzz_one_in(world, 4)) {
		put_map(world, nlh, slot, true);
		return;
	}
	switch (fuzz_below(world, 10)) {
	case 0: /* not there */
		return;
	case 1: /* of a wrong size */
		put(nlh, attribute->type, bytes, fuzz_below(world, sizeof(bytes)));
		return;
	case 2: /* of a wrong kind */
		nla = put(nlh, attribute->type, bytes, 8);
		nla->nla_type |= fuzz_one_in(world, 2) ? NLA_F_NESTED : NLA_F_NET_BYTEORDER;
		return;
	case 3: /* twice */
		put_number(world, nlh, attribute, bytes[0]);
		put_number(world, nlh, attribute, wrong_value(world, attribute->kind));
		return;
	case 4: /* another attribute's */
		put(nlh, fuzz_below(world, MIGTRACK_A_SOURCE_MAX + 4), bytes, 4);
		return;
	default:
		put_number(world, nlh, attribute, wrong_value(world, attribute->kind));
	}
}

/* A request with one attribute changed, the one of that number; none if it is -1. */
static struct nlmsghdr *request(struct fuzz_world *world, uint16_t family,
				struct fuzz_message *message,
				const struct fuzz_command *command, int changed)
{
	const struct fuzz_slot *slot = fuzz_slot_next(world, command->cmd);
	struct nlmsghdr *nlh = begin(message, family, command->cmd,
				     command->dump ? NLM_F_DUMP : 0);
	unsigned int i, n = count_attributes(command);

	for (i = 0; i < n; i++) {
		const struct fuzz_attribute *attribute = &command->attributes[i];

		if ((int)i == changed)
			put_changed(world, nlh, attribute, slot);
		else if (attribute->kind == FUZZ_DMA_MAP)
			put_map(world, nlh, slot, false);
		else if (attribute->required || fuzz_one_in(world, 2))
			put_number(world, nlh, attribute,
				   good_value(world, slot, attribute->kind));
	}
	message->length = nlh->nlmsg_len;
	return nlh;
}

static void likely(struct fuzz_world *world, uint16_t family, struct fuzz_message *message)
{
	const struct fuzz_command *command = choose_command(world);
	unsigned int n = count_attributes(command);
	int changed = n && !fuzz_one_in(world, 4) ? (int)fuzz_below(world, n) : -1;

	request(world, family, message, command, changed);
	if (fuzz_one_in(world, 40))
		message->without = 1ULL << CAP_SYS_PTRACE;
	else if (fuzz_one_in(world, 200))
		message->without = 1ULL << CAP_NET_ADMIN;
	else if (command->cmd == MIGTRACK_CMD_SESSION_NEW)
		message->no_fds = fuzz_one_in(world, 10);
}

/* ---- rubbish ---- */

static void fill(struct fuzz_world *world, char *bytes, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		bytes[i] = fuzz_random(world) >> 56;
}

static void rubbish(struct fuzz_world *world, struct nlmsghdr *nlh)
{
	unsigned int length = fuzz_below(world, 200);

	fill(world, (char *)nlh + nlh->nlmsg_len, length);
	nlh->nlmsg_len += length;
}

/* So many levels, and at times one that says that it is longer than it is. */
static void nest(struct fuzz_world *world, struct nlmsghdr *nlh)
{
	unsigned int levels = 1 + fuzz_below(world, 400), i;
	struct nlattr *nla = (void *)nlh + nlh->nlmsg_len;

	for (i = 0; i < levels; i++) {
		nla[i].nla_type = fuzz_below(world, 30) | NLA_F_NESTED;
		nla[i].nla_len = (levels - i) * NLA_HDRLEN;
	}
	if (fuzz_one_in(world, 4))
		nla[fuzz_below(world, levels)].nla_len = fuzz_random(world) >> 48;
	nlh->nlmsg_len += levels * NLA_HDRLEN;
}

static void huge(struct fuzz_world *world, struct nlmsghdr *nlh)
{
	uint64_t value = fuzz_random(world);

	while (put(nlh, fuzz_below(world, 30), &value, 4 + 4 * fuzz_below(world, 2)))
		;
}

/* An attribute's header of a request that is right otherwise. */
static void break_attribute(struct fuzz_world *world, struct nlmsghdr *nlh)
{
	unsigned int at = NLMSG_HDRLEN + GENL_HDRLEN;
	struct nlattr *nla;

	if (nlh->nlmsg_len < at + NLA_HDRLEN)
		return;
	at += fuzz_below(world, nlh->nlmsg_len - at) & ~3;
	nla = (void *)nlh + at;
	if (fuzz_one_in(world, 2))
		nla->nla_len = fuzz_one_in(world, 2) ? fuzz_below(world, 12) :
			       fuzz_random(world) >> 48;
	else
		nla->nla_type = fuzz_random(world) >> 48;
}

/* Flags, command and version as they never are. */
static void break_header(struct fuzz_world *world, struct nlmsghdr *nlh)
{
	struct genlmsghdr *genl = NLMSG_DATA(nlh);

	switch (fuzz_below(world, 5)) {
	case 0:
		genl->cmd = fuzz_random(world) >> 56;
		break;
	case 1:
		genl->version = fuzz_random(world) >> 56;
		break;
	case 2:
		genl->reserved = fuzz_random(world) >> 48;
		break;
	case 3:
		nlh->nlmsg_flags = fuzz_random(world) >> 48;
		break;
	default:
		nlh->nlmsg_flags ^= NLM_F_DUMP;
	}
}

/* Two in a datagram; the length of the first may be a lie. */
static void append(struct fuzz_world *world, struct fuzz_message *message)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)message->bytes;
	size_t length = NLMSG_ALIGN(nlh->nlmsg_len);

	if (2 * length > FUZZ_SEND_MAX)
		return;
	memcpy(message->bytes + length, message->bytes, length);
	message->length = 2 * length;
	if (fuzz_one_in(world, 2))
		nlh->nlmsg_len = fuzz_below(world, 2 * length + 16);
	if (fuzz_one_in(world, 2))
		break_attribute(world, (struct nlmsghdr *)(message->bytes + length));
}

static void broken(struct fuzz_world *world, uint16_t family, struct fuzz_message *message)
{
	const struct fuzz_command *command = choose_command(world);
	struct nlmsghdr *nlh;
	unsigned int kind = fuzz_below(world, 32);

	if (kind < 8) {
		nlh = begin(message, family, command->cmd, 0);
		if (kind < 4)
			rubbish(world, nlh);
		else if (kind < 7)
			nest(world, nlh);
		else if (fuzz_one_in(world, 8))
			huge(world, nlh);
		message->length = nlh->nlmsg_len;
		return;
	}
	nlh = request(world, family, message, command, -1);
	if (kind < 12)		/* cut off */
		message->length = fuzz_below(world, nlh->nlmsg_len + 1);
	else if (kind < 14)	/* cut off, and says so */
		message->length = nlh->nlmsg_len = fuzz_below(world, nlh->nlmsg_len + 1);
	else if (kind < 16)	/* too long */
		nlh->nlmsg_len = fuzz_random(world) >> fuzz_below(world, 64);
	else if (kind < 24)
		break_attribute(world, nlh);
	else if (kind < 29)
		break_header(world, nlh);
	else
		append(world, message);
}

/**
 * fuzz_message_make() - make a message up
 * @world: what it may name
 * @family: the number of the netlink family
 * @message: filled in
 */
void fuzz_message_make(struct fuzz_world *world, uint16_t family,
		       struct fuzz_message *message)
{
	if (fuzz_one_in(world, 2))
		likely(world, family, message);
	else
		broken(world, family, message);
}
