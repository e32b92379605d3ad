// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's part in a migration, against a server that plays a script. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "qmp_server.h"
#include "unit.h"
#include "vmm/migration.h"
#include "vmm/qmp.h"

static const struct vmm_migration_ops * const ops = &vmm_qemu_migration;

#define MACHINE \
	"{'vmm': 'QEMU', 'version': '11.1.3', 'machine': 'pc-q35-11.1'," \
	" 'uuid': 'u', 'cpu': {'model': 'host-x86_64-cpu', 'present': 2," \
	"  'max': 4, 'topology': {'cores': 4}, 'features': {'1.0.ECX': 7}}," \
	" 'memory': [{'id': 'ram0', 'kind': 'memory-backend-file'," \
	"  'size': 1048576, 'share': true, 'file': true}]," \
	" 'blocks': [{'name': 'pc.bios', 'size': 4096}]}"

/* The machine with the first @from replaced by @to. */
static json_t *machine(const char *from, const char *to)
{
	const char *at = strstr(MACHINE, from);
	json_t *json;
	char *text;
	size_t i;

	CHECK(at);
	if (asprintf(&text, "%.*s%s%s", (int)(at - MACHINE), MACHINE, to,
		     at + strlen(from)) < 0)
		abort();
	for (i = 0; text[i]; i++)
		text[i] = text[i] == '\'' ? '"' : text[i];
	json = json_loads(text, 0, NULL);
	CHECK(json);
	free(text);
	return json;
}

static void differs(const char *from, const char *to, const char *message,
		    const char *advice)
{
	json_t *source = machine("", ""), *destination = machine(from, to);
	struct error err = {};

	CHECK_EQ(vmm_compare(source, destination, &err), -1);
	CHECK_HAS(err.message, message);
	CHECK_HAS(err.advice, advice);
	/* As well the other way round. */
	CHECK_EQ(vmm_compare(destination, source, &err), -1);
	CHECK(err.advice[0]);
	json_decref(source);
	json_decref(destination);
}

TEST(vmm_compare_names_the_difference)
{
	json_t *one = machine("", ""), *other = machine("11.1.3", "10.0.2");
	struct error err;

	/* Another version of QEMU with the same machine is none. */
	CHECK_EQ(vmm_compare(one, other, &err), 0);
	json_decref(one);
	json_decref(other);
	differs("pc-q35-11.1", "pc-q35-11.0",
		"the destination has machine pc-q35-11.0, the source pc-q35-11.1",
		"-machine pc-q35-11.1");
	differs("host-x", "max-x", "CPU model max-x86_64-cpu", "-cpu");
	differs("'present': 2", "'present': 1",
		"the destination has 1 CPUs, the source 2", "-smp");
	differs("'max': 4", "'max': 8", "8 CPUs at most", "-smp");
	differs("'cores': 4", "'cores': 2", "2 cores (CPU topology)", "-smp");
	differs("'1.0.ECX': 7", "'1.0.ECX': 5", "CPUID 1.0.ECX is 0x5", "-cpu");
	differs("'1.0.ECX': 7", "'1.0.ECX': 7, '7.0.EBX': 1", "CPUID 7.0.EBX",
		"-cpu");
	differs("'uuid': 'u'", "'uuid': 'v'", "UUID v, the source u", "-uuid u");
	differs("ram0", "ram1", "the destination has no memory back end ram0",
		"-object");
	differs("1048576", "2097152",
		"ram0 has 2.0 MiB at the destination, 1.0 MiB at the source",
		"-object");
	differs("1048576", "1048577", "1048577 bytes at the destination", "-m");
	differs("'memory-backend-file'", "'memory-backend-memfd'",
		"is a memory-backend-memfd at the destination", "-object");
	differs("'share': true", "'share': false", "private", "-object");
	differs("pc.bios", "vga.vram", "no memory block pc.bios", "devices");
	differs("4096", "8192", "memory block pc.bios has", "firmware");
	differs("}]}", "}, {'name': 'vga.vram', 'size': 1}]}",
		"the source has no memory block vga.vram", "devices");
}

static void blocks_changed(const char *from, const char *to, const char *message)
{
	json_t *then = machine("", ""), *now = machine(from, to);
	struct error err = {};

	CHECK_EQ(vmm_blocks_changed(json_object_get(then, "blocks"),
				    json_object_get(now, "blocks"), &err),
		 message ? -1 : 0);
	if (message)
		CHECK_HAS(err.message, message);
	json_decref(then);
	json_decref(now);
}

TEST(vmm_blocks_changed_names_the_block)
{
	blocks_changed("", "", NULL);
	blocks_changed("'size': 4096}]", "'size': 4096}, {'name': 'dimm0', 'size': 67108864}]",
		       "dimm0 (64.0 MiB) was added");
	blocks_changed("'size': 4096}]", "'size': 8192}]", "pc.bios (8.0 KiB) was resized");
	blocks_changed("{'name': 'pc.bios', 'size': 4096}", "",
		       "pc.bios (4.0 KiB) was removed");
	/* Unplugged, its back end is still there. */
	blocks_changed("'pc.bios'", "''", "pc.bios (4.0 KiB) was removed");
}

TEST(vmm_compare_takes_anything)
{
	static const char * const texts[] = {
		"{}", "[]", "{\"machine\": 3}", "{\"machine\": \"x\"}",
		"{\"machine\": \"x\", \"cpu\": [], \"memory\": {}}",
		"{\"machine\": \"x\", \"cpu\": {\"model\": \"m\"}, \"memory\": [3, {}], \"blocks\": [null]}",
	};
	json_t *source = machine("", ""), *other;
	struct error err;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		other = json_loads(texts[i], 0, NULL);
		CHECK_EQ(vmm_compare(source, other, &err), -1);
		CHECK_EQ(vmm_compare(other, source, &err), -1);
		CHECK(err.advice[0]);
		json_decref(other);
	}
	CHECK_EQ(vmm_compare(source, NULL, &err), -1);
	CHECK_EQ(vmm_compare(NULL, source, &err), -1);
	json_decref(source);
}

TEST(qemu_status_is_understood)
{
	static const struct {
		const char *name;
		enum vmm_phase phase;
	} cases[] = {
		{ "{}", VMM_NONE },
		{ "{\"status\": \"setup\"}", VMM_SETUP },
		{ "{\"status\": \"active\"}", VMM_ACTIVE },
		{ "{\"status\": \"pre-switchover\"}", VMM_PRE_SWITCHOVER },
		{ "{\"status\": \"device\"}", VMM_DEVICE },
		{ "{\"status\": \"completed\"}", VMM_COMPLETED },
		{ "{\"status\": \"failing\"}", VMM_CANCELLING },
		{ "{\"status\": \"failed\", \"error-desc\": \"why\"}", VMM_FAILED },
		{ "{\"status\": \"cancelled\"}", VMM_CANCELLED },
		{ "{\"status\": \"of tomorrow\"}", VMM_ACTIVE },
	};
	struct vmm_status status;
	struct server server;
	struct error err;
	struct vmm *vmm;
	char reply[128];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(reply, sizeof(reply), RETURN("%s"), cases[i].name);
		vmm = connect_to(&server, SCRIPT(GREETING, OK, reply,
			RETURN("{\"status\": \"running\", \"running\": true}")));
		CHECK_EQ(ops->status(vmm, &status, &err), 0);
		CHECK_EQ(status.phase, cases[i].phase);
		CHECK(status.running);
		CHECK_STR(status.state, "running");
		CHECK_STR(status.reason, status.phase == VMM_FAILED ? "why" : "");
		disconnect(vmm, &server);
	}
}

TEST(qemu_odd_replies_are_refused)
{
	struct vmm_status status;
	struct server server;
	json_t *json = NULL;
	struct error err;
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("[]")));
	CHECK_EQ(ops->status(vmm, &status, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK_HAS(err.message, "query-migrate is not understood");
	CHECK(err.advice[0]);
	disconnect(vmm, &server);
	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("7")));
	CHECK_EQ(ops->describe(vmm, &json, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	CHECK(!json);
	disconnect(vmm, &server);
	/* A QEMU without what we need. */
	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("{}"),
		RETURN("{}"), RETURN("[]")));
	CHECK_EQ(ops->save(vmm, &json, &err), -1);
	CHECK_HAS(err.message, "no migration setting x-ignore-shared");
	CHECK(err.advice[0]);
	disconnect(vmm, &server);
}

#define RUNNING	RETURN("{\"status\": \"running\", \"running\": true}")
#define CAPS	RETURN("[{\"capability\": \"x-ignore-shared\", \"state\": false},"	\
		"{\"capability\": \"pause-before-switchover\", \"state\": false},"	\
		"{\"capability\": \"return-path\", \"state\": true}]")
#define PARAMS	RETURN("{\"downtime-limit\": 300, \"max-bandwidth\": 9, \"x\": 1}")

/* Only what differs is set, and only what this QEMU knows. */
TEST(qemu_settings)
{
	struct server server;
	json_t *saved = NULL;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK,
		RETURN("{}"), RUNNING, CAPS, PARAMS,
		CAPS, OK, PARAMS, OK, PARAMS, CAPS));
	CHECK_EQ(ops->save(vmm, &saved, &err), 0);
	CHECK_EQ(ops->prepare_source(vmm, &err), 0);
	CHECK_HAS(server.requests,
		  "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":["
		  "{\"capability\":\"x-ignore-shared\",\"state\":true},"
		  "{\"capability\":\"pause-before-switchover\",\"state\":true}]}");
	CHECK_HAS(server.requests,
		  "\"arguments\":{\"downtime-limit\":2000000,\"max-bandwidth\":0}");
	CHECK(!strstr(server.requests, "multifd"));
	server.requests[0] = '\0';
	/* It says that they are as they were: nothing is set. */
	CHECK_EQ(ops->restore(vmm, saved, &err), 0);
	CHECK(!strstr(server.requests, "migrate-set"));
	json_decref(saved);
	disconnect(vmm, &server);
}

/* A migration that QEMU refuses: the socket is closed, nothing to cancel. */
TEST(qemu_start_that_is_refused)
{
	struct server server;
	json_t *saved = NULL;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK,
		RETURN("{}"), RUNNING, CAPS, PARAMS,
		RETURN("{}"), RUNNING, OK, FAIL("no"), OK, RETURN("{}"),
		RUNNING));
	CHECK_EQ(ops->start(vmm, 0, &err), -1);
	CHECK_EQ(ops->save(vmm, &saved, &err), 0);
	CHECK_EQ(ops->start(vmm, 0, &err), -1);
	CHECK_HAS(err.message, "refused migrate: no");
	CHECK_HAS(server.requests, "\"closefd\"");
	CHECK_EQ(ops->cancel(vmm, &err), 0);
	CHECK(!strstr(server.requests, "migrate_cancel"));
	json_decref(saved);
	disconnect(vmm, &server);
}

/* A QEMU before 9.1. */
TEST(qemu_incoming_of_an_old_one)
{
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK, OK,
		FAIL("Parameter 'exit-on-error' is unexpected"), OK));
	CHECK_EQ(ops->incoming(vmm, 0, &err), 0);
	disconnect(vmm, &server);
}

TEST(qemu_quit_without_an_answer)
{
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK));
	CHECK_EQ(ops->quit(vmm, &err), 0);
	disconnect(vmm, &server);
}

TEST(qmp_late_replies_are_skipped)
{
	struct server server;
	json_t *result = NULL;
	struct error err = {};
	struct qmp *qmp;

	server_start(&server, SCRIPT(GREETING, OK,
		"{\"return\": 1, \"id\": \"0.1\"}\n{\"return\": 2, \"id\": 7}\n"
		"{\"return\": 3, \"id\": \"" ID "\"}\n"));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), 0);
	CHECK_EQ(qmp_execute(qmp, "x", NULL, &result, &err), 0);
	CHECK_EQ(json_integer_value(result), 3);
	json_decref(result);
	qmp_close(qmp);
	server_stop(&server);
}

/* Half a reply, one that nobody read, QEMU's word on the 0xff, ours. */
TEST(qmp_taken_over)
{
	static const char half[] = "{\"execute\": \"migr";
	struct server server;
	struct error err = {};
	struct qmp *qmp;

	server_start(&server, SCRIPT(GREETING, OK,
		"status\": \"x\"}], \"id\": \"1.7\"}\n    },\n  {\n] }\n"
		"{\"return\": {}, \"id\": \"1.8\"}\n"
		FAIL("JSON parse error")
		"{\"event\": \"STOP\"}\n"
		"{\n  \"return\": {\n  },\n  \"id\": \"" ID "\"\n}\n", OK));
	CHECK_EQ(qmp_open(&qmp, server.path, &err), 0);
	CHECK_EQ(send(qmp_fd(qmp), half, strlen(half), 0), strlen(half));
	CHECK_EQ(qmp_take_over(qmp, "query-version", &err), 0);
	CHECK_EQ(qmp_execute(qmp, "x", NULL, NULL, &err), 0);
	CHECK(!qmp_gone(qmp));
	CHECK_EQ(qmp_execute(qmp, "x", NULL, NULL, &err), -1);
	CHECK(qmp_gone(qmp));
	qmp_close(qmp);
	server_stop(&server);
}

TEST(qemu_that_is_gone_is_not_taken_over)
{
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	vmm = connect_to(&server, SCRIPT(GREETING, OK));
	CHECK_EQ(ops->take_over(vmm, &err), -1);
	CHECK_EQ(err.code, EXIT_GONE);
	disconnect(vmm, &server);
}

TEST(qemu_with_a_vfio_device)
{
	struct server server;
	struct error err = {};
	struct vmm *vmm;

	/* One that -device gave no id. */
	vmm = connect_to(&server, SCRIPT(GREETING, OK, RETURN("{}"), RUNNING,
		RETURN("[{\"name\": \"type\", \"type\": \"string\"}]"),
		RETURN("[{\"name\": \"device[0]\", \"type\": \"child<vfio-pci>\"}]")));
	CHECK_EQ(ops->check_source(vmm, &err), -1);
	CHECK_EQ(err.code, EXIT_UNTRACKABLE);
	CHECK_HAS(err.message, "VFIO device, device[0] (vfio-pci)");
	CHECK_HAS(err.advice, "device_del");
	disconnect(vmm, &server);
}

/* What QEMU says of its disks, and the one that is refused. */
static void disks(const char *drives, const char *refused)
{
	struct server server;
	struct error err = {};
	char *reply;
	struct vmm *vmm;

	if (asprintf(&reply, "{\"return\": [%s]}\r\n", drives) < 0)
		abort();
	vmm = connect_to(&server, SCRIPT(GREETING, OK, reply));
	CHECK_EQ(ops->check_disks(vmm, &err), refused ? -1 : 0);
	if (refused) {
		CHECK_EQ(err.code, EXIT_VMM);
		CHECK_HAS(err.message, refused);
		CHECK_HAS(err.advice, "--disks-shared");
	}
	disconnect(vmm, &server);
	free(reply);
}

#define DRIVE(file, ro)	\
	"{\"device\": \"\", \"inserted\": {\"file\": \"" file "\", \"ro\": " ro "}}"

TEST(qemu_with_disks)
{
	disks("", NULL);
	disks("{\"device\": \"cd0\"}", NULL);
	disks(DRIVE("/iso", "true"), NULL);
	disks(DRIVE("nbd://host/disk", "false") "," DRIVE("nbd+unix:///x?socket=y", "false"),
	      NULL);
	disks(DRIVE("/iso", "true") "," DRIVE("/images/disk.qcow2", "false"),
	      "/images/disk.qcow2");
	/* A name that begins as a protocol does. */
	disks(DRIVE("nbd", "false"), "nbd");
	disks(DRIVE("sshd:image", "false"), "sshd:image");
	disks(DRIVE("json:{}", "false"), "json:{}");
}
