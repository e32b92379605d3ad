/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile messages. fuzz.c sends them and looks at what came of it,
 * fuzz_world.c has the sessions, files and processes that they name,
 * fuzz_message.c makes them up.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FUZZ_SLOTS	64	/* sessions of a worker, ended ones too */
#define FUZZ_MEMORY	(64UL * 4096)
#define FUZZ_SEND_MAX	70000
#define FUZZ_ATTRIBUTES	8	/* of a command, at most */

/* ---- fuzz_world.c ---- */

struct fuzz_slot {
	int fd;			/* -1: none */
	uint64_t id;
	uint32_t sources;	/* the highest id + 1 that one had */
};

/* A memory that the kernel may track, and one for each reason not to. */
enum fuzz_memory {
	FUZZ_GOOD,
	FUZZ_DIRECTORY,
	FUZZ_HUGETLB,
	FUZZ_DEVICE,
	FUZZ_READ_ONLY,
	FUZZ_EMPTY,
	FUZZ_UNMAPPED,
	FUZZ_PRIVATE,
	FUZZ_MAPPED_READ_ONLY,
	FUZZ_TOO_LARGE,
	FUZZ_GROWN,
	FUZZ_ODD_SIZE,
	FUZZ_MEMORIES,
};

enum fuzz_pid {
	FUZZ_SELF,
	FUZZ_OTHER,		/* maps the good memory too */
	FUZZ_INIT,
	FUZZ_KTHREAD,
	FUZZ_ZOMBIE,
	FUZZ_NOBODY,
	FUZZ_PIDS,
};

#define FUZZ_WRONG_FDS	18

/**
 * struct fuzz_world - what messages can name
 * @rng: state of the random numbers
 * @slots: sessions
 * @now: the slot that the last message was about
 * @memories: descriptors
 * @good: mapping of the good memory
 * @pids: processes
 * @wrong_fds: of every kind that is neither a session nor a memory
 * @other_id: another's session
 * @other_fd: the number that its descriptor has there
 */
struct fuzz_world {
	uint64_t rng;
	struct fuzz_slot slots[FUZZ_SLOTS];
	unsigned int now;
	int memories[FUZZ_MEMORIES];
	char *good;
	pid_t pids[FUZZ_PIDS];
	int wrong_fds[FUZZ_WRONG_FDS];
	uint64_t other_id;
	int other_fd;
};

uint64_t fuzz_random(struct fuzz_world *world);
unsigned int fuzz_below(struct fuzz_world *world, unsigned int n);
bool fuzz_one_in(struct fuzz_world *world, unsigned int n);

void fuzz_memories_open(struct fuzz_world *world);
void fuzz_memory_grow(struct fuzz_world *world);
void fuzz_world_open(struct fuzz_world *world);
void fuzz_world_close(struct fuzz_world *world);
struct fuzz_slot *fuzz_slot_next(struct fuzz_world *world, unsigned int cmd);
void fuzz_session_adopt(struct fuzz_world *world, uint64_t id, int fd);
void fuzz_source_adopt(struct fuzz_world *world, uint64_t session, uint32_t id);

/* ---- fuzz_message.c ---- */

/* What an attribute says. */
enum fuzz_kind {
	FUZZ_SESSION_ID,
	FUZZ_SESSION_FD,
	FUZZ_SOURCE_ID,
	FUZZ_TYPE_RAM,
	FUZZ_TYPE_REPORTED,
	FUZZ_TYPE_VFIO,
	FUZZ_REPORT_FLAGS,
	FUZZ_VERDICT,
	FUZZ_REASON,
	FUZZ_PID,
	FUZZ_MEM_FD,
	FUZZ_OFFSET,
	FUZZ_LENGTH,
	FUZZ_SYNC_KIND,
	FUZZ_PHASE,
	FUZZ_BANDWIDTH_SOURCE,
	FUZZ_NUMBER,
	FUZZ_DMA_MAP,		/* some, and each has attributes of its own */
};

struct fuzz_attribute {
	uint16_t type;
	enum fuzz_kind kind;
	bool required;
};

struct fuzz_command {
	const char *name;
	uint8_t cmd;
	bool dump;
	bool hopeless;		/* without a VFIO device it is only refused */
	unsigned int weight;
	struct fuzz_attribute attributes[FUZZ_ATTRIBUTES];	/* type 0: none */
};

extern const struct fuzz_command fuzz_commands[];
extern const unsigned int fuzz_ncommands;

/**
 * struct fuzz_message - a datagram, and who sends it
 * @length: bytes to send
 * @without: capabilities that the sender does without, as bits
 * @no_fds: the sender has no descriptor left
 * @bytes: what is sent
 */
struct fuzz_message {
	size_t length;
	uint64_t without;
	bool no_fds;
	char bytes[FUZZ_SEND_MAX] __attribute__((aligned(8)));
};

void fuzz_message_make(struct fuzz_world *world, uint16_t family,
		       struct fuzz_message *message);

#endif /* FUZZ_H */
