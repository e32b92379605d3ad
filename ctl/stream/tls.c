// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "stream/tls.h"

/* The longest message of a handshake that is taken: a chain of certificates. */
#define HANDSHAKE_MAX_BYTES	(32u << 10)
/* One record. */
#define RECORD_BYTES		16384

/* RFC 9266, and ours. */
#define BINDING_LABEL		"EXPORTER-Channel-Binding"
#define JOIN_LABEL		"EXPORTER-migtrack-join"

/*
 * The socket's sends and receives, which never wait. What the peer may send
 * before it has authenticated is limited, however it is cut into records.
 */
static ssize_t push(gnutls_transport_ptr_t data, const giovec_t *iov, int n)
{
	struct tls_session *session = data;
	struct msghdr msg = {
		.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n,
	};
	ssize_t len;

	len = sendmsg(session->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (len < 0)
		gnutls_transport_set_errno(session->gnutls, errno);
	return len;
}

static ssize_t pull(gnutls_transport_ptr_t data, void *buffer, size_t size)
{
	struct tls_session *session = data;
	size_t i;
	ssize_t len;

	if (session->limit && size > session->limit - session->received)
		size = session->limit - session->received;
	if (!size) {
		error_set(&session->why, EXIT_PEER,
			  "the peer sent more than %llu bytes without saying who it is",
			  (unsigned long long)session->limit);
		gnutls_transport_set_errno(session->gnutls, EMSGSIZE);
		return -1;
	}
	len = recv(session->fd, buffer, size, MSG_DONTWAIT);
	if (len < 0)
		gnutls_transport_set_errno(session->gnutls, errno);
	for (i = 0; len > 0 && i < (size_t)len; i++) {
		if (session->received + i < sizeof(session->first))
			session->first[session->received + i] = ((uint8_t *)buffer)[i];
	}
	if (len > 0)
		session->received += (uint64_t)len;
	return len;
}

/* GnuTLS asks before it would wait, which our sockets do not. */
static int pull_timeout(gnutls_transport_ptr_t data, unsigned int ms)
{
	const struct tls_session *session = data;
	struct pollfd pfd = { .fd = session->fd, .events = POLLIN };

	return poll(&pfd, 1, ms == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)ms);
}

static int set_credentials(struct tls_session *session)
{
	const struct tls *tls = session->tls;

	if (!tls->x509)
		return gnutls_credentials_set(session->gnutls, GNUTLS_CRD_PSK,
					      session->server ?
					      (void *)tls->psk_server :
					      (void *)tls->psk_client);
	if (session->server) {
		gnutls_certificate_server_set_request(session->gnutls,
						      GNUTLS_CERT_REQUIRE);
		/* Who has none that fits sends it all the same, and is told why not. */
		gnutls_certificate_send_x509_rdn_sequence(session->gnutls, 1);
	}
	gnutls_session_set_verify_function(session->gnutls, tls_verify);
	return gnutls_credentials_set(session->gnutls, GNUTLS_CRD_CERTIFICATE,
				      tls->x509);
}

/**
 * tls_session_open() - put TLS on a connection
 * @session: set
 * @tls: outlives it
 * @fd: a connected stream socket
 * @server: the peer connected to us
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int tls_session_open(struct tls_session **session, const struct tls *tls, int fd,
		     bool server, struct error *err)
{
	struct tls_session *s = calloc(1, sizeof(*s));

	if (!s || gnutls_init(&s->gnutls, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
			      GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS)) {
		free(s);
		return error_set(err, EXIT_FAILED, "out of memory");
	}
	s->tls = tls;
	s->fd = fd;
	s->server = server;
	pthread_mutex_init(&s->lock, NULL);
	gnutls_session_set_ptr(s->gnutls, s);
	gnutls_transport_set_ptr(s->gnutls, s);
	gnutls_transport_set_vec_push_function(s->gnutls, push);
	gnutls_transport_set_pull_function(s->gnutls, pull);
	gnutls_transport_set_pull_timeout_function(s->gnutls, pull_timeout);
	gnutls_handshake_set_max_packet_length(s->gnutls, HANDSHAKE_MAX_BYTES);
	/* Who calls tls_handshake() has a clock. */
	gnutls_handshake_set_timeout(s->gnutls, 0);
	if (gnutls_priority_set(s->gnutls, tls->priority) || set_credentials(s)) {
		tls_session_close(s, false);
		return error_set(err, EXIT_FAILED, "this host's GnuTLS can't do what is asked of it");
	}
	*session = s;
	return 0;
}

void tls_session_close(struct tls_session *session, bool polite)
{
	if (!session)
		return;
	if (polite)
		gnutls_bye(session->gnutls, GNUTLS_SHUT_WR);
	gnutls_deinit(session->gnutls);
	pthread_mutex_destroy(&session->lock);
	free(session);
}

/* What GnuTLS returned, as an errno. */
static int tls_errno(struct tls_session *session, int ret)
{
	if (!gnutls_error_is_fatal(ret))
		return -EAGAIN;
	session->error = ret;
	if (!session->why.message[0] &&
	    (ret == GNUTLS_E_PREMATURE_TERMINATION || ret == GNUTLS_E_PUSH_ERROR ||
	     ret == GNUTLS_E_PULL_ERROR))
		return -EPIPE;
	return -EPROTO;
}

/* So that the other side can say what is wrong, too. */
static void alert_send(struct tls_session *session, int ret)
{
	/* With a key, what does not fit is the key. */
	if (!session->alert && ret == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER &&
	    !session->tls->x509)
		session->alert = GNUTLS_A_DECRYPT_ERROR;
	if (session->alert)
		gnutls_alert_send(session->gnutls, GNUTLS_AL_FATAL, session->alert);
	else
		gnutls_alert_send_appropriate(session->gnutls, ret);
}

/* The same certificate or PSK: the same hash. */
static int identify(struct tls_session *session)
{
	gnutls_datum_t name = {};
	const gnutls_datum_t *who = &name;
	unsigned int n;

	if (session->tls->x509) {
		who = gnutls_certificate_get_peers(session->gnutls, &n);
		if (!who)
			return GNUTLS_E_NO_CERTIFICATE_FOUND;
	} else {
		name.data = (unsigned char *)session->tls->psk_name;
		name.size = (unsigned int)strlen(session->tls->psk_name);
	}
	return gnutls_hash_fast(GNUTLS_DIG_SHA256, who->data, who->size,
				session->identity);
}

/**
 * tls_handshake() - find out who is at the other end
 * @session: new
 * @events: what to wait for, set on -EAGAIN
 *
 * Return: 0, or see the header.
 */
int tls_handshake(struct tls_session *session, short *events)
{
	int ret;

	do {
		ret = gnutls_handshake(session->gnutls);
	} while (ret == GNUTLS_E_INTERRUPTED || ret == GNUTLS_E_WARNING_ALERT_RECEIVED);
	*events = gnutls_record_get_direction(session->gnutls) ? POLLOUT : POLLIN;
	if (!ret)
		ret = identify(session);
	session->ready = !ret;
	if (!ret)
		return 0;
	if (gnutls_error_is_fatal(ret) && ret != GNUTLS_E_FATAL_ALERT_RECEIVED)
		alert_send(session, ret);
	return tls_errno(session, ret);
}

/**
 * tls_send() - send some of it
 * @session: authenticated
 * @iov: what
 * @n: how many parts
 *
 * Return: bytes that were sent, of one record at the most; or see the header.
 */
ssize_t tls_send(struct tls_session *session, const struct iovec *iov, size_t n)
{
	uint8_t record[RECORD_BYTES];
	const void *data = iov->iov_base;
	size_t size = iov->iov_len < RECORD_BYTES ? iov->iov_len : RECORD_BYTES;
	size_t more;
	ssize_t ret;

	if (!session->ready)
		return -EPROTO;
	/* A header and the beginning of its payload are one record. */
	if (size < RECORD_BYTES && n > 1 && iov[1].iov_len) {
		more = RECORD_BYTES - size;
		if (more > iov[1].iov_len)
			more = iov[1].iov_len;
		memcpy(record, data, size);
		memcpy(record + size, iov[1].iov_base, more);
		data = record;
		size += more;
	}
	pthread_mutex_lock(&session->lock);
	ret = gnutls_record_send(session->gnutls, data, size);
	if (ret < 0)
		ret = tls_errno(session, (int)ret);
	pthread_mutex_unlock(&session->lock);
	return ret;
}

/**
 * tls_receive() - take what has come
 * @session: authenticated
 * @data: filled
 * @size: at the most
 *
 * Return: bytes; 0: the peer has closed; or see the header.
 */
ssize_t tls_receive(struct tls_session *session, void *data, size_t size)
{
	ssize_t ret;

	pthread_mutex_lock(&session->lock);
	ret = gnutls_record_recv(session->gnutls, data, size);
	if (ret < 0)
		ret = tls_errno(session, (int)ret);
	pthread_mutex_unlock(&session->lock);
	return ret;
}

static const struct tls_alert {
	gnutls_alert_description_t alert;
	const char *message;
	const char *advice;
} alerts[] = {
	{ GNUTLS_A_BAD_CERTIFICATE, "the peer does not take our certificate",
	  "see what migctl says on the other host" },
	{ GNUTLS_A_CERTIFICATE_EXPIRED, "to the peer our certificate has expired, or is not valid yet",
	  "make a new one, or see whether both hosts' clocks are right" },
	{ GNUTLS_A_UNKNOWN_CA, "our certificate is not of an authority that the peer trusts",
	  "give both hosts certificates of the same authority, whose own is in ca-cert.pem" },
	{ GNUTLS_A_ACCESS_DENIED, "our certificate does not have the name that the peer expects",
	  "give the other side --peer with the name in this side's cert.pem" },
	{ GNUTLS_A_CERTIFICATE_REQUIRED, "the peer wants a certificate, and there is none here",
	  "give both sides --tls-dir, or both the same --tls-psk" },
	{ GNUTLS_A_DECRYPT_ERROR, "the peer has another key, or another name for it",
	  "give both sides the same --tls-psk file" },
	{ GNUTLS_A_HANDSHAKE_FAILURE, "the peer and we have no way in common to know each other",
	  "give both sides --tls-dir, or both the same --tls-psk" },
};

static const struct tls_failure {
	int error;
	const char *message;
	const char *advice;
} failures[] = {
	{ GNUTLS_E_NO_CERTIFICATE_FOUND, "the peer has no certificate",
	  "give both sides --tls-dir, or both the same --tls-psk" },
	{ GNUTLS_E_CERTIFICATE_REQUIRED, "the peer has no certificate",
	  "give both sides --tls-dir, or both the same --tls-psk" },
	{ GNUTLS_E_INSUFFICIENT_CREDENTIALS, "the peer and we have no way in common to know each other",
	  "give both sides --tls-dir, or both the same --tls-psk" },
	{ GNUTLS_E_NO_CIPHER_SUITES, "the peer and we have no way in common to know each other",
	  "give both sides --tls-dir, or both the same --tls-psk" },
	{ GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER, "the peer has another key",
	  "give both sides the same --tls-psk file" },
};

static int explain_alert(gnutls_alert_description_t alert, const char *peer,
			 struct error *err)
{
	const char *name = gnutls_alert_get_name(alert);
	size_t i;

	for (i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++) {
		if (alerts[i].alert != alert)
			continue;
		error_set(err, EXIT_PEER, "%s: %s", peer, alerts[i].message);
		return error_advise(err, "%s", alerts[i].advice);
	}
	error_set(err, EXIT_PEER, "%s: the peer ended TLS: %s", peer,
		  name ? name : "unknown alert");
	return error_advise(err, "see what migctl says on the other host");
}

/**
 * tls_explain() - what is wrong after -EPROTO
 * @session: that failed
 * @peer: its name
 * @err: filled
 *
 * Return: -1.
 */
int tls_explain(struct tls_session *session, const char *peer, struct error *err)
{
	size_t i;

	if (session->why.message[0]) {
		error_set(err, session->why.code, "%s: %s", peer, session->why.message);
		return error_advise(err, "%s", session->why.advice);
	}
	if (session->error == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return explain_alert(gnutls_alert_get(session->gnutls), peer, err);
	if (session->received >= sizeof(session->first) && !tls_is_tls(session->first)) {
		error_set(err, EXIT_PEER, "%s: the peer does not speak TLS", peer);
		return error_advise(err, "give both sides --tls-dir or --tls-psk, or both --insecure where the network is trusted");
	}
	for (i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		if (failures[i].error != session->error)
			continue;
		error_set(err, EXIT_PEER, "%s: %s", peer, failures[i].message);
		return error_advise(err, "%s", failures[i].advice);
	}
	error_set(err, EXIT_PEER, "%s: TLS failed: %s", peer,
		  gnutls_strerror(session->error));
	return error_advise(err, "see what migctl says on the other host");
}

/* A record of a handshake, or an alert; of TLS 1.x. */
bool tls_is_tls(const uint8_t first[4])
{
	return (first[0] == 22 || first[0] == 21) && first[1] == 3;
}

bool tls_same_peer(const struct tls_session *a, const struct tls_session *b)
{
	return !gnutls_memcmp(a->identity, b->identity, sizeof(a->identity));
}

static int export(struct tls_session *session, const char *label,
		  uint8_t value[TLS_DIGEST_SIZE])
{
	int ret;

	pthread_mutex_lock(&session->lock);
	ret = gnutls_prf_rfc5705(session->gnutls, strlen(label), label, 0, NULL,
				 TLS_DIGEST_SIZE, (char *)value);
	pthread_mutex_unlock(&session->lock);
	return ret;
}

int tls_tie(struct tls_session *control, struct tls_session *data,
	    const void *message, size_t size, uint8_t tie[TLS_DIGEST_SIZE],
	    struct error *err)
{
	uint8_t key[TLS_DIGEST_SIZE], binding[TLS_DIGEST_SIZE];
	gnutls_hmac_hd_t hmac;
	int ret;

	ret = export(control, JOIN_LABEL, key);
	if (!ret)
		ret = export(data, BINDING_LABEL, binding);
	if (!ret)
		ret = gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, key, sizeof(key));
	if (ret)
		return error_set(err, EXIT_FAILED, "TLS exports no keys: %s",
				 gnutls_strerror(ret));
	ret = gnutls_hmac(hmac, message, size);
	if (!ret)
		ret = gnutls_hmac(hmac, binding, sizeof(binding));
	gnutls_hmac_deinit(hmac, tie);
	gnutls_memset(key, 0, sizeof(key));
	return ret ? error_set(err, EXIT_FAILED, "HMAC: %s", gnutls_strerror(ret)) : 0;
}
