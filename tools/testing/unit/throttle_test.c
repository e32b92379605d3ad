// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throttling, in directories that look like proc and cgroups; what was in a file before
 * is written over only as far as it goes.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/throttle.h"
#include "unit.h"

static char root[] = "/tmp/throttle-XXXXXX";
static char proc[64], cgroups[64];

static void put(const char *dir, const char *name, const char *text)
{
	char path[256], *slash;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (slash = strchr(path + sizeof(root), '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static const char *get(const char *name)
{
	static char text[64];
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", cgroups, name);
	file = fopen(path, "r");
	memset(text, 0, sizeof(text));
	if (file) {
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
	}
	return text;
}

/* Process 10 with the vCPU threads 11 and 12; what the kernel makes in a child is there. */
static struct throttle prepare(const char *cgroup)
{
	struct throttle throttle = THROTTLE_NONE;

	CHECK(mkdtemp(root));
	snprintf(proc, sizeof(proc), "%s/proc", root);
	snprintf(cgroups, sizeof(cgroups), "%s/cgroup", root);
	put(proc, "10/task/11/cgroup", cgroup);
	put(proc, "10/task/12/cgroup", cgroup);
	put(cgroups, "vm/cgroup.controllers", "cpuset cpu io memory pids\n");
	put(cgroups, "vm/cgroup.subtree_control", "pids\n");
	put(cgroups, "vm/cgroup.threads", "");
	put(cgroups, "vm/migtrack-vcpu-11/cgroup.type", "");
	put(cgroups, "vm/migtrack-vcpu-11/cgroup.threads", "");
	put(cgroups, "vm/migtrack-vcpu-11/cpu.max", "");
	put(cgroups, "vm/migtrack-vcpu-12/cgroup.type", "");
	put(cgroups, "vm/migtrack-vcpu-12/cgroup.threads", "");
	put(cgroups, "vm/migtrack-vcpu-12/cpu.max", "");
	throttle.proc = proc;
	throttle.cgroups = cgroups;
	return throttle;
}

static void clean(struct throttle *throttle)
{
	char command[64];

	throttle_free(throttle);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	CHECK_EQ(system(command), 0);
}

static const pid_t threads[] = { 11, 12 };

TEST(throttle_each_vcpu)
{
	struct throttle throttle = prepare("1:name=systemd:/old\n0::/vm\n");
	struct error err = {};

	CHECK_EQ(throttle_find(&throttle, 10, threads, 2, &err), 0);
	CHECK_STR(get("vm/cgroup.subtree_control"), "pids\n");
	CHECK_EQ(throttle_make(&throttle, &err), 0);
	CHECK_STR(get("vm/migtrack-vcpu-11/cgroup.type"), "threaded");
	CHECK_STR(get("vm/migtrack-vcpu-12/cgroup.type"), "threaded");
	CHECK_HAS(get("vm/cgroup.subtree_control"), "+cpu");
	/* The guest has not noticed yet. */
	CHECK_STR(get("vm/migtrack-vcpu-11/cgroup.threads"), "");

	CHECK_EQ(throttle_set(&throttle, 20, &err), 0);
	CHECK_STR(get("vm/migtrack-vcpu-11/cpu.max"), "16000 20000");
	CHECK_STR(get("vm/migtrack-vcpu-11/cgroup.threads"), "11");
	CHECK_STR(get("vm/migtrack-vcpu-12/cgroup.threads"), "12");
	CHECK_EQ(throttle_set(&throttle, THROTTLE_MAX, &err), 0);
	CHECK_HAS(get("vm/migtrack-vcpu-12/cpu.max"), "1000 20000");

	/* It has made a thread meanwhile. Here the directory has files, and stays. */
	put(cgroups, "vm/migtrack-vcpu-12/cgroup.threads", "12\n77\n");
	CHECK_EQ(throttle_undo(&throttle, &err), -1);
	CHECK_HAS(err.message, "vm/migtrack-vcpu-12");
	CHECK_HAS(get("vm/migtrack-vcpu-12/cpu.max"), "max");
	CHECK_STR(get("vm/cgroup.threads"), "77");
	CHECK_HAS(get("vm/cgroup.subtree_control"), "-cpu");
	clean(&throttle);
}

/* What was enabled before is left so. */
TEST(throttle_leaves_the_controller)
{
	struct throttle throttle = prepare("0::/vm\n");
	struct error err = {};

	put(cgroups, "vm/cgroup.subtree_control", "cpu pids\n");
	CHECK_EQ(throttle_find(&throttle, 10, threads, 2, &err), 0);
	CHECK_EQ(throttle_make(&throttle, &err), 0);
	throttle_undo(&throttle, &err);
	CHECK_STR(get("vm/cgroup.subtree_control"), "cpu pids\n");
	clean(&throttle);
}

/* migctl and its guard were killed: of one thread the child is taken for what it is. */
static struct throttle prepare_stale(unsigned int others)
{
	struct throttle throttle = prepare("0::/vm\n");
	char text[64];

	put(proc, "10/task/11/cgroup", "0::/vm/migtrack-vcpu-11\n");
	put(cgroups, "vm/migtrack-vcpu-11/cpu.max", "4000 20000\n");
	put(cgroups, "vm/migtrack-vcpu-11/cgroup.threads", "11\n");
	put(cgroups, "vm/cgroup.subtree_control", "cpu pids\n");
	snprintf(text, sizeof(text), "nr_descendants %u\nnr_dying_descendants 0\n", others);
	put(cgroups, "vm/cgroup.stat", text);
	return throttle;
}

TEST(throttle_takes_over_a_stale_one)
{
	struct throttle throttle = prepare_stale(0);
	struct error err = {};

	CHECK_EQ(throttle_find(&throttle, 10, threads, 2, &err), 0);
	CHECK_HAS(throttle.cpus[0].child, "cgroup/vm/migtrack-vcpu-11");
	CHECK_STR(throttle.cpus[0].group, throttle.cpus[1].group);
	CHECK_STR(get("vm/migtrack-vcpu-11/cpu.max"), "4000 20000\n");
	CHECK_EQ(throttle_make(&throttle, &err), 0);
	CHECK_HAS(get("vm/migtrack-vcpu-11/cpu.max"), "max");
	CHECK_EQ(throttle_set(&throttle, 20, &err), 0);
	CHECK_STR(get("vm/migtrack-vcpu-12/cgroup.threads"), "12");
	throttle_undo(&throttle, &err);
	CHECK_HAS(get("vm/migtrack-vcpu-11/cpu.max"), "max");
	CHECK_STR(get("vm/cgroup.threads"), "12");
	CHECK_HAS(get("vm/cgroup.subtree_control"), "-cpu");
	clean(&throttle);
}

TEST(throttle_sweeps_a_stale_one)
{
	struct throttle throttle = prepare_stale(0);

	throttle_sweep(&throttle, 10);
	CHECK_HAS(get("vm/migtrack-vcpu-11/cpu.max"), "max");
	CHECK_STR(get("vm/cgroup.threads"), "11");
	CHECK_HAS(get("vm/cgroup.subtree_control"), "-cpu");
	/* The other one is where it belongs. */
	CHECK_STR(get("vm/migtrack-vcpu-12/cpu.max"), "");
	clean(&throttle);
}

/* Of somebody else, who may need the controller; and not named for the thread. */
TEST(throttle_sweeps_nothing_else)
{
	struct throttle throttle = prepare_stale(1);

	put(proc, "10/task/12/cgroup", "0::/vm/migtrack-vcpu-1\n");
	put(cgroups, "vm/migtrack-vcpu-1/cpu.max", "4000 20000\n");
	throttle_sweep(&throttle, 10);
	CHECK_STR(get("vm/cgroup.threads"), "11");
	CHECK_STR(get("vm/cgroup.subtree_control"), "cpu pids\n");
	CHECK_STR(get("vm/migtrack-vcpu-1/cpu.max"), "4000 20000\n");
	CHECK_STR(get("vm/migtrack-vcpu-12/cpu.max"), "");
	clean(&throttle);
}

static void refused(const char *cgroup, const char *controllers, const char *message)
{
	struct throttle throttle = prepare(cgroup);
	struct error err = {};

	put(cgroups, "vm/cgroup.controllers", controllers);
	CHECK_EQ(throttle_find(&throttle, 10, threads, 2, &err), -1);
	CHECK_HAS(err.message, message);
	CHECK(err.advice[0]);
	clean(&throttle);
	strcpy(root + sizeof(root) - 7, "XXXXXX");
}

TEST(throttle_refuses_what_it_can_not)
{
	refused("4:cpu:/vm\n", "cpu", "no cgroup v2");
	refused("0::/../vm\n", "cpu", "outside of this cgroup namespace");
	refused("0::/vm\n", "cpuset memory\n", "has no cpu controller");
}

TEST(throttle_of_another_process)
{
	static const pid_t others[] = { 11, 13 };
	struct throttle throttle = prepare("0::/vm\n");
	struct error err = {};

	CHECK_EQ(throttle_find(&throttle, 10, others, 2, &err), -1);
	CHECK_HAS(err.message, "process 10 has no thread 13");
	clean(&throttle);
}

/* The host's layout does not allow it: nothing is left of it. */
TEST(throttle_can_not_be_made)
{
	struct throttle throttle = prepare("0::/vm\n");
	struct error err = {};
	char path[128];

	CHECK_EQ(throttle_find(&throttle, 10, threads, 2, &err), 0);
	snprintf(path, sizeof(path), "%s/vm/migtrack-vcpu-11/cgroup.type", cgroups);
	unlink(path);
	CHECK_EQ(throttle_make(&throttle, &err), -1);
	CHECK_HAS(err.message, "cgroup.type");
	CHECK_HAS(err.advice, "--throttle");
	clean(&throttle);
}
