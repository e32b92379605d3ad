// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VMM reads and writes its own stream at one end of a socket pair; a thread
 * carries it between the other end and the file. A VMM that is given the file
 * itself would need to know whether it can seek there.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "snapshot/snapshot.h"

#define CHUNK		(64u << 10)
#define END_TIMEOUT_S	20

/**
 * struct snapshot_state - the VMM's stream, on its way
 * @vmm_fd: for the VMM, which gets a duplicate
 * @fd: our end
 * @file: of the snapshot, the caller's
 * @size: of the file, for a stream that is loaded
 * @thread: carries it
 * @running: @thread is there
 * @save: from the VMM to the file
 * @bytes: carried
 * @hash: of them
 * @error: errno of what failed
 */
struct snapshot_state {
	int vmm_fd;
	int fd;
	int file;
	uint64_t size;
	pthread_t thread;
	bool running;
	bool save;
	uint64_t bytes;
	XXH3_state_t *hash;
	int error;
};

static int state_new(struct snapshot_state **state, int file, struct error *err)
{
	struct snapshot_state *new = calloc(1, sizeof(*new));
	int pair[2];

	*state = NULL;
	if (!new)
		return error_set(err, EXIT_FAILED, "out of memory");
	new->hash = XXH3_createState();
	if (!new->hash || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		XXH3_freeState(new->hash);
		free(new);
		return error_set(err, EXIT_FAILED, "socketpair: %s", strerror(errno));
	}
	XXH3_64bits_reset(new->hash);
	new->vmm_fd = pair[0];
	new->fd = pair[1];
	new->file = file;
	*state = new;
	return 0;
}

/**
 * snapshot_state_save() - get ready to take the VMM's stream
 * @state: NULL after a failure
 * @file: where to; empty
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_state_save(struct snapshot_state **state, int file, struct error *err)
{
	if (state_new(state, file, err))
		return -1;
	(*state)->save = true;
	return 0;
}

static int state_verify(struct snapshot_state *state, uint64_t digest,
			struct error *err)
{
	char chunk[CHUNK];
	uint64_t at = 0;
	ssize_t length;

	while (at < state->size) {
		length = pread(state->file, chunk, sizeof(chunk), (off_t)at);
		if (length <= 0)
			return error_set(err, EXIT_SNAPSHOT,
					 "the device state can't be read");
		XXH3_64bits_update(state->hash, chunk, (size_t)length);
		at += (uint64_t)length;
	}
	if (XXH3_64bits_digest(state->hash) == digest)
		return 0;
	error_set(err, EXIT_DIFFERS,
		  "the device state is not what was saved: its digest differs");
	return error_advise(err, "the snapshot was changed, or the disk has lost it: use another one");
}

/**
 * snapshot_state_load() - get ready to give the VMM its stream
 * @state: NULL after a failure
 * @snapshot: opened; the digest of the stream is compared first
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_state_load(struct snapshot_state **state, const struct snapshot *snapshot,
			struct error *err)
{
	if (state_new(state, snapshot->state_fd, err))
		return -1;
	(*state)->size = snapshot->state_size;
	if (!state_verify(*state, snapshot->state_digest, err))
		return 0;
	snapshot_state_close(*state);
	*state = NULL;
	return -1;
}

/* The VMM's end. */
int snapshot_state_fd(const struct snapshot_state *state)
{
	return state->vmm_fd;
}

static int file_write(int fd, const char *data, size_t size)
{
	ssize_t length;

	while (size) {
		length = write(fd, data, size);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return -errno;
		data += length;
		size -= (size_t)length;
	}
	return 0;
}

static void carry_save(struct snapshot_state *state)
{
	char chunk[CHUNK];
	ssize_t length;
	int ret;

	for (;;) {
		length = read(state->fd, chunk, sizeof(chunk));
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return;
		ret = file_write(state->file, chunk, (size_t)length);
		if (ret) {
			__atomic_store_n(&state->error, -ret, __ATOMIC_RELEASE);
			/* The VMM fails rather than wait for us. */
			shutdown(state->fd, SHUT_RDWR);
			return;
		}
		XXH3_64bits_update(state->hash, chunk, (size_t)length);
		state->bytes += (uint64_t)length;
	}
}

static void carry_load(struct snapshot_state *state)
{
	char chunk[CHUNK];
	ssize_t length, sent;
	size_t at;

	while (state->bytes < state->size) {
		at = state->size - state->bytes;
		length = pread(state->file, chunk, at < CHUNK ? at : CHUNK,
			       (off_t)state->bytes);
		if (length <= 0) {
			__atomic_store_n(&state->error, length ? errno : EIO,
					 __ATOMIC_RELEASE);
			break;
		}
		for (at = 0; at < (size_t)length; at += (size_t)sent) {
			sent = send(state->fd, chunk + at, (size_t)length - at,
				    MSG_NOSIGNAL);
			if (sent < 0 && errno == EINTR)
				sent = 0;
			/* It says itself why it wants no more. */
			else if (sent < 0)
				return;
		}
		state->bytes += (uint64_t)length;
	}
	shutdown(state->fd, SHUT_WR);
}

static void *carry(void *data)
{
	struct snapshot_state *state = data;

	if (state->save)
		carry_save(state);
	else
		carry_load(state);
	return NULL;
}

/**
 * snapshot_state_start() - the VMM has its end: begin
 * @state: made
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_state_start(struct snapshot_state *state, struct error *err)
{
	int ret;

	close(state->vmm_fd);
	state->vmm_fd = -1;
	ret = pthread_create(&state->thread, NULL, carry, state);
	if (ret)
		return error_set(err, EXIT_FAILED, "can't make a thread: %s",
				 strerror(ret));
	state->running = true;
	return 0;
}

/**
 * snapshot_state_failed() - whether it was us who broke the stream
 * @state: started
 * @err: filled if so: the VMM can only say that its stream was closed
 *
 * Return: true if so.
 */
bool snapshot_state_failed(const struct snapshot_state *state, struct error *err)
{
	int error = __atomic_load_n(&state->error, __ATOMIC_ACQUIRE);

	if (!error)
		return false;
	error_set(err, EXIT_FAILED, "the device state can't be %s: %s",
		  state->save ? "written" : "read", strerror(error));
	if (error == ENOSPC || error == EDQUOT)
		error_advise(err, "the file system is full: free some of it, or choose another one");
	return true;
}

/**
 * snapshot_state_end() - wait for the end of a stream that is saved
 * @state: started; the VMM has completed, or failed
 * @size: bytes of it
 * @digest: of them
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_state_end(struct snapshot_state *state, uint64_t *size,
		       uint64_t *digest, struct error *err)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += END_TIMEOUT_S;
	if (pthread_clockjoin_np(state->thread, NULL, CLOCK_MONOTONIC, &until))
		return error_set(err, EXIT_VMM, "the VMM's own stream does not end");
	state->running = false;
	if (snapshot_state_failed(state, err))
		return -1;
	if (!state->bytes)
		return error_set(err, EXIT_VMM, "the VMM's own stream is empty");
	*size = state->bytes;
	*digest = XXH3_64bits_digest(state->hash);
	return 0;
}

/**
 * snapshot_state_break() - nothing is carried any more
 * @state: made, or NULL
 *
 * A VMM that still writes, or reads, fails rather than wait for a file system that hangs.
 */
void snapshot_state_break(struct snapshot_state *state)
{
	if (state)
		shutdown(state->fd, SHUT_RDWR);
}

/**
 * snapshot_state_close() - end it
 * @state: made, or NULL; the thread is waited for
 */
void snapshot_state_close(struct snapshot_state *state)
{
	if (!state)
		return;
	snapshot_state_break(state);
	if (state->running)
		pthread_join(state->thread, NULL);
	if (state->vmm_fd >= 0)
		close(state->vmm_fd);
	close(state->fd);
	XXH3_freeState(state->hash);
	free(state);
}
