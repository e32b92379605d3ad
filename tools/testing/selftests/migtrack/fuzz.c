// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hostile messages to the family, from two processes at once. The module's trace
 * events tell which commands and which refusals they have reached.
 *
 *	fuzz [-n MESSAGES] [-s SEED] [-r TIMES]
 *
 * MESSAGES is 20000 or what MIGTRACK_FUZZ says; each command and each refusal has
 * to be reached TIMES times (1, of a million messages and more 100). As what is
 * reached is left to chance, so many are sent again, a few times, while something
 * is not.
 */

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "fuzz_refusals.h"	/* made of the modules: fuzz_refusals[] */
#include "internal.h"
#include "kselftest.h"

#define WORKERS		2
#define ROUNDS		6
#define EVENTS		"/sys/kernel/tracing/events/migtrack"
#define MAX_REACHED	1024

/*
 * They need a kernel that has run out of memory, or a VFIO device; those the test
 * vfio reaches.
 */
static const char *const unreachable[] = {
	"the module migtrack_vfio is not loaded; load it, or try again in a moment",
	"the device can't migrate: its driver has no support for that",
	"the device does not say what it can do; is it bound to a guest?",
	"the device does not answer",
	"data-fd is not the migration data of a device that is saved",
	"the device has no DMA log",
	"this kernel can't report a device's DMA log: it was built without CONFIG_IOMMUFD and CONFIG_IOMMUFD_DRIVER",
	"the source asked for the DMA log before; stop it first",
	"the source did not ask for the DMA log",
	"the device is gone",
	"no memory for the tracker's bitmaps",
	"no memory for the bitmap",
};

/* Of all workers. */
struct totals {
	uint64_t sent;
	uint64_t accepted;
	uint64_t refused;
	uint64_t silent;
};

/* ---- a worker ---- */

static void capabilities_without(uint64_t without)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		err(1, "capget");
	data[0].effective = data[0].permitted & ~(uint32_t)without;
	data[1].effective = data[1].permitted & ~(uint32_t)(without >> 32);
	if (syscall(SYS_capset, &header, data))
		err(1, "capset");
}

/* The limit that a new descriptor meets; those that are open stay so. */
static void descriptors_limit(bool none)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		err(1, "getrlimit");
	limit.rlim_cur = none ? 0 : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		err(1, "setrlimit");
}

static uint64_t number(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == 8 ? mnl_attr_get_u64(attr) :
						     mnl_attr_get_u32(attr);
}

/* Whatever message it was that made a session or source: keep track of it. */
static void adopt(struct fuzz_world *world, const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	uint64_t session = 0;
	int64_t what = -1;

	mnl_attr_for_each(attr, nlh, sizeof(*genl)) {
		int type = mnl_attr_get_type(attr);

		if (type == (genl->cmd == MIGTRACK_CMD_SESSION_NEW ?
				     MIGTRACK_A_SESSION_ID : MIGTRACK_A_SOURCE_SESSION_ID))
			session = number(attr);
		else if (type == (genl->cmd == MIGTRACK_CMD_SESSION_NEW ?
					  MIGTRACK_A_SESSION_FD : MIGTRACK_A_SOURCE_ID))
			what = number(attr);
	}
	if (genl->cmd == MIGTRACK_CMD_SESSION_NEW)
		fuzz_session_adopt(world, session, what);
	else if (genl->cmd == MIGTRACK_CMD_SOURCE_ADD)
		fuzz_source_adopt(world, session, what);
}

/* The kernel has answered by the time that the message is sent. */
static void read_replies(struct migtrack *mt, struct fuzz_world *world, struct totals *totals)
{
	const struct nlmsghdr *nlh;
	bool silent = true;
	int len;

	for (;;) {
		len = recv(migtrack_fd(mt), mt->buffer, sizeof(mt->buffer), MSG_DONTWAIT);
		if (len < 0)
			break;
		silent = false;
		for (nlh = (void *)mt->buffer; mnl_nlmsg_ok(nlh, len);
		     nlh = mnl_nlmsg_next(nlh, &len)) {
			if (nlh->nlmsg_type == NLMSG_ERROR) {
				if (((struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error)
					totals->refused++;
				else
					totals->accepted++;
			} else if (nlh->nlmsg_type == mt->family) {
				adopt(world, nlh);
			}
		}
	}
	if (errno != EAGAIN)
		err(1, "receiving");
	totals->silent += silent;
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (dir && readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int work(struct fuzz_world *world, uint64_t messages, struct totals *totals)
{
	static struct fuzz_message message;
	struct migtrack *mt, *listener;
	unsigned int fds;
	uint64_t i;

	/* The listener never reads: its queue is full soon. */
	if (migtrack_open(&mt) || migtrack_open(&listener) || migtrack_subscribe(listener))
		errx(1, "no migtrack");
	fds = open_fds();
	fuzz_world_open(world);
	for (i = 0; i < messages; i++) {
		fuzz_message_make(world, mt->family, &message);
		world->good[fuzz_below(world, FUZZ_MEMORY)]++;
		if (message.without)
			capabilities_without(message.without);
		if (message.no_fds)
			descriptors_limit(true);
		/* Some are too long to be sent, or empty. */
		if (send(migtrack_fd(mt), message.bytes, message.length, 0) >= 0)
			totals->sent++;
		if (message.without)
			capabilities_without(0);
		if (message.no_fds)
			descriptors_limit(false);
		read_replies(mt, world, totals);
	}
	fuzz_world_close(world);
	if (open_fds() != fds) {
		ksft_print_msg("%u descriptors, there were %u\n", open_fds(), fds);
		return 1;
	}
	return 0;
}

static bool workers_run(struct fuzz_world *world, int other_fd, uint64_t seed,
			uint64_t messages, struct totals *sum)
{
	struct totals *totals = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int i, good = 0;
	pid_t pids[WORKERS];
	int status;

	if (totals == MAP_FAILED)
		err(1, "mmap");
	for (i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			err(1, "fork");
		if (pids[i])
			continue;
		close(other_fd);
		/* Never 0, from which the random numbers would not get away. */
		world->rng = (seed * WORKERS + i) * 0x9e3779b97f4a7c15ULL | 1;
		_exit(work(world, messages / WORKERS, &totals[i]));
	}
	for (i = 0; i < WORKERS; i++) {
		good += waitpid(pids[i], &status, 0) == pids[i] && !status;
		sum->sent += totals[i].sent;
		sum->accepted += totals[i].accepted;
		sum->refused += totals[i].refused;
		sum->silent += totals[i].silent;
	}
	munmap(totals, 4096);
	return good == WORKERS;
}

/* ---- what was reached ---- */

/* How often a command ended so; no text and nothing missing means well. */
struct reached {
	bool dump;
	bool error;
	unsigned int cmd;
	unsigned int missing;
	uint64_t times;
	char text[128];
};

static struct reached reached[MAX_REACHED];
static unsigned int nreached;

static const char *const trace_events[] = {
	"migtrack_nl_pre_doit", "migtrack_nl_doit", "migtrack_nl_dumpit",
};
#define TRACE_EVENTS	(sizeof(trace_events) / sizeof(trace_events[0]))

/* The kernel counts; the size is of its table, in entries. */
static void trace_trigger(const char *event, const char *prefix)
{
	static const char *const triggers[] = {
		"hist:keys=cmd:size=128 if error == 0",
		"hist:keys=cmd,missing,text:size=1024 if error != 0",
	};
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), EVENTS "/%s/trigger", event);
	for (unsigned int i = 0; i < 2; i++) {
		file = fopen(path, "a");
		if (!file || fprintf(file, "%s%s\n", prefix, triggers[i]) < 0 ||
		    fclose(file))
			err(1, "%s", path);
	}
}

static void trace_all(const char *prefix)
{
	for (unsigned int i = 0; i < TRACE_EVENTS; i++)
		trace_trigger(trace_events[i], prefix);
}

/* { cmd: 3, missing: 0, text: no such session } hitcount: 12 */
static void reached_parse(char *line, bool dump)
{
	struct reached *entry = &reached[nreached];
	char *end = strstr(line, "} hitcount:"), *text = strstr(line, "text: ");

	if (line[0] != '{' || !end)
		return;
	if (nreached == MAX_REACHED)
		errx(1, "more kinds of ends than fit");
	memset(entry, 0, sizeof(*entry));
	entry->dump = dump;
	entry->error = text;
	entry->times = strtoull(end + strlen("} hitcount:"), NULL, 10);
	if (sscanf(line, "{ cmd: %u, missing: %u", &entry->cmd, &entry->missing) < 1)
		errx(1, "not understood: %s", line);
	if (text) {
		text += strlen("text: ");
		while (end > text && end[-1] == ' ')
			end--;
		snprintf(entry->text, sizeof(entry->text), "%.*s", (int)(end - text), text);
	}
	nreached++;
}

/* Returns false if the kernel could not count all. */
static bool reached_read(void)
{
	bool complete = true;
	char path[128], line[512];
	FILE *file;

	nreached = 0;
	for (unsigned int i = 0; i < TRACE_EVENTS; i++) {
		snprintf(path, sizeof(path), EVENTS "/%s/hist", trace_events[i]);
		file = fopen(path, "r");
		if (!file)
			err(1, "%s", path);
		while (fgets(line, sizeof(line), file)) {
			unsigned int dropped = 0;

			if (sscanf(line, " Dropped: %u", &dropped) == 1 && dropped)
				complete = false;
			reached_parse(line, !strcmp(trace_events[i], "migtrack_nl_dumpit"));
		}
		fclose(file);
	}
	return complete;
}

/* Off while it is only asked whether there is enough. */
static bool telling;

static void tell(uint64_t times, const char *what)
{
	if (telling)
		ksft_print_msg("%8" PRIu64 " %s\n", times, what);
}

static bool enough(uint64_t times, uint64_t need, const char *what, const char *name)
{
	if (times < need && telling)
		ksft_print_msg("%" PRIu64 " times, not %" PRIu64 ": %s%s\n", times, need,
			       what, name);
	return times >= need;
}

static bool commands_reached(uint64_t need)
{
	bool all = true;

	for (unsigned int i = 0; i < fuzz_ncommands; i++) {
		const struct fuzz_command *command = &fuzz_commands[i];
		uint64_t times = 0;

		for (unsigned int k = 0; k < nreached; k++)
			if (reached[k].cmd == command->cmd && !reached[k].error &&
			    reached[k].dump == command->dump)
				times += reached[k].times;
		tell(times, command->name);
		if (!command->hopeless)
			all &= enough(times, need, "well-ended ", command->name);
	}
	return all;
}

static bool attributes_missed(uint64_t need)
{
	bool all = true;

	for (unsigned int i = 0; i < fuzz_ncommands; i++) {
		const struct fuzz_command *command = &fuzz_commands[i];

		for (unsigned int a = 0; a < FUZZ_ATTRIBUTES && command->attributes[a].type; a++) {
			uint64_t times = 0;

			if (!command->attributes[a].required)
				continue;
			for (unsigned int k = 0; k < nreached; k++)
				if (reached[k].cmd == command->cmd &&
				    reached[k].dump == command->dump &&
				    reached[k].missing == command->attributes[a].type)
					times += reached[k].times;
			all &= enough(times, need, "an attribute is missing in ",
				      command->name);
		}
	}
	return all;
}

static bool is_unreachable(const char *text)
{
	for (unsigned int i = 0; i < sizeof(unreachable) / sizeof(unreachable[0]); i++)
		if (!strcmp(text, unreachable[i]))
			return true;
	return false;
}

static bool refusals_reached(uint64_t need)
{
	bool all = true;

	for (unsigned int i = 0; i < sizeof(fuzz_refusals) / sizeof(fuzz_refusals[0]); i++) {
		uint64_t times = 0;

		if (is_unreachable(fuzz_refusals[i]))
			continue;
		for (unsigned int k = 0; k < nreached; k++)
			if (!strcmp(reached[k].text, fuzz_refusals[i]))
				times += reached[k].times;
		tell(times, fuzz_refusals[i]);
		all &= enough(times, need, "", fuzz_refusals[i]);
	}
	return all;
}

static bool all_reached(uint64_t need)
{
	return commands_reached(need) && refusals_reached(need) && attributes_missed(need);
}

static bool refusals_say_why(void)
{
	bool all = true;

	for (unsigned int k = 0; k < nreached; k++) {
		if (!reached[k].error || reached[k].missing || reached[k].text[0])
			continue;
		ksft_print_msg("command %u was refused %" PRIu64 " times without a word\n",
			       reached[k].cmd, reached[k].times);
		all = false;
	}
	return all;
}

/* ---- afterwards ---- */

struct other {
	struct migtrack *mt;
	uint64_t id;
	int fd;
};

static void other_open(struct other *other, struct fuzz_world *world)
{
	struct migtrack_source_map map;

	errno = -migtrack_open(&other->mt);
	if (errno)
		err(1, "migtrack");
	if (migtrack_session_new(other->mt, &other->id, &other->fd) ||
	    migtrack_source_add_ram(other->mt, other->fd, getpid(),
				    world->memories[FUZZ_GROWN], 0, 0, &map) ||
	    migtrack_source_add_ram(other->mt, other->fd, getpid(),
				    world->memories[FUZZ_GOOD], 0, 0, &map) ||
	    migtrack_sync(other->mt, other->fd, MIGTRACK_SYNC_KIND_SETUP) ||
	    migtrack_sync_wait(other->fd, 60000))
		errx(1, "a session: %s", migtrack_message(other->mt));
	world->other_id = other->id;
	world->other_fd = other->fd;
	world->pids[FUZZ_OTHER] = getpid();
}

static bool other_is_untouched(struct other *other)
{
	struct migtrack_session session;

	return !migtrack_session_get(other->mt, other->id, &session) &&
	       session.sources == 2 && session.syncs == 1 && session.iteration == 1 &&
	       session.phase == MIGTRACK_PHASE_NONE;
}

static int is_not(const struct migtrack_session *session, void *data)
{
	return session->id != *(uint64_t *)data;
}

static bool only_other_is_left(struct other *other)
{
	return !migtrack_session_dump(other->mt, is_not, &other->id);
}

static bool sync_found(struct other *other, uint64_t id, int fd,
		       enum migtrack_sync_kind kind, struct migtrack_session *session)
{
	return !migtrack_sync(other->mt, fd, kind) && !migtrack_sync_wait(fd, 60000) &&
	       !migtrack_session_get(other->mt, id, session);
}

/* One page written is one page found. */
static bool family_works(struct other *other, const struct fuzz_world *world)
{
	struct migtrack_session session = { 0 };
	time_t end = time(NULL) + 60;
	struct migtrack_source_map map;
	uint64_t id, iterations;
	bool works;
	int fd;

	if (migtrack_session_new(other->mt, &id, &fd))
		return false;
	works = !migtrack_source_add_ram(other->mt, fd, getpid(),
					 world->memories[FUZZ_GOOD], 0, 0, &map) &&
		sync_found(other, id, fd, MIGTRACK_SYNC_KIND_SETUP, &session);
	/* All of it is found until our address space is adopted. */
	do {
		works = works &&
			sync_found(other, id, fd, MIGTRACK_SYNC_KIND_ITERATION, &session);
	} while (works && session.dirty_pages && time(NULL) < end);
	iterations = session.iteration;
	world->good[5 * 4096]++;
	works = works &&
		sync_found(other, id, fd, MIGTRACK_SYNC_KIND_ITERATION, &session) &&
		session.iteration == iterations + 1 && session.dirty_pages == 1;
	close(fd);
	return works;
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise)
{
	for (int i = 1; i + 1 < argc; i += 2)
		if (!strcmp(argv[i], name))
			return strtoull(argv[i + 1], NULL, 0);
	return otherwise;
}

int main(int argc, char **argv)
{
	const char *env = getenv("MIGTRACK_FUZZ");
	uint64_t messages = option(argc, argv, "-n", env ? strtoull(env, NULL, 0) : 20000);
	uint64_t seed = option(argc, argv, "-s", time(NULL) * 1000003ULL + getpid());
	uint64_t need = option(argc, argv, "-r", messages < 1000000 ? 1 : 100);
	static struct fuzz_world world;
	struct totals totals = {};
	struct other other;
	time_t start = time(NULL);
	unsigned int rounds = 0;
	bool sent, counted;

	ksft_print_header();
	ksft_set_plan(8);
	ksft_print_msg("-n %" PRIu64 " -s %" PRIu64 " -r %" PRIu64 "\n", messages, seed, need);
	if (system("modprobe -q migtrack_vfio"))
		ksft_exit_fail_msg("migtrack_vfio can't be loaded\n");
	fuzz_memories_open(&world);
	other_open(&other, &world);
	fuzz_memory_grow(&world);

	trace_all("");
	do {
		sent = workers_run(&world, other.fd, seed + rounds, messages, &totals);
		counted = reached_read();
	} while (sent && counted && !all_reached(need) && ++rounds < ROUNDS);
	trace_all("!");
	telling = true;

	ksft_test_result(sent && totals.sent > messages / 2, "hostile messages were sent\n");
	ksft_print_msg("%" PRIu64 " sent in %ld s; accepted %" PRIu64 ", refused %" PRIu64
		       ", not answered %" PRIu64 "\n", totals.sent, time(NULL) - start,
		       totals.accepted, totals.refused, totals.silent);
	ksft_test_result(counted, "all ends of requests were counted\n");
	ksft_test_result(commands_reached(need), "each command was reached\n");
	ksft_test_result(refusals_reached(need), "each refusal was reached\n");
	ksft_test_result(attributes_missed(need), "each attribute was missed\n");
	ksft_test_result(refusals_say_why(), "each refusal says why\n");
	ksft_test_result(other_is_untouched(&other) && only_other_is_left(&other),
			 "the session of another is as it was, all others are gone\n");
	ksft_test_result(family_works(&other, &world), "the family works\n");
	ksft_finished();
}
