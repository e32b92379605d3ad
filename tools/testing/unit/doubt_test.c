// SPDX-License-Identifier: GPL-2.0-or-later
/* The connection died between GO and RUNNING: both sides, over a real address. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/migrate.h"
#include "cmd/receive.h"
#include "unit.h"

static const struct vmm_choice guest = { "q", &vmm_driver_qemu };

#define SESSION		(1ull << 61)
/* Where both are to find each other, on a machine that is busy as well. */
#define PATIENCE	(30 * NS_PER_S)

static pid_t vmm_pid;

/* It takes a moment. */
static int quit(struct vmm *vmm, struct error *err)
{
	(void)vmm;
	(void)err;
	return kill(vmm_pid, SIGTERM);
}

static const struct vmm_migration_ops ops = { .quit = quit };

static char address[64];
static struct output out;

struct side {
	struct reception r;
	struct receive_options options;
	struct error why;
	unsigned int delay_ms;
	pthread_t thread;
	int ret;
};

static void *there_main(void *data)
{
	struct side *side = data;

	usleep(side->delay_ms * 1000);
	side->ret = receive_doubt(&side->r, &side->why);
	return NULL;
}

static void there_prepare(struct side *side)
{
	static char dir[] = "/tmp/doubt-XXXXXX";

	out.stream = tmpfile();
	CHECK(mkdtemp(dir));
	snprintf(address, sizeof(address), "unix:%s/socket", dir);
	vmm_pid = fork();
	if (!vmm_pid) {
		pause();
		_exit(0);
	}
	*side = (struct side) {
		.options = { .listen = address, .doubt_timeout = 2 * NS_PER_S },
		.why = { .message = "cut" },
	};
	side->r = (struct reception) {
		.out = &out, .options = &side->options, .ops = &ops,
		.signals = -1, .door.fd = -1, .loaded = true,
		.vmm_fd = (int)syscall(SYS_pidfd_open, vmm_pid, 0),
		.payload = malloc(WIRE_MAX_PAYLOAD + 1),
	};
	memset(side->r.id, 7, WIRE_ID_SIZE);
	channel_open(&side->r.channel, -1, "the source");
	side->r.channel.process.pid = getpid();
	side->r.channel.process.uid = geteuid();
}

static void there_start(struct side *side)
{
	pthread_create(&side->thread, NULL, there_main, side);
}

static bool vmm_lives(const struct side *side)
{
	siginfo_t info;

	return waitid(P_PIDFD, (id_t)side->r.vmm_fd, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       !info.si_pid;
}

static void there_end(struct side *side)
{
	pthread_join(side->thread, NULL);
	kill(vmm_pid, SIGKILL);
	waitpid(vmm_pid, NULL, 0);
	channel_close(&side->r.channel);
	free(side->r.payload);
	close(side->r.vmm_fd);
	fclose(out.stream);
	*strrchr(address, '/') = '\0';
	rmdir(address + strlen("unix:"));
}

static void here_prepare(struct migration *m, struct migrate_options *options)
{
	struct error err = {};

	*options = (struct migrate_options) {
		.to = address, .doubt_timeout = 2 * NS_PER_S,
	};
	*m = (struct migration) {
		.out = &out, .options = options, .tracker.fd = -1, .signals = -1,
		.throttle = THROTTLE_NONE, .lines = -1, .handed_over = true,
		.relay = { .fd = -1, .vmm_fd = -1 },
	};
	memset(m->id, 7, WIRE_ID_SIZE);
	channel_open(&m->channel, -1, address);
	m->channel.sent = 1000;
	mkdir(RECORD_DIR, 0755);
	CHECK_EQ(record_create(&m->record, SESSION, &guest, getpid(), address, &err), 0);
}

static void here_end(struct migration *m)
{
	record_remove(&m->record);
	peer_end(&m->peer);
	channel_close(&m->channel);
}

static const char *state(void)
{
	static struct record record;
	struct error err;

	CHECK_EQ(record_read(&record, SESSION, &err), 0);
	return record.state;
}

TEST(doubt_ends_it_runs_there)
{
	struct wire_frame frame = { .type = WIRE_DONE };
	struct error err = { .message = "cut" };
	struct migrate_options options;
	struct migration m;
	struct side there;

	there_prepare(&there);
	there.options.doubt_timeout = PATIENCE;
	there.r.told = there.r.resumed = true;
	there_start(&there);
	here_prepare(&m, &options);
	options.doubt_timeout = PATIENCE;
	CHECK_EQ(migrate_doubt(&m, &err), 0);
	CHECK(m.handed_over);
	CHECK_EQ(m.phase, MIGTRACK_PHASE_HANDOVER);
	CHECK_STR(state(), "handed-over");
	/* The connection is there again, and what was sent does not become less. */
	CHECK(channel_sent(&m.channel) > 1000);
	CHECK_EQ(channel_send(&m.channel, &frame, NULL, &err), 0);
	pthread_join(there.thread, NULL);
	CHECK_EQ(there.ret, 0);
	CHECK_EQ(channel_receive(&there.r.channel, &frame, there.r.payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_DONE);
	CHECK(vmm_lives(&there));
	here_end(&m);
	there_start(&there);
	there.r.known = true;
	there_end(&there);
}

/* Not before the VMM that could run it has ended is the source told. */
TEST(doubt_ends_it_never_ran)
{
	struct error err = { .message = "cut" };
	struct migrate_options options;
	struct migration m;
	struct side there;

	there_prepare(&there);
	/* The source comes first. */
	there.delay_ms = 700;
	there.options.doubt_timeout = PATIENCE;
	there_start(&there);
	here_prepare(&m, &options);
	options.doubt_timeout = PATIENCE;
	CHECK_EQ(migrate_doubt(&m, &err), -1);
	CHECK(!vmm_lives(&there));
	CHECK(!m.handed_over);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "could not run the guest: cut");
	CHECK_HAS(err.advice, "runs on here");
	/* Until it runs here again, it is as before for who comes after a crash. */
	CHECK_STR(state(), "in-doubt");
	CHECK(m.peer.started);
	here_end(&m);
	there_end(&there);
	CHECK_EQ(there.ret, -1);
}

static void stays_in_doubt(struct side *there, struct migration *m)
{
	struct error err = { .message = "cut" };

	there_start(there);
	CHECK_EQ(migrate_doubt(m, &err), -1);
	CHECK_EQ(err.code, EXIT_IN_DOUBT);
	CHECK_HAS(err.advice, "migctl resolve");
	CHECK(m->handed_over);
	CHECK_EQ(m->phase, MIGTRACK_PHASE_IN_DOUBT);
	CHECK_STR(state(), "in-doubt");
	here_end(m);
	there_end(there);
	CHECK_EQ(there->ret, -1);
}

/* It was told to run it, and nobody knows whether it did for a moment. */
TEST(doubt_stays_after_a_run_that_failed)
{
	struct migrate_options options;
	struct migration m;
	struct side there;

	there_prepare(&there);
	there.r.told = true;
	here_prepare(&m, &options);
	options.doubt_timeout = NS_PER_S;
	stays_in_doubt(&there, &m);
}

TEST(doubt_is_of_one_migration)
{
	struct migrate_options options;
	struct migration m;
	struct side there;

	there_prepare(&there);
	there.r.told = there.r.resumed = true;
	here_prepare(&m, &options);
	m.id[3] = 8;
	stays_in_doubt(&there, &m);
	CHECK_EQ(there.r.refused > 0, 1);
}

TEST(doubt_is_of_one_source)
{
	struct migrate_options options;
	struct migration m;
	struct side there;

	there_prepare(&there);
	there.r.told = there.r.resumed = true;
	there.r.channel.process.pid = 1;
	here_prepare(&m, &options);
	stays_in_doubt(&there, &m);
}

/* Nobody asks who was not told GO, or heard of the guest already. */
TEST(doubt_is_not_everywhere)
{
	struct side there;

	there_prepare(&there);
	there.r.loaded = false;
	CHECK_EQ(receive_doubt(&there.r, &there.why), -1);
	CHECK(vmm_lives(&there));
	there.r.loaded = there.r.resumed = there.r.known = true;
	CHECK_EQ(receive_doubt(&there.r, &there.why), -1);
	CHECK(vmm_lives(&there));
	there_start(&there);
	there_end(&there);
}
