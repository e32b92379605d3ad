/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection that carries frames. */
#ifndef MIGCTL_CHANNEL_H
#define MIGCTL_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/error.h"
#include "stream/wire.h"

/* How soon a wait sees channel_stop(). */
#define CHANNEL_POLL_MS	200

/**
 * struct channel - a connection
 *
 * Any thread may send; one thread receives. Both wait for the peer, but end
 * with an error within a second after channel_stop(), from any thread or a
 * signal handler.
 *
 * @fd: the socket
 * @peer: for messages
 * @label: for messages: which of a migration's channels it is
 * @stop: set by channel_stop()
 * @deadline: receiving ends with an error then, CLOCK_MONOTONIC in ns; 0: never
 * @lock: one frame at a time; guards @cut
 * @sent: bytes sent, headers included; atomic
 * @cut: a frame may have been sent in part: nothing can follow it
 */
struct channel {
	int fd;
	char peer[128];
	char label[32];
	bool stop;
	uint64_t deadline;
	pthread_mutex_t lock;
	uint64_t sent;
	bool cut;
};

/*
 * An address: "unix:PATH", or "HOST:PORT" ("[::1]:4444", ":4444" to listen on
 * all). TCP is neither encrypted nor authenticated, so it is refused unless
 * @insecure. A unix peer must be of the same user or root (SO_PEERCRED).
 */
int channel_listen(int *fd, const char *address, bool insecure, struct error *err);
/* The end of listening, whether a peer was accepted or not. */
void channel_unlisten(int listen_fd);
/* All peers were accepted: the name of a unix socket goes. */
void channel_hide(int listen_fd);
/* Waits; @interrupt is a descriptor that ends the wait when readable, or -1. */
int channel_accept(struct channel *channel, int listen_fd, int interrupt,
		   struct error *err);
int channel_connect(struct channel *channel, const char *address, bool insecure,
		    struct error *err);
void channel_open(struct channel *channel, int fd, const char *peer);
void channel_stop(struct channel *channel);
bool channel_stopped(const struct channel *channel);
void channel_close(struct channel *channel);

/* @payload has frame->length bytes. */
int channel_send(struct channel *channel, const struct wire_frame *frame,
		 const void *payload, struct error *err);
int channel_send_text(struct channel *channel, enum wire_type type,
		      const char *text, struct error *err);
/* @payload has room for WIRE_MAX_PAYLOAD bytes and one more, set to 0. */
int channel_receive(struct channel *channel, struct wire_frame *frame,
		    void *payload, struct error *err);
/* The two halves of it, for who has to look at the header first. */
int channel_receive_header(struct channel *channel, struct wire_frame *frame,
			   struct error *err);
int channel_receive_payload(struct channel *channel,
			    const struct wire_frame *frame, void *payload,
			    struct error *err);
uint64_t channel_sent(const struct channel *channel);

#endif /* MIGCTL_CHANNEL_H */
