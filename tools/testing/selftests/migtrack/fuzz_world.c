// SPDX-License-Identifier: GPL-2.0-or-later
/* Sessions, files and processes that hostile messages name. */

#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/migtrack.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

/* xorshift64*, by Marsaglia and Vigna. */
uint64_t fuzz_random(struct fuzz_world *world)
{
	world->rng ^= world->rng >> 12;
	world->rng ^= world->rng << 25;
	world->rng ^= world->rng >> 27;
	return world->rng * 0x2545f4914f6cdd1dULL;
}

unsigned int fuzz_below(struct fuzz_world *world, unsigned int n)
{
	return (fuzz_random(world) >> 32) % n;
}

bool fuzz_one_in(struct fuzz_world *world, unsigned int n)
{
	return !fuzz_below(world, n);
}

static int memory_new(const char *name, off_t size, unsigned int flags)
{
	int fd = memfd_create(name, MFD_CLOEXEC | flags);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd %s", name);
	return fd;
}

static void *memory_map(int fd, size_t size, int prot, int flags)
{
	void *map = mmap(NULL, size, prot, flags, fd, 0);

	if (map == MAP_FAILED)
		err(1, "mmap");
	return map;
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/**
 * fuzz_memories_open() - make and map the memories, before workers are forked
 * @world: gets them
 */
void fuzz_memories_open(struct fuzz_world *world)
{
	int *fds = world->memories, fd;

	fds[FUZZ_GOOD] = memory_new("good", FUZZ_MEMORY, 0);
	world->good = memory_map(fds[FUZZ_GOOD], FUZZ_MEMORY, PROT_READ | PROT_WRITE,
				 MAP_SHARED);
	memset(world->good, 1, FUZZ_MEMORY);
	fds[FUZZ_DIRECTORY] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds[FUZZ_HUGETLB] = memfd_create("huge", MFD_HUGETLB | MFD_CLOEXEC);
	fds[FUZZ_DEVICE] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	fds[FUZZ_READ_ONLY] = reopen(fds[FUZZ_GOOD], O_RDONLY);
	fds[FUZZ_EMPTY] = memory_new("empty", 0, 0);
	fds[FUZZ_UNMAPPED] = memory_new("unmapped", FUZZ_MEMORY, 0);
	fds[FUZZ_PRIVATE] = memory_new("private", FUZZ_MEMORY, 0);
	memory_map(fds[FUZZ_PRIVATE], FUZZ_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	fds[FUZZ_MAPPED_READ_ONLY] = memory_new("read-only", FUZZ_MEMORY, 0);
	fd = reopen(fds[FUZZ_MAPPED_READ_ONLY], O_RDONLY);
	memory_map(fd, FUZZ_MEMORY, PROT_READ, MAP_SHARED);
	close(fd);
	fds[FUZZ_TOO_LARGE] = memory_new("too large", 1L << 50, 0);
	memory_map(fds[FUZZ_TOO_LARGE], FUZZ_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED);
	fds[FUZZ_GROWN] = memory_new("grown", 4096, 0);
	memory_map(fds[FUZZ_GROWN], FUZZ_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED);
	fds[FUZZ_ODD_SIZE] = memory_new("odd", FUZZ_MEMORY - 1000, 0);
	memory_map(fds[FUZZ_ODD_SIZE], FUZZ_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (fd = 0; fd < FUZZ_MEMORIES; fd++)
		if (fds[fd] < 0)
			err(1, "memory %d", fd);
}

/**
 * fuzz_memory_grow() - let the memory grow that another tracks by now
 * @world: with memories
 */
void fuzz_memory_grow(struct fuzz_world *world)
{
	if (ftruncate(world->memories[FUZZ_GROWN], FUZZ_MEMORY))
		err(1, "ftruncate");
}

static void wrong_fds_open(int *fds)
{
	sigset_t none;
	int i, pair[2];

	sigemptyset(&none);
	if (pipe2(pair, O_CLOEXEC))
		err(1, "pipe");
	i = 0;
	fds[i++] = pair[0];
	fds[i++] = pair[1];
	fds[i++] = eventfd(0, EFD_CLOEXEC);
	fds[i++] = epoll_create1(EPOLL_CLOEXEC);
	fds[i++] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	fds[i++] = signalfd(-1, &none, SFD_CLOEXEC);
	fds[i++] = inotify_init1(IN_CLOEXEC);
	fds[i++] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[i++] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
	fds[i++] = syscall(SYS_pidfd_open, getpid(), 0);
	fds[i++] = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	fds[i++] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	fds[i++] = open("/proc/self/fdinfo", O_RDONLY | O_CLOEXEC);
	fds[i++] = open("/dev/null", O_PATH | O_CLOEXEC);
	for (int k = 0; k < i; k++)
		if (fds[k] < 0)
			err(1, "wrong descriptor %d", k);
	fds[i++] = -1;
	fds[i++] = INT_MAX;
	fds[i++] = INT_MIN;
	fds[i++] = 1000000;
	if (i != FUZZ_WRONG_FDS)
		errx(1, "%d wrong descriptors", i);
}

/**
 * fuzz_world_open() - a worker's own part of the world
 * @world: with memories, other_id, other_fd, pids[FUZZ_OTHER] and rng
 */
void fuzz_world_open(struct fuzz_world *world)
{
	siginfo_t info;
	unsigned int i;

	for (i = 0; i < FUZZ_SLOTS; i++)
		world->slots[i].fd = -1;
	wrong_fds_open(world->wrong_fds);
	world->pids[FUZZ_SELF] = getpid();
	world->pids[FUZZ_INIT] = 1;
	world->pids[FUZZ_KTHREAD] = 2;
	world->pids[FUZZ_NOBODY] = 4194303;
	world->pids[FUZZ_ZOMBIE] = fork();
	if (!world->pids[FUZZ_ZOMBIE])
		_exit(0);
	if (waitid(P_PID, world->pids[FUZZ_ZOMBIE], &info, WEXITED | WNOWAIT))
		err(1, "waitid");
}

/**
 * fuzz_world_close() - undo fuzz_world_open(), end the sessions
 * @world: the world
 */
void fuzz_world_close(struct fuzz_world *world)
{
	unsigned int i;

	for (i = 0; i < FUZZ_SLOTS; i++)
		if (world->slots[i].fd >= 0)
			close(world->slots[i].fd);
	for (i = 0; i < FUZZ_WRONG_FDS; i++)
		if (world->wrong_fds[i] >= 0)
			close(world->wrong_fds[i]);
	waitpid(world->pids[FUZZ_ZOMBIE], NULL, 0);
}

static struct fuzz_slot *slot_choose(struct fuzz_world *world)
{
	unsigned int tries;

	for (tries = 0; tries < 8; tries++) {
		world->now = 1 + fuzz_below(world, FUZZ_SLOTS - 1);
		if (world->slots[world->now].fd >= 0)
			break;
	}
	return &world->slots[world->now];
}

/**
 * fuzz_slot_next() - whose turn it is
 * @world: the world
 * @cmd: what is to be done
 *
 * Half of the messages are about the session of the one before, so that they
 * meet its syncs and its end. The first slot's session gets more than its share
 * of sources and is not ended on purpose, so that it gets full.
 *
 * Return: a slot with a descriptor, or an empty one if there is none near.
 */
struct fuzz_slot *fuzz_slot_next(struct fuzz_world *world, unsigned int cmd)
{
	if (cmd == MIGTRACK_CMD_SESSION_DEL)
		return slot_choose(world);
	if (fuzz_one_in(world, cmd == MIGTRACK_CMD_SOURCE_ADD ? 3 : 8))
		world->now = 0;
	else if (fuzz_one_in(world, 2))
		slot_choose(world);
	return &world->slots[world->now];
}

static bool slot_ended(const struct fuzz_slot *slot)
{
	struct pollfd pollfd = { slot->fd, POLLIN, 0 };

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLHUP);
}

/**
 * fuzz_session_adopt() - keep a session that a message has made
 * @world: the world
 * @id: its number
 * @fd: its descriptor
 */
void fuzz_session_adopt(struct fuzz_world *world, uint64_t id, int fd)
{
	struct fuzz_slot *slot = NULL;
	unsigned int i;

	for (i = 0; i < FUZZ_SLOTS && !slot; i++)
		if (world->slots[i].fd < 0)
			slot = &world->slots[i];
	if (!slot) {
		i = slot_ended(&world->slots[0]) ? 0 : 1 + fuzz_below(world, FUZZ_SLOTS - 1);
		slot = &world->slots[i];
		close(slot->fd);
	}
	*slot = (struct fuzz_slot){ .fd = fd, .id = id };
}

/**
 * fuzz_source_adopt() - remember a source that a message has made
 * @world: the world
 * @session: its session's number
 * @id: its own
 */
void fuzz_source_adopt(struct fuzz_world *world, uint64_t session, uint32_t id)
{
	unsigned int i;

	for (i = 0; i < FUZZ_SLOTS; i++)
		if (world->slots[i].fd >= 0 && world->slots[i].id == session &&
		    world->slots[i].sources <= id)
			world->slots[i].sources = id + 1;
}
