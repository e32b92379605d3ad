// SPDX-License-Identifier: GPL-2.0-or-later
/* migctl receive: what it shows while it receives; and a VMM that ends before. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/receive.h"
#include "unit.h"

static char *text;
static size_t size;

static struct reception begin(struct output *out, bool json)
{
	*out = (struct output) { .stream = open_memstream(&text, &size), .json = json };
	return (struct reception) { .out = out, .lines = -1, .started = 1, .shown.time = 1 };
}

/* A second ago, as far as it knows. */
static void let_pass(struct reception *r)
{
	r->shown.time -= NS_PER_S;
}

TEST(receive_shows_what_has_come)
{
	struct output out;
	struct reception r = begin(&out, false);

	r.intake.bytes = 2 << 20;
	r.receiver.pages = 512;
	receive_out_look(&r);
	CHECK_HAS(text, "2.0 MiB");
	CHECK_HAS(text, "512");
	/* Once a second is enough. */
	size = 0;
	rewind(out.stream);
	receive_out_look(&r);
	fflush(out.stream);
	CHECK_EQ(size, 0);
	fclose(out.stream);
	free(text);
}

static json_int_t number(json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

TEST(receive_shows_it_as_json)
{
	struct output out;
	struct reception r = begin(&out, true);
	json_t *json;
	json_int_t rate;

	r.shown.time = r.started = clock_ns(CLOCK_MONOTONIC);
	let_pass(&r);
	r.intake.bytes = 4096;
	r.receiver.pages = 1;
	r.receiver.zero_pages = 5;
	receive_out_look(&r);
	json = json_loads(text, 0, NULL);
	CHECK_STR(json_string_value(json_object_get(json, "type")), "progress");
	CHECK_EQ(number(json, "received_bytes"), 4096);
	CHECK_EQ(number(json, "pages"), 1);
	CHECK_EQ(number(json, "zero_pages"), 5);
	rate = number(json, "received_bytes_per_second");
	CHECK(rate > 0 && rate <= 4096);
	json_decref(json);
	fclose(out.stream);
	free(text);
}

TEST(receive_sums_up)
{
	struct output out;
	struct reception r = begin(&out, false);

	r.resumed = true;
	receive_out_summary(&r, NULL);
	CHECK_HAS(text, "completed");
	fclose(out.stream);
	free(text);
}

/* The connection ends first. */
static int connection_fd = -1;

static int connection(struct vmm *vmm)
{
	(void)vmm;
	return connection_fd;
}

static const struct vmm_ops waiting_vmm = { .name = "QEMU" };
static const struct vmm_migration_ops waiting_ops = { .connection = connection };

static pid_t process_begin(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

/* Nobody connects, and nobody need: it does not wait for who can't be served. */
TEST(receive_ends_with_its_vmm)
{
	char path[64], listen[80];
	struct security security = {};
	struct receive_options options = { .listen = listen };
	struct vmm vmm = { .ops = &waiting_vmm, .pid = process_begin() };
	struct reception r = {
		.options = &options, .ops = &waiting_ops, .vmm = &vmm, .door.fd = -1,
		.secured.security = security,
	};
	struct channel channel = { .fd = -1 };
	struct error err = {};
	int quiet[2];

	snprintf(path, sizeof(path), "/tmp/receive-%d", getpid());
	snprintf(listen, sizeof(listen), "unix:%s", path);
	CHECK(!pipe(quiet));
	r.signals = quiet[0];
	r.vmm_fd = (int)syscall(SYS_pidfd_open, vmm.pid, 0);
	CHECK_EQ(receive_listen(&r, &err), 0);
	CHECK(!receive_vmm_ended(&r));
	kill(vmm.pid, SIGKILL);
	CHECK_EQ(receive_meet(&r, &channel, &err), -1);
	CHECK_EQ(err.code, EXIT_GONE);
	CHECK_HAS(err.message, "QEMU (process ");
	CHECK_HAS(err.message, "has ended");
	CHECK(receive_vmm_ended(&r));
	door_close(&r.door);
	/* Who comes later is told that nobody listens. */
	CHECK(access(path, F_OK));
	waitpid(vmm.pid, NULL, 0);
	close(r.vmm_fd);
	close(quiet[0]);
	close(quiet[1]);
}

static void *end_later(void *data)
{
	usleep(50000);
	kill(*(pid_t *)data, SIGKILL);
	return NULL;
}

/* Its connection is closed already, and it is not yet over. */
TEST(receive_knows_a_vmm_that_is_ending)
{
	struct vmm vmm = { .ops = &waiting_vmm, .pid = process_begin() };
	struct reception r = { .ops = &waiting_ops, .vmm = &vmm };
	pthread_t thread;
	int pair[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	connection_fd = pair[0];
	r.vmm_fd = (int)syscall(SYS_pidfd_open, vmm.pid, 0);
	CHECK(!receive_vmm_ended(&r));
	close(pair[1]);
	CHECK(!pthread_create(&thread, NULL, end_later, &vmm.pid));
	CHECK(receive_vmm_ended(&r));
	pthread_join(thread, NULL);
	waitpid(vmm.pid, NULL, 0);
	close(pair[0]);
	close(r.vmm_fd);
	connection_fd = -1;
}
