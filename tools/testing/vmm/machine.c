// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "machine.h"

#define RAM_BYTES	(32u << 20)
#define COUNTER_AT	0x7000
#define BIOS_BYTES	(64u << 10)
#define MAX_ARGS	64

char folder[] = "/dev/shm/vmm_qemu.XXXXXX";

int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void sleep_ms(int ms)
{
	poll(NULL, 0, ms);
}

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

bool socket_there(const char *path)
{
	struct error err;
	struct qmp *qmp;

	if (access(path, F_OK) || qmp_open(&qmp, path, &err))
		return false;
	qmp_close(qmp);
	return true;
}

void machine_start(struct machine *m, const char *name,
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
	for (tries = 0; tries < PATIENCE_MS / 20 && !socket_there(m->qmp); tries++) {
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

void machine_end(struct machine *m)
{
	qmp_close(m->eyes);
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
	}
	munmap((char *)m->counter - COUNTER_AT, RAM_BYTES);
}

int64_t counts_within(const struct machine *m, int ms)
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

int which_counts(const struct machine *a, const struct machine *b, int ms)
{
	uint32_t last_a = *a->counter, last_b = *b->counter;
	unsigned int row_a = 0, row_b = 0;
	int64_t begin = now_us();

	/* Once, it may be memory that was still on its way. */
	while (now_us() - begin < (int64_t)ms * 1000) {
		sleep_ms(20);
		row_a = *a->counter != last_a ? row_a + 1 : 0;
		row_b = *b->counter != last_b ? row_b + 1 : 0;
		last_a = *a->counter;
		last_b = *b->counter;
		if (row_a == 3)
			return 0;
		if (row_b == 3)
			return 1;
	}
	return -1;
}

char *settings(const struct machine *m)
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

void copy_ram(const struct machine *from, const struct machine *to)
{
	char path[128];
	int fd;

	fd = open(path_of(path, to->name, ".ram"), O_RDWR);
	CHECK(pwrite(fd, (char *)from->counter - COUNTER_AT, RAM_BYTES, 0) ==
	      RAM_BYTES);
	close(fd);
}

void destination_start(struct machine *m)
{
	machine_start(m, "dst", "q35", NULL, "-incoming", "defer", "-S", NULL);
}

void source_start(struct machine *m)
{
	machine_start(m, "src", "q35", NULL, NULL);
	settings_disturb(m);
	CHECK(counts_within(m, PATIENCE_MS) >= 0);
}

void folder_create(void)
{
	if (!mkdtemp(folder))
		abort();
	/* For what QEMU wants to write itself. */
	setenv("TMPDIR", folder, 1);
	firmware_write();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void folder_remove(void)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
