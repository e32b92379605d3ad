// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migctl restore and receive, and a QEMU that is not theirs alone. MIGCTL names migctl, O
 * is where qemu_save is.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "drive.h"
#include "stream/wire.h"
#include "tests.h"

#define MAX_ARGS	16

static char *path_of(char path[128], const char *name)
{
	snprintf(path, 128, "%s/%s", folder, name);
	return path;
}

/* Arguments follow, up to a NULL; what it says goes to the file @log. */
static pid_t program_start(const char *program, const char *log, ...)
{
	const char *argv[MAX_ARGS] = { program };
	char path[128];
	va_list more;
	int n = 1, fd;
	pid_t pid;

	va_start(more, log);
	do {
		argv[n] = va_arg(more, const char *);
	} while (argv[n++]);
	va_end(more);
	fd = open(path_of(path, log), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execvp(program, (char **)argv);
		_exit(127);
	}
	close(fd);
	return pid;
}

/* Its exit code; -1 if it does not end by itself, and was ended. */
static int program_end(pid_t pid)
{
	int64_t end = now_us() + PATIENCE_MS * 1000;
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (now_us() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
		sleep_ms(10);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whether it is in what was said, which is shown if not. */
static bool said(const char *log, const char *text, bool show)
{
	char path[128], all[4096];
	ssize_t n;
	int fd;

	fd = open(path_of(path, log), O_RDONLY | O_CLOEXEC);
	n = read(fd, all, sizeof(all) - 1);
	close(fd);
	all[n > 0 ? n : 0] = '\0';
	if (strstr(all, text))
		return true;
	if (show)
		printf("# no '%s' in: %s\n", text, all);
	return false;
}

static const char *migctl(void)
{
	return getenv("MIGCTL") ? getenv("MIGCTL") : "migctl";
}

/* At an address of its own. */
static pid_t receive_start(const char *log, const char *qmp)
{
	char door[160];

	snprintf(door, sizeof(door), "unix:%s/%s.door", folder, log);
	return program_start(migctl(), log, "receive", "--listen", door, "--qmp", qmp, NULL);
}

static pid_t restore_start(const char *log, const char *qmp)
{
	char snapshot[128];

	return program_start(migctl(), log, "restore", path_of(snapshot, "snap"), "--qmp", qmp,
			     NULL);
}

/* It waits for a source. */
static bool receives(const char *log)
{
	int tries;

	for (tries = 0; tries < PATIENCE_MS / 20; tries++) {
		if (said(log, "waits for a guest", false))
			return true;
		sleep_ms(20);
	}
	return said(log, "waits for a guest", true);
}

static void refused(pid_t pid, const char *log, const char *text)
{
	CHECK(program_end(pid) == EXIT_VMM);
	CHECK(said(log, text, true));
}

static bool in_state(const struct machine *m, const char *state)
{
	json_t *status = NULL;
	bool is;

	OK(qmp_execute(m->eyes, "query-status", NULL, &status, &err));
	is = status && !strcmp(json_string_value(json_object_get(status, "status")), state);
	json_decref(status);
	return is;
}

static bool comes_to(const struct machine *m, const char *state)
{
	int tries;

	for (tries = 0; tries < PATIENCE_MS / 20 && !in_state(m, state); tries++)
		sleep_ms(20);
	return in_state(m, state);
}

/* Of a guest that runs, and goes on to run. */
static void snapshot_take(const struct machine *src)
{
	char program[256], snapshot[128];

	snprintf(program, sizeof(program), "%s/qemu_save", getenv("O") ? getenv("O") : ".");
	CHECK(!program_end(program_start(program, "save", src->qmp,
					 path_of(snapshot, "snap"), NULL)));
	CHECK(said("save", "", true));
	OK(qmp_execute(src->eyes, "cont", NULL, NULL, &err));
	CHECK(counts_within(src, PATIENCE_MS) >= 0);
}

/* A command line that was copied: its memory is that of a guest which runs. */
static void test_shared_file(void)
{
	struct machine src, dst;
	char file[256], text[64];
	uint32_t count;

	machine_start(&src, "src", "q35", NULL, NULL);
	CHECK(counts_within(&src, PATIENCE_MS) >= 0);
	snapshot_take(&src);
	snprintf(file, sizeof(file), "memory-backend-file,share=on,mem-path=%s/src.ram", folder);
	machine_start(&dst, "dst", "q35", file, "-incoming", "defer", "-S", NULL);
	snprintf(text, sizeof(text), "is that of process %d (qemu-system", src.pid);
	count = *src.counter;
	refused(restore_start("restore", dst.qmp), "restore", text);
	refused(receive_start("receive", dst.qmp), "receive", text);
	CHECK(counts_within(&src, PATIENCE_MS) >= 0 && *src.counter - count < 1u << 31);
	CHECK(in_state(&dst, "inmigrate"));
	machine_end(&src);
	/* Nobody else has it now. */
	CHECK(!program_end(restore_start("restore", dst.qmp)));
	CHECK(said("restore", "completed", true));
	CHECK(in_state(&dst, "running"));
	machine_end(&dst);
	report("the memory of a guest that runs is neither restored nor received into");
}

/* A second socket, as libvirt has one. */
static void destination_of_two(struct machine *m, char second[128])
{
	char option[160];

	unlink(path_of(second, "second.qmp"));
	snprintf(option, sizeof(option), "unix:%s,server=on,wait=off", second);
	machine_start(m, "dst", "q35", NULL, "-incoming", "defer", "-S", "-qmp", option, NULL);
}

static void test_one_at_a_time(void)
{
	char second[128], lock[64], text[64];
	struct machine dst;
	pid_t first;

	destination_of_two(&dst, second);
	first = receive_start("first", dst.qmp);
	CHECK(receives("first"));
	snprintf(text, sizeof(text), "another migctl (process %d)", first);
	refused(receive_start("second", second), "second", text);
	CHECK(said("second", "start another VMM", true));
	refused(restore_start("restore", second), "restore", text);
	CHECK(in_state(&dst, "inmigrate"));
	kill(first, SIGINT);
	CHECK(program_end(first) == EXIT_CANCELLED);
	snprintf(lock, sizeof(lock), "/run/migtrack/vmm-%d.lock", dst.pid);
	CHECK(access(lock, F_OK));
	first = receive_start("second", second);
	CHECK(receives("second"));
	/* What is killed holds nothing. */
	kill(first, SIGKILL);
	program_end(first);
	first = receive_start("first", dst.qmp);
	CHECK(receives("first"));
	kill(first, SIGINT);
	CHECK(program_end(first) == EXIT_CANCELLED);
	machine_end(&dst);
	report("a QEMU takes a guest from one migctl at a time");
}

/* What migctl migrate would say to have that guest taken. */
static char *hello_make(const struct machine *src)
{
	struct vmm *from = connect_to(src);
	json_t *vm = NULL, *hello;
	char *text;

	OK(ops->describe(from, &vm, &err));
	from->ops->close(from);
	hello = json_pack("{s:i, s:s, s:i, s:s, s:o, s:[{s:s, s:I}]}", "version", WIRE_VERSION,
			  "id", "00112233445566778899aabbccddeeff", "channels", 1,
			  "compress", "none", "vm", vm, "blocks", "id", "ram0",
			  "size", (json_int_t)(32 << 20));
	text = json_dumps(hello, JSON_COMPACT);
	json_decref(hello);
	return text;
}

static int door_open(const char *log)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s.door", folder, log);
	CHECK(!connect(fd, (struct sockaddr *)&address, sizeof(address)));
	return fd;
}

/* Come as a source to that receiver; what is answered, and its text. */
static uint32_t source_comes(const char *log, const char *hello, char *text, size_t size)
{
	struct wire_frame frame = { .type = WIRE_HELLO, .length = (uint32_t)strlen(hello) };
	uint8_t header[WIRE_HEADER_SIZE];
	int fd = door_open(log);
	ssize_t n;

	frame.checksum = wire_checksum(&frame, hello);
	wire_encode(header, &frame);
	CHECK(write(fd, header, sizeof(header)) == sizeof(header));
	CHECK(write(fd, hello, frame.length) == (ssize_t)frame.length);
	CHECK(recv(fd, header, sizeof(header), MSG_WAITALL) == sizeof(header) &&
	      !wire_decode(header, &frame));
	n = recv(fd, text, size - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return frame.type;
}

/* By its own migration, without migctl. */
static void qemu_moves(const struct machine *src, const struct machine *dst)
{
	char uri[160];

	snprintf(uri, sizeof(uri), "unix:%s/in", folder);
	OK(qmp_execute(dst->eyes, "migrate-incoming", json_pack("{s:s}", "uri", uri), NULL,
		       &err));
	OK(qmp_execute(src->eyes, "migrate", json_pack("{s:s}", "uri", uri), NULL, &err));
	CHECK(comes_to(dst, "paused"));
	OK(qmp_execute(dst->eyes, "cont", NULL, NULL, &err));
	CHECK(counts_within(dst, PATIENCE_MS) >= 0);
}

static void test_guest_meanwhile(void)
{
	struct machine src, dst;
	char text[1024], *hello;
	pid_t receiver;

	machine_start(&src, "src", "q35", NULL, NULL);
	CHECK(counts_within(&src, PATIENCE_MS) >= 0);
	destination_start(&dst);
	hello = hello_make(&src);
	receiver = receive_start("receive", dst.qmp);
	CHECK(receives("receive"));
	qemu_moves(&src, &dst);
	CHECK(source_comes("receive", hello, text, sizeof(text)) == WIRE_REFUSE);
	CHECK(strstr(text, "does not wait for a guest"));
	refused(receiver, "receive", "does not wait for a guest");
	CHECK(counts_within(&dst, PATIENCE_MS) >= 0 && in_state(&dst, "running"));
	free(hello);
	machine_end(&src);
	machine_end(&dst);
	report("a QEMU that has got a guest meanwhile takes none from a source, and keeps its own");
}

void test_commands(void)
{
	test_shared_file();
	test_one_at_a_time();
	test_guest_meanwhile();
}
