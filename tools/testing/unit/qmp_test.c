// SPDX-License-Identifier: GPL-2.0-or-later
/* The QMP client and QEMU's driver against a server that plays a script. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "qmp_server.h"
#include "unit.h"
#include "vmm/qmp.h"
#include "vmm/vmm.h"

/* Connects to a server that plays @script; how that failed. */
static void open_fails(const char * const *script, enum exit_code code,
		       const char *message)
{
	struct server server;
	struct error err = {};
	struct qmp *qmp;

	server_start(&server, script);
	CHECK_EQ(qmp_open(&qmp, server.path, &err), -1);
	CHECK(!qmp);
	CHECK_EQ(err.code, code);
	CHECK_HAS(err.message, message);
	CHECK_HAS(err.message, server.path);
	CHECK(err.advice[0]);
	server_stop(&server);
}

TEST(qmp_that_is_no_socket)
{
	char path[] = "/tmp/migtrack-unit-file-XXXXXX", name[200];
	struct server server;
	struct error err;
	struct qmp *qmp;

	close(mkstemp(path));
	CHECK_EQ(qmp_open(&qmp, path, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "is not a socket");
	unlink(path);
	CHECK_EQ(qmp_open(&qmp, path, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "No such file");
	CHECK_EQ(qmp_open(&qmp, "/tmp", &err), -1);
	CHECK_HAS(err.message, "is not a socket");
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	CHECK_EQ(qmp_open(&qmp, name, &err), -1);
	CHECK_EQ(err.code, EXIT_USAGE);
	/* A socket whose owner has gone. */
	server_start(&server, NULL);
	close(server.fd);
	CHECK_EQ(qmp_open(&qmp, server.path, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "nobody listens");
	unlink(server.path);
}

TEST(qmp_that_hangs)
{
	time_t start = time(NULL);

	open_fails(SCRIPT(""), EXIT_VMM, "no QMP greeting within 3 s");
	CHECK(time(NULL) - start <= 5);
}

/* A message that goes on, line by line, and each line is looked at. */
TEST(qmp_that_floods)
{
	const size_t lines = 1 << 18;
	char *flood = malloc(lines + 2);
	time_t start = time(NULL);

	flood[0] = '{';
	memset(flood + 1, '\n', lines);
	flood[lines + 1] = '\0';
	open_fails(SCRIPT(flood), EXIT_VMM, "no QMP greeting within 3 s");
	CHECK(time(NULL) - start <= 10);
	free(flood);
}

TEST(qmp_that_another_client_holds)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct server server;
	struct error err;
	struct qmp *qmp;
	int fds[4], i;

	/* Nobody accepts, and the backlog is full. */
	server_start(&server, NULL);
	strcpy(address.sun_path, server.path);
	for (i = 0; i < 4; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fds[i], (void *)&address, sizeof(address));
	}
	CHECK_EQ(qmp_open(&qmp, server.path, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "no QMP greeting within 3 s");
	CHECK_HAS(err.advice, "one client at a time");
	for (i = 0; i < 4; i++)
		close(fds[i]);
	server_stop(&server);
}

TEST(qmp_that_talks_garbage)
{
	char *endless = malloc(9 << 20);

	open_fails(SCRIPT("SSH-2.0-OpenSSH\r\n"), EXIT_VMM, "is not QMP");
	open_fails(SCRIPT("\n"), EXIT_VMM, "closed the connection");
	open_fails(SCRIPT("}\n"), EXIT_VMM, "is not QMP");
	open_fails(SCRIPT("\xff\xfe\n"), EXIT_VMM, "is not QMP");
	open_fails(SCRIPT("[1, 2]\n"), EXIT_VMM, "is not QMP");
	open_fails(SCRIPT("{\"hello\": 1}\n"), EXIT_VMM, "greeting");
	open_fails(SCRIPT("{\"QMP\": {\"version\": 3}}\n"), EXIT_VMM,
		   "greeting");
	open_fails(SCRIPT(GREETING, "nonsense\n"), EXIT_VMM, "is not QMP");
	open_fails(SCRIPT(GREETING, "{\"x\": 1}\n"), EXIT_VMM,
		   "not a QMP reply");
	memset(endless, '{', 9 << 20);
	endless[(9 << 20) - 1] = '\0';
	open_fails(SCRIPT(endless), EXIT_VMM, "without end");
	free(endless);
}

TEST(qmp_that_closes)
{
	open_fails(SCRIPT("{\"QMP\": {\"vers"), EXIT_VMM,
		   "in the middle of a message");
	open_fails(SCRIPT(GREETING), EXIT_VMM, "closed the connection");
	open_fails(SCRIPT(GREETING, "{\"ret"), EXIT_VMM,
		   "in the middle of a message");
}

TEST(qmp_that_refuses)
{
	struct server server;
	struct error err;
	struct qmp *qmp;

	server_start(&server, SCRIPT(GREETING, OK,
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}}\n"));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), 0);
	CHECK_STR(qmp_version(qmp), "11.1.3");
	CHECK_EQ(qmp_peer(qmp), getpid());
	CHECK_EQ(qmp_execute(qmp, "stop", NULL, NULL, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "refused stop: no such thing");
	CHECK_EQ(qmp_execute(qmp, "stop", NULL, NULL, &err), -1);
	CHECK_HAS(err.message, "closed the connection");
	CHECK_HAS(server.requests, "{\"execute\":\"qmp_capabilities\",");
	qmp_close(qmp);
	server_stop(&server);
}

static void count_event(const char *name, json_t *event, void *data)
{
	CHECK_STR(name, "STOP");
	CHECK(json_is_object(event));
	++*(int *)data;
}

TEST(qmp_in_many_lines)
{
	struct server server;
	struct error err;
	struct qmp *qmp;

	server_start(&server, SCRIPT("{\r\n  \"QMP\": {\r\n\"version\": {\"qemu\": {\"micro\": 0,\n \"minor\": 0, \"major\": 9}}}\r\n}\r\n",
		"{\n  \"return\": {\n  }\n}\n"));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), 0);
	CHECK_STR(qmp_version(qmp), "9.0.0");
	qmp_close(qmp);
	server_stop(&server);
}

TEST(qmp_text_is_not_obeyed_by_the_terminal)
{
	struct server server;
	struct error err;
	struct qmp *qmp;

	server_start(&server, SCRIPT(GREETING,
		"{\"error\": {\"desc\": \"a\\u001b[2Jb\"}}\n"));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), -1);
	CHECK_HAS(err.message, "a [2Jb");
	server_stop(&server);
}

TEST(qmp_events_are_handed_out)
{
	struct server server;
	struct error err;
	struct qmp *qmp;
	json_t *result;
	int events = 0;

	server_start(&server, SCRIPT(GREETING,
		"{\"event\": \"STOP\"}\r\n" OK,
		"{\"event\": \"STOP\"}\r\n{\"event\": \"STOP\"}\n{\"return\": 5}\n"));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), 0);
	qmp_on_event(qmp, count_event, &events);
	CHECK_EQ(qmp_execute(qmp, "x", json_pack("{s:i}", "a", 1), &result,
			     &err), 0);
	CHECK_EQ(json_integer_value(result), 5);
	json_decref(result);
	CHECK_EQ(events, 2);
	CHECK_HAS(server.requests,
		  "{\"execute\":\"x\",\"arguments\":{\"a\":1},");
	qmp_close(qmp);
	server_stop(&server);
}

#define PROPERTY(name)	"{\"name\": \"" name "\", \"type\": \"x\"}"
#define PROPERTIES	RETURN("[" PROPERTY("size") "," PROPERTY("share") "]")

/* A memfd back end that this process maps, a private one, and a hung one. */
TEST(qemu_memory_is_found)
{
	struct vmm_memory *memory;
	struct server server;
	struct error err = {};
	struct vmm *vmm;
	void *map;
	size_t n;
	int fd;

	fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
	CHECK_EQ(ftruncate(fd, 3 * 4096), 0);
	map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	server_start(&server, SCRIPT(GREETING, OK,
		RETURN("[{\"name\": \"type\", \"type\": \"string\"},"
		       "{\"name\": \"m0\", \"type\": \"child<memory-backend-memfd>\"},"
		       "{\"name\": \"io\", \"type\": \"child<iothread>\"},"
		       "{\"name\": \"m1\", \"type\": \"child<memory-backend-ram>\"},"
		       "{\"name\": \"m2\", \"type\": \"child<memory-backend-memfd>\"},"
		       "{\"name\": \"m3\", \"type\": \"child<memory-backend-memfd>\"}]"),
		PROPERTIES, RETURN("12288"), RETURN("true"),
		PROPERTIES, RETURN("4096"), RETURN("false"),
		RETURN("[" PROPERTY("size") "," PROPERTY("share") ","
		       PROPERTY("hugetlb") "]"),
		RETURN("2097152"), RETURN("true"), RETURN("true"),
		PROPERTIES, RETURN("20480"), RETURN("true")));
	CHECK_EQ(vmm_qemu.open(&vmm, server.path, 0, &err), 0);
	CHECK_EQ(vmm->pid, getpid());
	CHECK_EQ(vmm->ops->memory(vmm, &memory, &n, &err), 0);
	vmm->ops->close(vmm);
	CHECK_EQ(n, 4);
	CHECK_STR(memory[0].id, "m0");
	CHECK_STR(memory[0].kind, "memory-backend-memfd");
	CHECK_STR(memory[0].reason, "");
	CHECK(memory[0].fd >= 0);
	CHECK_EQ(memory[0].size, 12288);
	CHECK_HAS(memory[0].path, "memfd:memory-backend-memfd");
	CHECK_HAS(memory[1].reason, "anonymous");
	CHECK_HAS(memory[1].advice, "share=on");
	CHECK_HAS(memory[2].reason, "huge pages");
	CHECK_HAS(memory[3].reason, "was not found");
	CHECK_EQ(memory[1].fd + memory[2].fd + memory[3].fd, -3);
	vmm_memory_free(memory, n);
	server_stop(&server);
	munmap(map, 3 * 4096);
	close(fd);
}

TEST(qemu_that_breaks_off)
{
	struct vmm_memory *memory;
	struct server server;
	struct error err;
	struct vmm *vmm;
	size_t n;

	server_start(&server, SCRIPT(GREETING, OK,
		RETURN("[{\"name\": \"m0\", \"type\": \"child<memory-backend-ram>\"}, 7, {}]"),
		PROPERTIES, RETURN("12288")));
	CHECK_EQ(vmm_qemu.open(&vmm, server.path, 0, &err), 0);
	CHECK_EQ(vmm->ops->memory(vmm, &memory, &n, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	vmm->ops->close(vmm);
	server_stop(&server);
}

static void note_event(const char *name, json_t *event, void *data)
{
	(void)event;
	strcat(data, name);
	strcat(data, " ");
}

#define EVENT(name) "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"" name "\"}\r\n"

TEST(qmp_takes_and_skips_events)
{
	char seen[64] = "";
	struct server server;
	struct error err = {};
	struct qmp *qmp;

	/* The last one is not there in full yet. */
	server_start(&server, SCRIPT(GREETING, OK,
		RETURN("{}") EVENT("PASS") EVENT("PASS") EVENT("STOP") EVENT("PASS")
		EVENT("RESUME") "{\"timestamp\"", ""));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), 0);
	qmp_on_event(qmp, note_event, seen);
	qmp_skip_event(qmp, "\"PASS\"");
	CHECK_EQ(qmp_execute(qmp, "stop", NULL, NULL, &err), 0);
	usleep(100000);
	CHECK_EQ(qmp_take_events(qmp, &err), 0);
	CHECK_STR(seen, "STOP RESUME ");
	/* Nothing more: it does not wait. */
	CHECK_EQ(qmp_take_events(qmp, &err), 0);
	CHECK(!qmp_gone(qmp));
	qmp_close(qmp);
	server_stop(&server);
}
