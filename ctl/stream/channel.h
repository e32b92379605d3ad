/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A connection that carries frames. */
#ifndef MIGCTL_CHANNEL_H
#define MIGCTL_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/error.h"
#include "stream/tls.h"
#include "stream/wire.h"

/* How soon a wait sees channel_stop(). */
#define CHANNEL_POLL_MS	200

/**
 * struct security - what connections are allowed
 * @insecure: TCP without TLS
 * @tls: they have TLS, with these credentials; NULL: they have not
 */
struct security {
	bool insecure;
	const struct tls *tls;
};

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
 * @tls: TLS on the socket, or NULL
 * @process: at the other end of a unix socket; pid 0: it is none
 * @stop: set by channel_stop()
 * @send_until: CLOCK_MONOTONIC in ns: no more is sent then; 0 for ever. Atomic
 * @receive_until: the same of what is waited for; of the thread that receives
 * @lock: one frame at a time; guards @cut
 * @sent: bytes sent, headers included; atomic
 * @cut: a frame may have been sent in part: nothing can follow it
 */
struct channel {
	int fd;
	char peer[128];
	char label[32];
	struct tls_session *tls;
	struct ucred process;
	bool stop;
	uint64_t send_until;
	uint64_t receive_until;
	pthread_mutex_t lock;
	uint64_t sent;
	bool cut;
};

/*
 * An address: "unix:PATH", or "HOST:PORT" ("[::1]:4444", ":4444" to listen on
 * all). TCP without TLS is neither encrypted nor authenticated, so it is refused
 * unless @security says so. A unix peer must be of the same user or root
 * (SO_PEERCRED). See stream/door.h for who listens.
 */
int channel_listen(int *fd, const char *address, const struct security *security,
		   struct error *err);
/* The end of listening, whether a peer was accepted or not. */
void channel_unlisten(int listen_fd);
/* All peers were accepted: the name of a unix socket goes. */
void channel_hide(int listen_fd);
/*
 * Take a connection that has come, with nothing said on it yet: 1, and who it is
 * from; 0 if there is none. -1: it is refused.
 */
int channel_accept(struct channel *channel, int listen_fd,
		   struct sockaddr_storage *from, struct error *err);
/* With TLS, the peer is known, but what it thinks of us is not. */
int channel_connect(struct channel *channel, const char *address,
		    const struct security *security, struct error *err);
/* Is who is at the other end of @data who is at that of @control? */
int channel_same_peer(const struct channel *control, const struct channel *data,
		      struct error *err);
void channel_open(struct channel *channel, int fd, const char *peer);
/* What @from was, @to is; nobody uses either. */
void channel_move(struct channel *to, struct channel *from);
void channel_stop(struct channel *channel);
/* What is being sent, or will be, has so long; then it fails. */
void channel_hurry(struct channel *channel, unsigned int milliseconds);
/* What is received from now on, whole or in part, has so long. */
void channel_expect(struct channel *channel, unsigned int milliseconds);
bool channel_stopped(const struct channel *channel);
void channel_close(struct channel *channel);

/*
 * What came of it so far, without waiting: bytes, 0 if there is nothing, -1 if
 * the connection has ended. @in_frame: a part of a frame has come before.
 */
ssize_t channel_receive_some(struct channel *channel, void *data, size_t size,
			     bool in_frame, struct error *err);
/* Is it what was sent? */
int channel_check(const struct channel *channel, const struct wire_frame *frame,
		  const void *payload, struct error *err);
/* These bytes are no header: why? */
int channel_nonsense(const struct channel *channel,
		     const uint8_t header[WIRE_HEADER_SIZE], struct error *err);

/* @payload has frame->length bytes. */
int channel_send(struct channel *channel, const struct wire_frame *frame,
		 const void *payload, struct error *err);
int channel_send_text(struct channel *channel, enum wire_type type,
		      const char *text, struct error *err);
/* @payload has room for WIRE_MAX_PAYLOAD bytes and one more, set to 0. */
int channel_receive(struct channel *channel, struct wire_frame *frame,
		    void *payload, struct error *err);
uint64_t channel_sent(const struct channel *channel);

/* The two halves of channel_receive(), for who has to look at the header first. */
int channel_receive_header(struct channel *channel, struct wire_frame *frame,
			   struct error *err);
int channel_receive_payload(struct channel *channel,
			    const struct wire_frame *frame, void *payload,
			    struct error *err);

#endif /* MIGCTL_CHANNEL_H */
