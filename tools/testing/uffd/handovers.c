// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * handovers PROGRAM DIR: the driver for VMMs that hand over their memory, with one of
 * the tests; prints TAP.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "vmm/handover.h"

#define OPS	(&vmm_handover_migration)
#define MIB	"16"
#define SIZE	(16u << 20)

static const char *program, *dir;
static unsigned int tests, failures;
static struct error err;

#define OK(ret) do { \
	if (ret) { \
		printf("# line %d: %s\n", __LINE__, err.message); \
		return 1; \
	} \
} while (0)
#define TRUE(x) do { \
	if (!(x)) { \
		printf("# line %d: not " #x "\n", __LINE__); \
		return 1; \
	} \
} while (0)

static char *path_of(const char *name)
{
	static char path[4][128];
	static unsigned int next;

	snprintf(path[++next % 4], sizeof(path[0]), "%s/%s", dir, name);
	return path[next % 4];
}

static pid_t vmm_start(const char *name, const char *option)
{
	char *socket = path_of(name);
	pid_t pid;
	int i;

	fflush(stdout);
	unlink(socket);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		execl(program, program, "-r", "2", "-p", "100", option, socket, MIB, NULL);
		_exit(127);
	}
	for (i = 0; i < 6000 && access(socket, F_OK); i++)
		usleep(10000);
	return pid;
}

/* Its exit code: 0 if no page was wrong. */
static int vmm_end(pid_t pid)
{
	int status;

	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool in_state(struct vmm *vmm, const char *state)
{
	struct vmm_status status;

	return !OPS->status(vmm, &status, &err) && !strcmp(status.state, state);
}

static int phase_wait(struct vmm *vmm, enum vmm_phase phase)
{
	struct vmm_status status;
	int i;

	for (i = 0; i < 6000; i++) {
		if (OPS->status(vmm, &status, &err))
			return -1;
		if (status.phase == phase)
			return 0;
		usleep(10000);
	}
	return error_set(&err, EXIT_FAILED, "in phase %d, not %d: %s", status.phase, phase,
			 status.reason);
}

static int says_what_it_is(struct vmm *vmm)
{
	struct vmm_memory *memory;
	struct vmm_range *ranges;
	json_t *vm, *blocks;
	size_t n;

	OK(OPS->describe(vmm, &vm, &err));
	OK(vmm_compare(vm, vm, &err));
	OK(OPS->memory_blocks(vmm, &blocks, &err));
	OK(vmm_blocks_changed(json_object_get(vm, "blocks"), blocks, &err));
	TRUE(json_array_size(blocks) == 2);
	OK(vmm->ops->memory(vmm, &memory, &n, &err));
	TRUE(n == 2 && !memory[0].reason[0] && memory[1].offset == SIZE / 2);
	OK(vmm->ops->layout(vmm, &ranges, &n, &err));
	TRUE(n == 2 && ranges[1].length == SIZE / 2);
	free(ranges);
	vmm_memory_free(memory, 2);
	json_decref(vm);
	json_decref(blocks);
	OK(OPS->check_source(vmm, &err));
	OK(OPS->check_disks(vmm, &err));
	TRUE(OPS->check_destination(vmm, &err) && err.code == EXIT_VMM);
	return 0;
}

static int hands_over(struct vmm *vmm)
{
	struct uffd_offer offer, other;

	OK(handover_userfaultfd(vmm, UFFD_WRITE, &offer, &err));
	TRUE(offer.n == 2 && offer.fd >= 0 && offer.regions[1].modes == UFFD_WRITE);
	TRUE(handover_userfaultfd(vmm, UFFD_MISSING, &other, &err));
	uffd_offer_free(&other);
	uffd_offer_free(&offer);
	OK(handover_release(vmm, &err));
	OK(handover_userfaultfd(vmm, UFFD_MISSING, &offer, &err));
	OK(handover_release(vmm, &err));
	uffd_offer_free(&offer);
	TRUE(in_state(vmm, "running"));
	return 0;
}

/* The device state that was moved. */
static char state[8 << 20];
static size_t used;

/* Its memory as well: the guest is paused. */
static int move(struct vmm *from, struct vmm *to)
{
	struct handover *a = to_handover(from), *b = to_handover(to);
	static char memory[SIZE];
	struct machine_state head;
	json_t *saved;
	int pair[2];
	ssize_t got;

	OK(OPS->save(from, &saved, &err));
	json_decref(saved);
	OK(OPS->prepare_source(from, &err));
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(OPS->start(from, pair[0], &err));
	OK(phase_wait(from, VMM_PRE_SWITCHOVER));
	TRUE(in_state(from, "paused") && OPS->ran(from));
	TRUE(pread(a->blocks[0].fd, memory, SIZE, 0) == SIZE);
	TRUE(pwrite(b->blocks[0].fd, memory, SIZE, 0) == SIZE);
	OK(OPS->go_on(from, &err));
	close(pair[0]);
	while ((got = read(pair[1], state + used, sizeof(state) - used)) > 0)
		used += (size_t)got;
	close(pair[1]);
	OK(phase_wait(from, VMM_COMPLETED));
	memcpy(&head, state, sizeof(head));
	TRUE(used >= sizeof(head) && head.magic == MACHINE_STATE_MAGIC && head.written[0]);
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(OPS->incoming(to, pair[0], &err));
	TRUE(OPS->status(to, &(struct vmm_status){}, &err) == 0);
	TRUE(write_all(pair[1], state, used) == 0);
	close(pair[1]);
	close(pair[0]);
	OK(phase_wait(to, VMM_COMPLETED));
	TRUE(in_state(to, "paused"));
	OK(OPS->run(to, &err));
	TRUE(in_state(to, "running"));
	return 0;
}

static int cancels(struct vmm *vmm)
{
	json_t *saved;
	int pair[2];

	TRUE(OPS->start(vmm, 0, &err) && err.code == EXIT_FAILED);
	OK(OPS->save(vmm, &saved, &err));
	json_decref(saved);
	OK(OPS->prepare_save(vmm, &err));
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(OPS->start(vmm, pair[0], &err));
	/* Nobody takes its state. */
	close(pair[0]);
	close(pair[1]);
	OK(OPS->go_on(vmm, &err));
	OK(phase_wait(vmm, VMM_FAILED));
	OK(OPS->cancel(vmm, &err));
	TRUE(in_state(vmm, "running"));
	return 0;
}

/* Whoever paused it goes without a word. */
static int lost(const char *name, bool saved, const char *then)
{
	struct vmm *vmm;
	json_t *undo;
	int fd;

	OK(vmm_handover.open(&vmm, path_of(name), 0, &err));
	OK(OPS->save(vmm, &undo, &err));
	json_decref(undo);
	OK(OPS->prepare_source(vmm, &err));
	fd = open("/dev/null", O_WRONLY);
	OK(OPS->start(vmm, fd, &err));
	close(fd);
	if (saved) {
		OK(OPS->go_on(vmm, &err));
		OK(phase_wait(vmm, VMM_COMPLETED));
	}
	vmm->ops->close(vmm);
	OK(vmm_handover.open(&vmm, path_of(name), 0, &err));
	TRUE(in_state(vmm, then));
	OK(OPS->run(vmm, &err));
	vmm->ops->close(vmm);
	return 0;
}

/* How far it had come that brings the guest's pages as they are touched. */
enum stage { HANDED_OVER, LOADING, LOADED, RUNS };

static int stage_reach(struct vmm *vmm, enum stage stage, int pair[2])
{
	OK(OPS->prepare_destination(vmm, &err));
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	OK(OPS->incoming(vmm, pair[0], &err));
	TRUE(!write_all(pair[1], state, stage == LOADING ? used / 2 : used));
	if (stage == LOADING)
		return 0;
	shutdown(pair[1], SHUT_WR);
	OK(phase_wait(vmm, VMM_COMPLETED));
	if (stage == LOADED)
		return 0;
	OK(OPS->run(vmm, &err));
	/* Its first page is one that nobody brings. */
	usleep(50000);
	return 0;
}

/* He is killed then. Nobody may take what is there for a guest. */
static int lost_in(const char *name, enum stage stage)
{
	pid_t pid = vmm_start(name, "-i");
	struct uffd_offer offer;
	int pair[2] = { -1, -1 }, status;
	struct vmm *vmm;

	OK(vmm_handover.open(&vmm, path_of(name), 0, &err));
	OK(handover_userfaultfd(vmm, UFFD_MISSING, &offer, &err));
	if (stage != HANDED_OVER)
		OK(stage_reach(vmm, stage, pair));
	uffd_offer_free(&offer);
	vmm->ops->close(vmm);
	close(pair[0]);
	close(pair[1]);
	if (stage == HANDED_OVER) {
		OK(vmm_handover.open(&vmm, path_of(name), 0, &err));
		TRUE(in_state(vmm, "incoming"));
		vmm->ops->close(vmm);
		TRUE(vmm_end(pid) == 0);
		return 0;
	}
	TRUE(waitpid(pid, &status, 0) == pid);
	TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 4);
	return 0;
}

static int guarded(const char *name)
{
	struct guard *guard;
	struct vmm *vmm;
	json_t *undo;
	pid_t pid;
	int fd;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		fd = open("/dev/null", O_WRONLY);
		if (vmm_handover.open(&vmm, path_of(name), 0, &err) ||
		    OPS->save(vmm, &undo, &err) ||
		    guard_start(&guard, vmm, OPS, undo, &GUARD_NO_DUTY, &err) ||
		    OPS->prepare_source(vmm, &err) || OPS->start(vmm, fd, &err) ||
		    OPS->go_on(vmm, &err) || phase_wait(vmm, VMM_COMPLETED))
			_exit(1);
		dup2(fd, STDERR_FILENO);
		/* In the middle of a command, too. */
		send(OPS->connection(vmm), "{\"exec", 6, 0);
		raise(SIGKILL);
	}
	waitpid(pid, &fd, 0);
	TRUE(WIFSIGNALED(fd));
	/* It serves one after the other: the guard comes first. */
	OK(vmm_handover.open(&vmm, path_of(name), 0, &err));
	TRUE(in_state(vmm, "running"));
	vmm->ops->close(vmm);
	return 0;
}

static void result(int ret, const char *name)
{
	failures += ret != 0;
	printf("%sok %u %s\n", ret ? "not " : "", ++tests, name);
}

int main(int argc, char **argv)
{
	struct vmm *from = NULL, *to = NULL;
	pid_t source, destination;

	if (argc != 3)
		return 2;
	program = argv[1];
	dir = argv[2];
	signal(SIGPIPE, SIG_IGN);
	source = vmm_start("a", "-r2");
	destination = vmm_start("b", "-i");
	if (vmm_handover.open(&from, path_of("a"), 0, &err) ||
	    vmm_handover.open(&to, path_of("b"), 0, &err)) {
		printf("Bail out! %s\n", err.message);
		return 1;
	}
	result(says_what_it_is(from), "a VMM says what it is, and is checked");
	result(OPS->check_destination(to, &err) || !OPS->check_source(to, &err),
	       "one that waits for a guest is a destination, and no source");
	result(hands_over(from), "a userfaultfd is handed over once, and again after its release");
	result(cancels(from), "a state that can't be written is a failure, and the guest runs on");
	result(move(from, to), "a guest is moved");
	usleep(200000);
	from->ops->close(from);
	to->ops->close(to);
	result(vmm_end(destination), "and finds its memory as it was");
	/* Given away, it stays paused; lost() begins with a guest that runs. */
	result(vmm_handover.open(&from, path_of("a"), 0, &err) ||
	       !in_state(from, "paused") || OPS->run(from, &err),
	       "the source that gave it away stays paused until it is told to run");
	from->ops->close(from);
	result(lost("a", false, "running"), "a guest whose client is lost runs on");
	result(lost("a", true, "paused"), "but not if its state was saved for good");
	result(guarded("a"), "the guard of a client that is killed has it run on");
	result(vmm_end(source), "and it finds its memory as it was");
	result(lost_in("c", HANDED_OVER), "who brings its pages is lost before there is a guest: the next one is served");
	result(lost_in("c", LOADING), "while it is loaded: the VMM ends with an error");
	result(lost_in("c", LOADED), "before it has run: so it does");
	result(lost_in("c", RUNS), "while it waits for a page: so it does");
	printf("1..%u\n", tests);
	return failures != 0;
}
