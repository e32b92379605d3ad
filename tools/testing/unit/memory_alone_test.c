// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that is to be overwritten: who else has it? */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/receive.h"
#include "unit.h"
#include "vmm/vmm.h"

#define SIZE	(8 * 4096)
#define STACK	(64 << 10)

static struct vmm_memory memory = { .id = "ram0", .fd = -1, .size = SIZE };
static struct vmm vmm;

static int waits(void *data)
{
	(void)data;
	for (;;)
		pause();
	return 0;
}

/* A file with twice as much as the memory, which is in its first half. */
static void memory_make(void)
{
	memory.fd = memfd_create("alone", MFD_CLOEXEC);
	CHECK(!ftruncate(memory.fd, 2 * SIZE));
	vmm.pid = getpid();
}

/* Another process that has mapped a half of the file. */
static pid_t other_begin(int protection, int flags, off_t offset)
{
	void *map = mmap(NULL, SIZE, protection, flags, memory.fd, offset);
	pid_t pid = fork();

	if (!pid)
		waits(NULL);
	munmap(map, SIZE);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void refused(pid_t pid)
{
	struct error err = {};
	char text[32];

	CHECK_EQ(vmm_memory_alone(&vmm, &memory, 1, &err), -1);
	CHECK_EQ(err.code, EXIT_VMM);
	snprintf(text, sizeof(text), "process %d (", pid);
	CHECK_HAS(err.message, "memory ram0");
	CHECK_HAS(err.message, text);
	snprintf(text, sizeof(text), "end process %d", pid);
	CHECK_HAS(err.advice, text);
}

static void accepted(void)
{
	struct error err = {};

	CHECK_EQ(vmm_memory_alone(&vmm, &memory, 1, &err), 0);
	CHECK_STR(err.message, "");
}

TEST(memory_that_another_process_can_write_is_refused)
{
	void *own;
	pid_t pid;

	memory_make();
	accepted();
	pid = other_begin(PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	refused(pid);
	/* Its own mapping counts as little as that it has one. */
	own = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
	refused(pid);
	end(pid);
	accepted();
	munmap(own, SIZE);
	/* A guest that has the file's pages until it writes there. */
	pid = other_begin(PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	refused(pid);
	end(pid);
	/* A part of it. */
	pid = other_begin(PROT_READ | PROT_WRITE, MAP_SHARED, SIZE - 4096);
	refused(pid);
	end(pid);
	close(memory.fd);
}

TEST(memory_that_others_only_look_at_is_not)
{
	pid_t pid;

	memory_make();
	pid = other_begin(PROT_READ, MAP_SHARED, 0);
	accepted();
	end(pid);
	/* Another guest's, in the same file. */
	pid = other_begin(PROT_READ | PROT_WRITE, MAP_SHARED, SIZE);
	accepted();
	end(pid);
	/* Memory that nobody can write to is not looked for. */
	close(memory.fd);
	memory.fd = -1;
	accepted();
}

TEST(a_child_without_memory_of_its_own_has_none)
{
	char *stack = malloc(STACK);
	void *own;
	pid_t pid;

	memory_make();
	own = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
	pid = clone(waits, stack + STACK, CLONE_VM | SIGCHLD, NULL);
	CHECK(pid > 0);
	accepted();
	end(pid);
	munmap(own, SIZE);
	free(stack);
	close(memory.fd);
}

static int still_waits(struct vmm *unused, struct error *err)
{
	(void)unused;
	(void)err;
	return 0;
}

static int has_a_guest(struct vmm *unused, struct error *err)
{
	(void)unused;
	return error_set(err, EXIT_VMM, "its own is in state running");
}

/* What was looked at before the source came is looked at once more, and is not ended. */
TEST(receive_leaves_a_vmm_that_has_got_a_guest_meanwhile)
{
	struct vmm_migration_ops ops = { .check_waiting = has_a_guest };
	char hello[] = "{}";
	struct reception r = {
		.ops = &ops, .vmm = &vmm, .memory = &memory, .n_memory = 1,
		.payload = hello, .channel.fd = -1,
	};
	struct error err = {};
	pid_t pid;

	memory_make();
	CHECK_EQ(receive_agree(&r, &err), -1);
	CHECK_HAS(err.message, "in state running");
	CHECK(r.spared);

	r.spared = false;
	ops.check_waiting = still_waits;
	pid = other_begin(PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	CHECK_EQ(receive_agree(&r, &err), -1);
	CHECK_HAS(err.message, "memory ram0 is that of process");
	CHECK(r.spared);
	end(pid);
	close(memory.fd);
}
