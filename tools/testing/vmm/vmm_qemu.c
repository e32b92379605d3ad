// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's driver and the guard against real QEMUs. The guest is a firmware of a
 * few bytes that counts in its memory, which is a file: whether it runs is seen
 * without asking QEMU. The memory goes over by a plain copy of the file.
 *
 * QEMU and ACCEL name the binary and the accelerator; prints TAP.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/migration.h"
#include "vmm/qmp.h"

#define RAM_BYTES	(32u << 20)
#define COUNTER_AT	0x7000
#define BIOS_BYTES	(64u << 10)
#define MAX_ARGS	64

static const struct vmm_migration_ops * const ops = &vmm_qemu_migration;
static char folder[] = "/dev/shm/vmm_qemu.XXXXXX";
static int tests, failures;
static bool failed;

#define CHECK(condition) do {						\
	if (!(condition)) {						\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);	\
		failed = true;						\
	}								\
} while (0)

/* A call that takes a struct error. */
#define OK(call) do {							\
	struct error err = {};						\
	if ((call)) {							\
		printf("# %s:%d: %s: %s (%s)\n", __FILE__, __LINE__,	\
		       #call, err.message, err.advice);			\
		failed = true;						\
	}								\
} while (0)

#define REFUSED(call, text) do {					\
	struct error err = {};						\
	if (!(call)) {							\
		printf("# %s:%d: %s was not refused\n", __FILE__,	\
		       __LINE__, #call);				\
		failed = true;						\
	} else if (!strstr(err.message, text) || !err.advice[0]) {	\
		printf("# %s:%d: %s: %s (%s)\n", __FILE__, __LINE__,	\
		       #call, err.message, err.advice);			\
		failed = true;						\
	}								\
} while (0)

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void sleep_ms(int ms)
{
	poll(NULL, 0, ms);
}

/*
 * struct machine - a QEMU
 * @name: of its files
 * @pid: of it
 * @counter: in its memory
 * @eyes: a second connection, to look without disturbing
 */
struct machine {
	char name[16];
	char qmp[128];
	pid_t pid;
	volatile uint32_t *counter;
	struct qmp *eyes;
};

static char *path_of(char path[128], const char *name, const char *suffix)
{
	snprintf(path, 128, "%s/%s%s", folder, name, suffix);
	return path;
}

/* xor ax,ax; mov ds,ax; again: inc dword [0x7000]; jmp again */
static void firmware_write(void)
{
	static const unsigned char code[] = { 0x31, 0xc0, 0x8e, 0xd8, 0x66,
					      0xff, 0x06, 0x00, 0x70, 0xeb,
					      0xf9 };
	/* jmp 0xf000:0 */
	static const unsigned char reset[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 };
	char path[128];
	int fd;

	fd = open(path_of(path, "bios", ""), O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, BIOS_BYTES) ||
	    pwrite(fd, code, sizeof(code), 0) != sizeof(code) ||
	    pwrite(fd, reset, sizeof(reset), BIOS_BYTES - 16) != sizeof(reset))
		abort();
	close(fd);
}

static void ram_map(struct machine *m)
{
	char path[128];
	int fd = open(path_of(path, m->name, ".ram"), O_RDWR | O_CREAT, 0600);

	if (fd < 0 || ftruncate(fd, RAM_BYTES))
		abort();
	m->counter = (void *)((char *)mmap(NULL, RAM_BYTES, PROT_READ,
					   MAP_SHARED, fd, 0) + COUNTER_AT);
	close(fd);
}

static void qemu_exec(struct machine *m, const char *machine,
		      const char *memory, va_list more)
{
	const char *argv[MAX_ARGS] = {};
	char bios[128], qmp[160], eyes[160], object[256], type[64], dir[128];
	const char *accel = getenv("ACCEL"), *qemu = getenv("QEMU");
	char *data = getenv("QEMU_DATA");
	int n = 0;

	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", m->qmp);
	snprintf(eyes, sizeof(eyes), "unix:%s/%s.eyes,server=on,wait=off",
		 folder, m->name);
	if (memory)
		snprintf(object, sizeof(object), "%s,id=ram0,size=%u", memory,
			 RAM_BYTES);
	else
		snprintf(object, sizeof(object),
			 "memory-backend-file,share=on,id=ram0,size=%u,mem-path=%s/%s.ram",
			 RAM_BYTES, folder, m->name);
	snprintf(type, sizeof(type), "%s,memory-backend=ram0", machine);
	snprintf(dir, sizeof(dir), "%s", data ? data : "");
	argv[n++] = qemu ? qemu : "qemu-system-x86_64";
	argv[n++] = "-accel";
	argv[n++] = accel ? accel : "tcg";
	argv[n++] = "-machine";
	argv[n++] = type;
	argv[n++] = "-object";
	argv[n++] = object;
	argv[n++] = "-m";
	argv[n++] = "32";
	argv[n++] = "-bios";
	argv[n++] = path_of(bios, "bios", "");
	argv[n++] = "-display";
	argv[n++] = "none";
	argv[n++] = "-vga";
	argv[n++] = "none";
	argv[n++] = "-nodefaults";
	argv[n++] = "-qmp";
	argv[n++] = qmp;
	argv[n++] = "-qmp";
	argv[n++] = eyes;
	if (dir[0]) {
		argv[n++] = "-L";
		argv[n++] = dir;
	}
	do {
		argv[n] = va_arg(more, const char *);
	} while (argv[n++]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(argv[0], (char **)argv);
	_exit(127);
}

static bool socket_there(const char *path)
{
	struct error err;
	struct qmp *qmp;

	if (access(path, F_OK) || qmp_open(&qmp, path, &err))
		return false;
	qmp_close(qmp);
	return true;
}

/* More options follow, up to a NULL. */
static void machine_start(struct machine *m, const char *name,
			  const char *machine, const char *memory, ...)
{
	struct error err;
	char path[128];
	va_list more;
	int tries;

	*m = (struct machine){};
	snprintf(m->name, sizeof(m->name), "%s", name);
	path_of(m->qmp, name, ".qmp");
	unlink(m->qmp);
	unlink(path_of(path, name, ".ram"));
	unlink(path_of(path, name, ".eyes"));
	ram_map(m);
	va_start(more, memory);
	m->pid = fork();
	if (!m->pid)
		qemu_exec(m, machine, memory, more);
	va_end(more);
	for (tries = 0; tries < 600 && !socket_there(m->qmp); tries++) {
		if (waitpid(m->pid, NULL, WNOHANG) == m->pid) {
			printf("# QEMU %s ended at its start\n", name);
			failed = true;
			m->pid = 0;
			return;
		}
		sleep_ms(20);
	}
	if (qmp_open(&m->eyes, path_of(path, name, ".eyes"), &err)) {
		printf("# %s\n", err.message);
		failed = true;
	}
}

static void machine_end(struct machine *m)
{
	qmp_close(m->eyes);
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	munmap((char *)m->counter - COUNTER_AT, RAM_BYTES);
}

/* The guest's counter moves within @ms; how long it took, or -1. */
static int64_t counts_within(const struct machine *m, int ms)
{
	uint32_t start = *m->counter;
	int64_t begin = now_us();

	while (now_us() - begin < (int64_t)ms * 1000) {
		if (*m->counter != start)
			return now_us() - begin;
		usleep(200);
	}
	return -1;
}

/* All of QEMU's capabilities and parameters, as text. */
static char *settings(const struct machine *m)
{
	json_t *capabilities = NULL, *parameters = NULL, *both;
	char *text;

	OK(qmp_execute(m->eyes, "query-migrate-capabilities", NULL,
		       &capabilities, &err));
	OK(qmp_execute(m->eyes, "query-migrate-parameters", NULL, &parameters,
		       &err));
	both = json_pack("[o*, o*]", capabilities, parameters);
	text = json_dumps(both, JSON_SORT_KEYS);
	json_decref(both);
	return text;
}

/* Values that nobody has by default, to be found again. */
static void settings_disturb(const struct machine *m)
{
	OK(qmp_execute(m->eyes, "migrate-set-capabilities",
		       json_pack("{s:[{s:s,s:b},{s:s,s:b},{s:s,s:b}]}",
				 "capabilities", "capability", "auto-converge",
				 "state", 1, "capability", "multifd", "state",
				 1, "capability", "events", "state", 1),
		       NULL, &err));
	OK(qmp_execute(m->eyes, "migrate-set-parameters",
		       json_pack("{s:i, s:i, s:i}", "downtime-limit", 77,
				 "max-bandwidth", 1234567, "multifd-channels",
				 3), NULL, &err));
}

static struct vmm *connect_to(const struct machine *m)
{
	struct vmm *vmm = NULL;

	OK(vmm_qemu.open(&vmm, m->qmp, 0, &err));
	return vmm;
}

static bool phase_wait(struct vmm *vmm, enum vmm_phase phase, int ms)
{
	int64_t end = now_us() + (int64_t)ms * 1000;
	struct vmm_status status = {};
	struct error err;

	while (now_us() < end) {
		if (ops->status(vmm, &status, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
		if (status.phase == phase)
			return true;
		usleep(1000);
	}
	printf("# phase %d instead of %d, state %s, %s\n", status.phase, phase,
	       status.state, status.reason);
	return false;
}

static void copy_ram(const struct machine *from, const struct machine *to)
{
	char path[128];
	int fd;

	fd = open(path_of(path, to->name, ".ram"), O_RDWR);
	CHECK(pwrite(fd, (char *)from->counter - COUNTER_AT, RAM_BYTES, 0) ==
	      RAM_BYTES);
	close(fd);
}

static void destination_start(struct machine *m)
{
	machine_start(m, "dst", "q35", NULL, "-incoming", "defer", "-S", NULL);
}

static void source_start(struct machine *m)
{
	machine_start(m, "src", "q35", NULL, NULL);
	settings_disturb(m);
	CHECK(counts_within(m, 5000) >= 0);
}

static void report(const char *name)
{
	tests++;
	failures += failed;
	printf("%sok %d %s\n", failed ? "not " : "", tests, name);
	fflush(stdout);
	failed = false;
}

static void test_round_trip(void)
{
	char *source_before, *destination_before, *after;
	json_t *here = NULL, *there = NULL, *saved = NULL, *kept = NULL;
	struct machine src, dst;
	struct vmm *from, *to;
	int pair[2];
	uint32_t last;
	int64_t start;

	source_start(&src);
	destination_start(&dst);
	source_before = settings(&src);
	destination_before = settings(&dst);
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->describe(from, &here, &err));
	OK(ops->describe(to, &there, &err));
	OK(vmm_compare(here, there, &err));
	OK(ops->check_source(from, &err));
	OK(ops->check_destination(to, &err));
	OK(ops->save(from, &saved, &err));
	OK(ops->save(to, &kept, &err));
	OK(ops->prepare_source(from, &err));
	OK(ops->prepare_destination(to, &err));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(ops->start(from, pair[0], &err));
	OK(ops->incoming(to, pair[1], &err));
	close(pair[0]);
	close(pair[1]);
	CHECK(phase_wait(from, VMM_PRE_SWITCHOVER, 5000));
	CHECK(counts_within(&src, 100) < 0);
	REFUSED(ops->check_source(from, &err), "under way");
	REFUSED(ops->run(to, &err), "has not loaded");
	copy_ram(&src, &dst);
	last = *src.counter;
	start = now_us();
	OK(ops->go_on(from, &err));
	CHECK(phase_wait(from, VMM_COMPLETED, 5000));
	CHECK(phase_wait(to, VMM_COMPLETED, 5000));
	printf("# continue to completed: %lld us\n",
	       (long long)(now_us() - start));
	CHECK(counts_within(&dst, 100) < 0);
	OK(ops->restore(to, kept, &err));
	start = now_us();
	OK(ops->run(to, &err));
	CHECK(counts_within(&dst, 2000) >= 0);
	printf("# run to running: %lld us\n", (long long)(now_us() - start));
	CHECK(*dst.counter - last < 1u << 31);
	CHECK(counts_within(&src, 100) < 0);
	REFUSED(ops->check_source(from, &err), "postmigrate");
	OK(ops->restore(from, saved, &err));
	after = settings(&src);
	CHECK(!strcmp(source_before, after));
	free(after);
	after = settings(&dst);
	CHECK(!strcmp(destination_before, after));
	free(after);
	OK(ops->quit(from, &err));
	from->ops->close(from);
	to->ops->close(to);
	json_decref(here);
	json_decref(there);
	json_decref(saved);
	json_decref(kept);
	free(source_before);
	free(destination_before);
	machine_end(&src);
	machine_end(&dst);
	report("a guest moves and goes on where it stopped");
}

/* Somebody sent cont to the destination before: it must not start by itself. */
static void test_destination_waits(void)
{
	struct machine src, dst;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2];

	source_start(&src);
	destination_start(&dst);
	OK(qmp_execute(dst.eyes, "cont", NULL, NULL, &err));
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->check_destination(to, &err));
	OK(ops->save(from, &saved, &err));
	OK(ops->prepare_source(from, &err));
	OK(ops->prepare_destination(to, &err));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(ops->start(from, pair[0], &err));
	OK(ops->incoming(to, pair[1], &err));
	close(pair[0]);
	close(pair[1]);
	CHECK(phase_wait(from, VMM_PRE_SWITCHOVER, 5000));
	copy_ram(&src, &dst);
	OK(ops->go_on(from, &err));
	CHECK(phase_wait(to, VMM_COMPLETED, 5000));
	CHECK(counts_within(&dst, 300) < 0);
	from->ops->close(from);
	to->ops->close(to);
	json_decref(saved);
	machine_end(&src);
	machine_end(&dst);
	report("a destination that was told cont before waits nevertheless");
}

/* A stream that is no migration: the destination says why. */
static void test_destination_fails(void)
{
	struct vmm_status status = {};
	struct machine dst;
	struct vmm *to;
	int pair[2];

	destination_start(&dst);
	to = connect_to(&dst);
	OK(ops->prepare_destination(to, &err));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(ops->incoming(to, pair[1], &err));
	CHECK(write(pair[0], "nonsense, nonsense", 18) == 18);
	close(pair[0]);
	close(pair[1]);
	if (phase_wait(to, VMM_FAILED, 5000)) {
		OK(ops->status(to, &status, &err));
		printf("# reason: %s\n", status.reason);
		CHECK(status.reason[0]);
		REFUSED(ops->run(to, &err), "has not loaded");
	} else {
		/* Before 9.1. */
		REFUSED(ops->status(to, &status, &err), "closed the connection");
	}
	OK(ops->quit(to, &err));
	to->ops->close(to);
	machine_end(&dst);
	report("a destination that can't load says why");
}

enum moment { IDLE, PREPARED, ACTIVE, STOPPED, COMPLETED, HALF_COMMAND,
	      HALF_REPLY, NAMED_FD, N_MOMENTS };

static const char * const moments[] = {
	[IDLE] = "before anything was changed",
	[PREPARED] = "with the capabilities set",
	[ACTIVE] = "while QEMU migrates, its stream blocked",
	[STOPPED] = "at pre-switchover",
	[COMPLETED] = "after completed, not handed over",
	[HALF_COMMAND] = "in the middle of a command, at pre-switchover",
	[HALF_REPLY] = "in the middle of a reply, at pre-switchover",
	[NAMED_FD] = "between getfd and migrate",
};

/* Bring a migration to a moment. @to is NULL for those without a destination. */
static void go_to(enum moment moment, struct vmm *from, struct vmm *to,
		  const struct machine *src, const struct machine *dst,
		  int pair[2])
{
	static const char half[] = "{\"execute\": \"migrate-cont";
	static const char whole[] = "{\"execute\": \"query-qmp-schema\"}";
	char some[3000];
	int fd = ops->connection(from);

	if (moment == IDLE)
		return;
	OK(ops->prepare_source(from, &err));
	if (moment == PREPARED)
		return;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	if (moment == ACTIVE) {
		int size = 4096;

		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	if (moment == NAMED_FD)
		return;
	OK(ops->start(from, pair[0], &err));
	close(pair[0]);
	if (moment == ACTIVE) {
		sleep_ms(50);
		return;
	}
	OK(ops->prepare_destination(to, &err));
	OK(ops->incoming(to, pair[1], &err));
	close(pair[1]);
	CHECK(phase_wait(from, VMM_PRE_SWITCHOVER, 5000));
	if (moment == COMPLETED) {
		copy_ram(src, dst);
		OK(ops->go_on(from, &err));
		CHECK(phase_wait(from, VMM_COMPLETED, 5000));
	}
	if (moment == HALF_COMMAND)
		CHECK(write(fd, half, strlen(half)) == (ssize_t)strlen(half));
	if (moment == HALF_REPLY) {
		CHECK(write(fd, whole, strlen(whole)) ==
		      (ssize_t)strlen(whole));
		CHECK(read(fd, some, sizeof(some)) > 0);
	}
}

static void test_cancel(enum moment moment)
{
	struct vmm_status status = {};
	struct machine src, dst;
	struct vmm *from, *to;
	char *before, *after, name[128];
	json_t *saved = NULL;
	int64_t start;
	int pair[2] = { -1, -1 };

	source_start(&src);
	destination_start(&dst);
	before = settings(&src);
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->save(from, &saved, &err));
	go_to(moment, from, to, &src, &dst, pair);
	start = now_us();
	OK(ops->cancel(from, &err));
	OK(ops->restore(from, saved, &err));
	CHECK(counts_within(&src, 1000) >= 0);
	printf("# cancel %s to running and restored: %lld us\n", moments[moment],
	       (long long)(now_us() - start));
	OK(ops->status(from, &status, &err));
	CHECK(status.running);
	after = settings(&src);
	CHECK(!strcmp(before, after));
	/* And once more, all the way to the stop: nothing is left over. */
	OK(ops->cancel(from, &err));
	free(before);
	free(after);
	json_decref(saved);
	from->ops->close(from);
	to->ops->close(to);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "cancel %s", moments[moment]);
	report(name);
}

/* A guest that was paused stays so. */
static void test_cancel_paused(bool late)
{
	struct vmm_status status = {};
	struct machine src, dst;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2];

	source_start(&src);
	destination_start(&dst);
	from = connect_to(&src);
	to = connect_to(&dst);
	if (!late)
		OK(qmp_execute(src.eyes, "stop", NULL, NULL, &err));
	OK(ops->save(from, &saved, &err));
	if (late)
		OK(qmp_execute(src.eyes, "stop", NULL, NULL, &err));
	go_to(COMPLETED, from, to, &src, &dst, pair);
	OK(ops->cancel(from, &err));
	OK(ops->status(from, &status, &err));
	CHECK(!status.running);
	from->ops->close(from);
	to->ops->close(to);
	json_decref(saved);
	machine_end(&src);
	machine_end(&dst);
	report(late ? "cancel: paused since it was saved stays paused" :
		      "cancel: a paused guest stays paused");
}

/* What migctl does, up to a moment; then it waits to be killed. */
static void victim(enum moment moment, const struct machine *src,
		   const struct machine *dst, bool handed_over, int ready)
{
	struct guard *guard = NULL;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2] = { -1, -1 };

	from = connect_to(src);
	to = connect_to(dst);
	OK(ops->save(from, &saved, &err));
	OK(guard_start(&guard, from, ops, saved, &err));
	CHECK(guard_alive(guard));
	go_to(moment, from, to, src, dst, pair);
	if (handed_over)
		guard_handed_over(guard);
	CHECK(write(ready, failed ? "x" : ".", 1) == 1);
	fflush(stdout);
	pause();
}

static char victim_start(pid_t *pid, enum moment moment,
			 const struct machine *src, const struct machine *dst,
			 bool handed_over)
{
	char word = 'x';
	int ready[2];

	CHECK(!pipe(ready));
	fflush(stdout);
	*pid = fork();
	if (!*pid) {
		close(ready[0]);
		victim(moment, src, dst, handed_over, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &word, 1) != 1)
		word = 'x';
	close(ready[0]);
	return word;
}

static void settings_wait(const struct machine *m, const char *before, int ms)
{
	int64_t start = now_us();
	bool same = false;
	char *now;

	while (!same && now_us() - start < (int64_t)ms * 1000) {
		now = settings(m);
		same = !strcmp(before, now);
		free(now);
		usleep(1000);
	}
	CHECK(same);
}

static void test_guard(enum moment moment)
{
	struct machine src, dst;
	char *before, name[128];
	int64_t start, counts;
	pid_t pid;

	source_start(&src);
	destination_start(&dst);
	before = settings(&src);
	CHECK(victim_start(&pid, moment, &src, &dst, false) == '.');
	start = now_us();
	kill(pid, SIGKILL);
	counts = counts_within(&src, 1000);
	CHECK(counts >= 0);
	settings_wait(&src, before, 3000);
	printf("# SIGKILL %s: counts after %lld us, settings after %lld us\n",
	       moments[moment], (long long)counts,
	       (long long)(now_us() - start));
	waitpid(pid, NULL, 0);
	/* The guard lets go of the connection. */
	sleep_ms(50);
	CHECK(socket_there(src.qmp));
	free(before);
	machine_end(&src);
	machine_end(&dst);
	snprintf(name, sizeof(name), "SIGKILL %s", moments[moment]);
	report(name);
}

static void test_guard_handed_over(void)
{
	struct machine src, dst;
	pid_t pid;

	source_start(&src);
	destination_start(&dst);
	CHECK(victim_start(&pid, COMPLETED, &src, &dst, true) == '.');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(counts_within(&src, 1500) < 0);
	machine_end(&src);
	machine_end(&dst);
	report("SIGKILL after the guest was handed over: never resumed");
}

/* The whole way with a kill at a random instant of it. */
static void traveller(const struct machine *src, const struct machine *dst)
{
	struct guard *guard = NULL;
	json_t *saved = NULL;
	struct vmm *from, *to;
	int pair[2];

	from = connect_to(src);
	to = connect_to(dst);
	OK(ops->save(from, &saved, &err));
	OK(guard_start(&guard, from, ops, saved, &err));
	go_to(COMPLETED, from, to, src, dst, pair);
	pause();
}

static void test_guard_random(int runs)
{
	int64_t worst = 0, counts;
	struct machine src, dst;
	int i, delay;
	char *before;
	pid_t pid;

	source_start(&src);
	before = settings(&src);
	srandom(1);
	for (i = 0; i < runs && !failed; i++) {
		destination_start(&dst);
		fflush(stdout);
		pid = fork();
		if (!pid)
			traveller(&src, &dst);
		delay = (int)(random() % 150000);
		usleep((useconds_t)delay);
		kill(pid, SIGKILL);
		counts = counts_within(&src, 1000);
		if (counts < 0)
			printf("# after %d us it does not run again\n", delay);
		CHECK(counts >= 0);
		settings_wait(&src, before, 3000);
		waitpid(pid, NULL, 0);
		if (counts > worst)
			worst = counts;
		machine_end(&dst);
		sleep_ms(50);
	}
	printf("# %d random instants: at worst %lld us to counting\n", i,
	       (long long)worst);
	free(before);
	machine_end(&src);
	report("SIGKILL at random instants");
}

static void source_refused(const char *what, const char *memory,
			   const char *text, const char *option,
			   const char *value, const char *option2,
			   const char *value2)
{
	struct machine m;
	struct vmm *vmm;

	machine_start(&m, "src", "q35", memory, option, value, option2, value2,
		      NULL);
	vmm = m.pid ? connect_to(&m) : NULL;
	if (vmm) {
		REFUSED(ops->check_source(vmm, &err), text);
		vmm->ops->close(vmm);
	}
	machine_end(&m);
	report(what);
}

static void destination_refused(const char *what, const char *text,
				const char *option, const char *value,
				const char *stop)
{
	struct machine m;
	struct vmm *vmm;

	machine_start(&m, "dst", "q35", NULL, option, value, stop, NULL);
	vmm = m.pid ? connect_to(&m) : NULL;
	if (vmm) {
		REFUSED(ops->check_destination(vmm, &err), text);
		vmm->ops->close(vmm);
	}
	machine_end(&m);
	report(what);
}

static void test_refusals(void)
{
	char block[256];

	source_refused("memfd is refused", "memory-backend-memfd,share=on",
		       "memory-backend-memfd", NULL, NULL, NULL, NULL);
	source_refused("anonymous memory is refused", "memory-backend-ram",
		       "anonymous", NULL, NULL, NULL, NULL);
	snprintf(block, sizeof(block),
		 "memory-backend-file,share=off,mem-path=%s/src.ram", folder);
	source_refused("private memory is refused", block, "private", NULL,
		       NULL, NULL, NULL);
	source_refused("a balloon with free-page-hint is refused", NULL,
		       "free-page-hint", "-object", "iothread,id=io", "-device",
		       "virtio-balloon-pci,free-page-hint=on,iothread=io");
	snprintf(block, sizeof(block), "driver=vvfat,node-name=v,rw=on,dir=%s",
		 folder);
	source_refused("blocked migration is refused", NULL, "vvfat",
		       "-blockdev", block, NULL, NULL);
	source_refused("a destination is no source", NULL, "inmigrate", "-S",
		       "-incoming", "defer", NULL);
	destination_refused("a destination without -S is refused", "without -S",
			    "-incoming", "defer", NULL);
	destination_refused("a guest of its own is refused",
			    "does not wait for a guest", "-S", NULL, NULL);
	snprintf(block, sizeof(block), "unix:%s/in", folder);
	destination_refused("a migration from elsewhere is refused",
			    "from elsewhere", "-incoming", block, "-S");
}

static void differs(const char *what, const char *machine, const char *text,
		    const char *option, const char *value)
{
	json_t *here = NULL, *there = NULL;
	struct machine src, dst;
	struct vmm *from, *to;

	machine_start(&src, "src", "q35", NULL, NULL);
	machine_start(&dst, "dst", machine, NULL, "-incoming", "defer", "-S",
		      option, value, NULL);
	from = connect_to(&src);
	to = connect_to(&dst);
	OK(ops->describe(from, &here, &err));
	OK(ops->describe(to, &there, &err));
	if (here && there)
		REFUSED(vmm_compare(here, there, &err), text);
	from->ops->close(from);
	to->ops->close(to);
	json_decref(here);
	json_decref(there);
	machine_end(&src);
	machine_end(&dst);
	report(what);
}

static void test_differences(void)
{
	differs("another machine is told", "pc", "machine", NULL, NULL);
	differs("another CPU is told", "q35", "CPU model", "-cpu", "Nehalem");
	differs("other CPU features are told", "q35", "other features", "-cpu",
		"qemu64,-sse3");
	differs("another number of CPUs is told", "q35", "2 CPUs", "-smp", "2");
	differs("room for more CPUs is told", "q35", "4 CPUs at most", "-smp",
		"1,maxcpus=4");
	differs("another UUID is told", "q35", "UUID", "-uuid",
		"12345678-1234-1234-1234-123456789abc");
	differs("another memory block is told", "q35", "memory block",
		"-device", "VGA");
}

static void folder_remove(void)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(folder);
}

int main(int argc, char **argv)
{
	enum moment moment;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(folder))
		abort();
	/* For what QEMU wants to write itself. */
	setenv("TMPDIR", folder, 1);
	firmware_write();
	printf("TAP version 13\n");
	test_round_trip();
	test_destination_waits();
	test_destination_fails();
	for (moment = PREPARED; moment <= COMPLETED; moment++)
		test_cancel(moment);
	test_cancel_paused(false);
	test_cancel_paused(true);
	for (moment = IDLE; moment < N_MOMENTS; moment++)
		test_guard(moment);
	test_guard_handed_over();
	test_guard_random(argc > 1 ? atoi(argv[1]) : 20);
	test_refusals();
	test_differences();
	printf("1..%d\n", tests);
	folder_remove();
	return !!failures;
}
