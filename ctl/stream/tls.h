/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS 1.3 below a channel: who is at the other end, and that nobody else reads. */
#ifndef MIGCTL_TLS_H
#define MIGCTL_TLS_H

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/error.h"

#define TLS_MAX_PEERS		16
/* Of a peer's identity, an exported value and a tie. */
#define TLS_DIGEST_SIZE		32

/**
 * struct tls_options - what the user says of TLS
 * @dir: has ca-cert.pem, cert.pem and key.pem, unless given by themselves
 * @ca: certificates of the authorities that are trusted
 * @cert: our certificate, and those between it and the authority's
 * @key: its private key
 * @psk: a file with a key that both sides have, instead of certificates
 * @peers: names, of which the peer's certificate must have one
 * @n_peers: how many
 */
struct tls_options {
	const char *dir;
	const char *ca;
	const char *cert;
	const char *key;
	const char *psk;
	const char *peers[TLS_MAX_PEERS];
	size_t n_peers;
};

/**
 * struct tls - what connections are authenticated with
 * @x509: ours, and whom we trust; NULL with a PSK
 * @psk_client: the PSK, for who connects
 * @psk_server: and for who listens
 * @psk_name: its name
 * @psk_key: and itself
 * @priority: TLS 1.3 only, and how both sides know each other
 * @peers: see struct tls_options
 * @n_peers: how many
 */
struct tls {
	gnutls_certificate_credentials_t x509;
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	char *psk_name;
	gnutls_datum_t psk_key;
	gnutls_priority_t priority;
	const char *peers[TLS_MAX_PEERS];
	size_t n_peers;
};

/**
 * struct tls_session - TLS on one connection
 * @tls: see there
 * @gnutls: the library's part
 * @fd: the socket
 * @server: the peer connected to us
 * @ready: the peer is authenticated, so that there can be data
 * @lock: guards @gnutls: GnuTLS lets a sender and a receiver work at the same
 *	time, but not when the keys are renewed, as TLS 1.3 does after 2^24 records
 * @limit: how many bytes it takes from the peer, 0: any
 * @received: bytes it took
 * @first: the first of them
 * @identity: the authenticated peer's: a hash of its certificate or PSK's name
 * @why: why we refused the peer; no message: we did not
 * @alert: tells the peer that
 * @error: what GnuTLS failed with
 */
struct tls_session {
	const struct tls *tls;
	gnutls_session_t gnutls;
	int fd;
	bool server;
	bool ready;
	pthread_mutex_t lock;
	uint64_t limit;
	uint64_t received;
	uint8_t first[4];
	uint8_t identity[TLS_DIGEST_SIZE];
	struct error why;
	gnutls_alert_description_t alert;
	int error;
};

/* tls_credentials.c: the files are read now, and are not needed later. */
bool tls_wanted(const struct tls_options *options);
int tls_open(struct tls *tls, const struct tls_options *options,
	     struct error *err);
void tls_close(struct tls *tls);
/* More names, at the commas of @text, which stays the caller's. */
int tls_add_peers(struct tls_options *options, char *text, struct error *err);
/* Is the peer's certificate valid, and has it one of the names? GnuTLS asks. */
int tls_verify(gnutls_session_t gnutls);

/* @fd stays the caller's. */
int tls_session_open(struct tls_session **session, const struct tls *tls, int fd,
		     bool server, struct error *err);
/* Tells the peer, if @polite. */
void tls_session_close(struct tls_session *session, bool polite);

/*
 * None of these waits. -EAGAIN: call again with the same when the socket is
 * ready, for @events if given; -EPIPE, -ECONNRESET...: the connection is gone;
 * -EPROTO: tls_explain() says what is wrong.
 */
int tls_handshake(struct tls_session *session, short *events);
ssize_t tls_send(struct tls_session *session, const struct iovec *iov, size_t n);
ssize_t tls_receive(struct tls_session *session, void *data, size_t size);
int tls_explain(struct tls_session *session, const char *peer, struct error *err);

bool tls_same_peer(const struct tls_session *a, const struct tls_session *b);
/*
 * What ties connection @data to @control, over @message: only who has made both
 * of them knows it. Both sides get the same.
 */
int tls_tie(struct tls_session *control, struct tls_session *data,
	    const void *message, size_t size, uint8_t tie[TLS_DIGEST_SIZE],
	    struct error *err);

/* Do these bytes begin a TLS connection, or an answer to one? */
bool tls_is_tls(const uint8_t first[4]);

#endif /* MIGCTL_TLS_H */
