// SPDX-License-Identifier: GPL-2.0-or-later
/* Certificates, keys and names: ours, and the peer's. */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stream/tls.h"

/* No file of certificates or keys is longer. */
#define FILE_MAX_BYTES		(1u << 20)
/* Of a PSK, in bytes: less can be guessed. */
#define PSK_MIN_BYTES		16
#define PSK_NAME_MAX		128

#define PRIORITY		"NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define PRIORITY_PSK		"NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK"

bool tls_wanted(const struct tls_options *options)
{
	return options->dir || options->ca || options->cert || options->key ||
	       options->psk || options->n_peers;
}

int tls_add_peers(struct tls_options *options, char *text, struct error *err)
{
	char *name, *rest = text;

	while ((name = strsep(&rest, ","))) {
		if (!*name) {
			error_set(err, EXIT_USAGE, "--peer: a name is empty");
			return error_advise(err, "give the name in the peer's certificate: --peer NAME[,NAME...]");
		}
		if (options->n_peers == TLS_MAX_PEERS)
			return error_set(err, EXIT_USAGE, "--peer: more than %d names",
					 TLS_MAX_PEERS);
		options->peers[options->n_peers++] = name;
	}
	return 0;
}

/* A secret is for its owner, who is us or root. */
static int check_secret(const char *path, const struct stat *st,
			struct error *err)
{
	if (st->st_mode & 077) {
		error_set(err, EXIT_PERMISSION, "%s: others than its owner may use it (mode %04o)",
			  path, (unsigned int)st->st_mode & 07777);
		return error_advise(err, "chmod 600 it; if others have read it, make a new key");
	}
	if (st->st_uid && st->st_uid != geteuid()) {
		error_set(err, EXIT_PERMISSION, "%s: it is user %u's, and we are user %u",
			  path, (unsigned int)st->st_uid, (unsigned int)geteuid());
		return error_advise(err, "give a key that is root's or this user's");
	}
	return 0;
}

static int fd_read(int fd, const char *path, size_t size, gnutls_datum_t *text,
		   struct error *err)
{
	size_t done = 0;
	ssize_t len;

	text->data = calloc(1, size + 1);
	if (!text->data)
		return error_set(err, EXIT_FAILED, "out of memory");
	do {
		len = read(fd, text->data + done, size - done);
		done += len > 0 ? (size_t)len : 0;
	} while (len > 0 && done < size);
	text->size = (unsigned int)done;
	if (len >= 0)
		return 0;
	return error_set(err, EXIT_FAILED, "%s: %s", path, strerror(errno));
}

/* All of a file; what is checked is what is read. */
static int file_read(const char *path, bool secret, gnutls_datum_t *text,
		     struct error *err)
{
	struct stat st;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st)) {
		ret = error_set(err, errno == EACCES ? EXIT_PERMISSION : EXIT_USAGE,
				"%s: %s", path, strerror(errno));
		error_advise(err, "see --tls-dir and --tls-psk in migctl(8): what files there must be, and how to make them");
	} else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES) {
		ret = error_set(err, EXIT_USAGE, "%s: not a file of certificates or keys",
				path);
	} else {
		ret = secret ? check_secret(path, &st, err) : 0;
		if (!ret)
			ret = fd_read(fd, path, (size_t)st.st_size, text, err);
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

static void text_free(gnutls_datum_t *text)
{
	if (text->data)
		gnutls_memset(text->data, 0, text->size);
	free(text->data);
	*text = (gnutls_datum_t){};
}

static int file_error(const char *path, const char *what, int ret,
		      struct error *err)
{
	error_set(err, EXIT_USAGE, "%s: not %s: %s", path, what,
		  gnutls_strerror(ret));
	return error_advise(err, "give PEM files as certtool and openssl write them, the key without a password");
}

/* One of the three: its own option, or its usual name in the directory. */
static int file_path(const struct tls_options *options, const char *given,
		     const char *usual, char *path, size_t size,
		     struct error *err)
{
	int len;

	if (!given && !options->dir) {
		error_set(err, EXIT_USAGE, "TLS with certificates needs %s", usual);
		return error_advise(err, "give --tls-dir DIR with ca-cert.pem, cert.pem and key.pem, or --tls-ca, --tls-cert and --tls-key; or --tls-psk FILE");
	}
	if (given)
		len = snprintf(path, size, "%s", given);
	else
		len = snprintf(path, size, "%s/%s", options->dir, usual);
	if (len < (int)size)
		return 0;
	return error_set(err, EXIT_USAGE, "%.80s...: too long for a file's name",
			 path);
}

static int load_ca(struct tls *tls, const char *path, struct error *err)
{
	gnutls_datum_t text = {};
	int ret;

	ret = file_read(path, false, &text, err);
	if (!ret) {
		ret = gnutls_certificate_set_x509_trust_mem(tls->x509, &text,
							    GNUTLS_X509_FMT_PEM);
		ret = ret > 0 ? 0 : file_error(path, "an authority's certificate",
					       ret ? ret : GNUTLS_E_NO_CERTIFICATE_FOUND, err);
	}
	text_free(&text);
	return ret;
}

/* The peer would say so, but only when the guest is on its way. */
static int check_own(const struct tls *tls, const char *path, struct error *err)
{
	gnutls_x509_crt_t *chain = NULL;
	unsigned int n = 0, i;
	time_t now = time(NULL);
	int ret = 0;

	if (gnutls_certificate_get_x509_crt(tls->x509, 0, &chain, &n) || !n)
		return error_set(err, EXIT_USAGE, "%s: no certificate in it", path);
	if (gnutls_x509_crt_get_expiration_time(chain[0]) < now) {
		ret = error_set(err, EXIT_USAGE, "%s: this certificate has expired", path);
		error_advise(err, "make a new one of the same key, or see whether this host's clock is right");
	} else if (gnutls_x509_crt_get_activation_time(chain[0]) > now) {
		ret = error_set(err, EXIT_USAGE, "%s: this certificate is not valid yet", path);
		error_advise(err, "see whether this host's clock is right");
	}
	for (i = 0; i < n; i++)
		gnutls_x509_crt_deinit(chain[i]);
	gnutls_free(chain);
	return ret;
}

static int load_pair(struct tls *tls, const char *cert_path, const char *key_path,
		     struct error *err)
{
	gnutls_datum_t cert = {}, key = {};
	int ret;

	ret = file_read(cert_path, false, &cert, err);
	if (!ret)
		ret = file_read(key_path, true, &key, err);
	if (!ret) {
		ret = gnutls_certificate_set_x509_key_mem(tls->x509, &cert, &key,
							  GNUTLS_X509_FMT_PEM);
		if (ret == GNUTLS_E_CERTIFICATE_KEY_MISMATCH) {
			ret = error_set(err, EXIT_USAGE, "%s is not the key of %s",
					key_path, cert_path);
			error_advise(err, "give a certificate and its own key");
		} else if (ret) {
			ret = file_error(cert_path, "a certificate with a key", ret, err);
		}
	}
	if (!ret)
		ret = check_own(tls, cert_path, err);
	text_free(&cert);
	text_free(&key);
	return ret;
}

static int open_x509(struct tls *tls, const struct tls_options *options,
		     struct error *err)
{
	char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];

	if (file_path(options, options->ca, "ca-cert.pem", ca, sizeof(ca), err) ||
	    file_path(options, options->cert, "cert.pem", cert, sizeof(cert), err) ||
	    file_path(options, options->key, "key.pem", key, sizeof(key), err))
		return -1;
	if (!options->n_peers) {
		error_set(err, EXIT_USAGE, "whose certificate is to be at the other end?");
		return error_advise(err, "give --peer NAME, a name in the peer's certificate: the authority's word alone would let in all that it knows");
	}
	if (gnutls_certificate_allocate_credentials(&tls->x509))
		return error_set(err, EXIT_FAILED, "out of memory");
	if (load_ca(tls, ca, err) || load_pair(tls, cert, key, err))
		return -1;
	return 0;
}

static int psk_error(const char *path, const char *what, struct error *err)
{
	error_set(err, EXIT_USAGE, "%s: %s", path, what);
	return error_advise(err, "make it with: psktool -u migtrack -p FILE, and carry it to the other host");
}

/* NAME:HEX, one line, as psktool writes it. */
static int psk_parse(struct tls *tls, gnutls_datum_t *text, const char *path,
		     struct error *err)
{
	char *line = (char *)text->data, *hex;
	gnutls_datum_t digits;

	if (strlen(line) != text->size)
		return psk_error(path, "not text", err);
	line[strcspn(line, "\r\n")] = '\0';
	hex = strchr(line, ':');
	if (!hex || hex == line || hex - line > PSK_NAME_MAX)
		return psk_error(path, "not a line NAME:KEY, the key in hexadecimal digits", err);
	*hex++ = '\0';
	digits.data = (unsigned char *)hex;
	digits.size = (unsigned int)strlen(hex);
	if (gnutls_hex_decode2(&digits, &tls->psk_key))
		return psk_error(path, "its key is not in hexadecimal digits", err);
	if (tls->psk_key.size < PSK_MIN_BYTES)
		return psk_error(path, "its key is too short to be safe: at least 32 hexadecimal digits", err);
	tls->psk_name = strdup(line);
	return tls->psk_name ? 0 : error_set(err, EXIT_FAILED, "out of memory");
}

static int refuse(struct tls_session *session, gnutls_alert_description_t alert,
		  const char *what, const char *advice)
{
	session->alert = alert;
	error_set(&session->why, EXIT_PERMISSION, "%s", what);
	return error_advise(&session->why, "%s", advice);
}

/* An unknown name gets no key. The alert does not tell which of the two is wrong. */
static int psk_find(gnutls_session_t gnutls, const char *name,
		    gnutls_datum_t *key)
{
	struct tls_session *session = gnutls_session_get_ptr(gnutls);
	const struct tls *tls = session->tls;

	if (strcmp(name, tls->psk_name))
		return refuse(session, GNUTLS_A_DECRYPT_ERROR,
			      "the peer's key has another name than ours",
			      "give both sides the same --tls-psk file");
	key->data = gnutls_malloc(tls->psk_key.size);
	if (!key->data)
		return -1;
	memcpy(key->data, tls->psk_key.data, tls->psk_key.size);
	key->size = tls->psk_key.size;
	return 0;
}

static int open_psk(struct tls *tls, const struct tls_options *options,
		    struct error *err)
{
	gnutls_datum_t text = {};
	int ret;

	if (options->dir || options->ca || options->cert || options->key ||
	    options->n_peers) {
		error_set(err, EXIT_USAGE, "--tls-psk and certificates exclude each other");
		return error_advise(err, "with --tls-psk, whoever has the key is the peer: leave out --peer and the other --tls options");
	}
	ret = file_read(options->psk, true, &text, err);
	if (!ret)
		ret = psk_parse(tls, &text, options->psk, err);
	text_free(&text);
	if (ret)
		return ret;
	if (gnutls_psk_allocate_client_credentials(&tls->psk_client) ||
	    gnutls_psk_allocate_server_credentials(&tls->psk_server) ||
	    gnutls_psk_set_client_credentials(tls->psk_client, tls->psk_name,
					      &tls->psk_key, GNUTLS_PSK_KEY_RAW))
		return error_set(err, EXIT_FAILED, "out of memory");
	gnutls_psk_set_server_credentials_function(tls->psk_server, psk_find);
	return 0;
}

/**
 * tls_open() - read what connections are authenticated with
 * @tls: filled; to be closed also after a failure
 * @options: what the user says; the names stay the caller's
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int tls_open(struct tls *tls, const struct tls_options *options,
	     struct error *err)
{
	int ret;

	*tls = (struct tls){ .n_peers = options->n_peers };
	memcpy(tls->peers, options->peers, sizeof(tls->peers));
	ret = options->psk ? open_psk(tls, options, err) :
			     open_x509(tls, options, err);
	if (ret)
		return ret;
	if (gnutls_priority_init(&tls->priority,
				 tls->x509 ? PRIORITY : PRIORITY_PSK, NULL))
		return error_set(err, EXIT_FAILED, "this host's GnuTLS has no TLS 1.3");
	return 0;
}

/**
 * tls_close() - forget it
 * @tls: opened, or all 0; no session of it is left
 */
void tls_close(struct tls *tls)
{
	if (tls->x509)
		gnutls_certificate_free_credentials(tls->x509);
	if (tls->psk_client)
		gnutls_psk_free_client_credentials(tls->psk_client);
	if (tls->psk_server)
		gnutls_psk_free_server_credentials(tls->psk_server);
	if (tls->priority)
		gnutls_priority_deinit(tls->priority);
	if (tls->psk_key.data)
		gnutls_memset(tls->psk_key.data, 0, tls->psk_key.size);
	gnutls_free(tls->psk_key.data);
	free(tls->psk_name);
	*tls = (struct tls){};
}

static int refuse_status(struct tls_session *session, unsigned int status)
{
	/* One of the same name has another key. */
	if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE))
		return refuse(session, GNUTLS_A_UNKNOWN_CA,
			      "the peer's certificate is not of an authority that is trusted here",
			      "give both hosts certificates of the same authority, whose own is in ca-cert.pem");
	if (status & GNUTLS_CERT_EXPIRED)
		return refuse(session, GNUTLS_A_CERTIFICATE_EXPIRED,
			      "the peer's certificate has expired",
			      "make a new one for the peer, or see whether this host's clock is right");
	if (status & GNUTLS_CERT_NOT_ACTIVATED)
		return refuse(session, GNUTLS_A_CERTIFICATE_EXPIRED,
			      "the peer's certificate is not valid yet",
			      "see whether both hosts' clocks are right");
	if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return refuse(session, GNUTLS_A_BAD_CERTIFICATE,
			      "the peer's certificate is not for its side of a connection",
			      "make it with both tls_www_client and tls_www_server: a host is once source and once destination");
	return refuse(session, GNUTLS_A_BAD_CERTIFICATE,
		      "the peer's certificate is not valid",
		      "look at it on the other host with certtool --verify --load-ca-certificate ca-cert.pem --infile cert.pem");
}

/* One of the names that a certificate has, for the message. */
static void name_of(gnutls_x509_crt_t cert, char *name, size_t size)
{
	unsigned char value[256];
	size_t len = sizeof(value) - 1;
	int type;

	type = gnutls_x509_crt_get_subject_alt_name(cert, 0, value, &len, NULL);
	if (type == GNUTLS_SAN_DNSNAME) {
		snprintf(name, size, "%.*s", (int)len, (char *)value);
		return;
	}
	len = size;
	if (gnutls_x509_crt_get_dn(cert, name, &len))
		snprintf(name, size, "without a name");
}

static int check_name(struct tls_session *session, gnutls_x509_crt_t cert)
{
	const struct tls *tls = session->tls;
	char name[256], what[600];
	size_t i;

	for (i = 0; i < tls->n_peers; i++) {
		if (gnutls_x509_crt_check_hostname2(cert, tls->peers[i],
						    GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS))
			return 0;
	}
	name_of(cert, name, sizeof(name));
	snprintf(what, sizeof(what), "the peer's certificate is for %.200s, not for %.200s%s",
		 name, tls->peers[0], tls->n_peers > 1 ? " or another of --peer" : "");
	return refuse(session, GNUTLS_A_ACCESS_DENIED, what,
		      "another host may be at the other end; if it is the right one, give the name in its certificate with --peer");
}

static int check_certificate(struct tls_session *session)
{
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t cert;
	unsigned int n;
	int ret;

	chain = gnutls_certificate_get_peers(session->gnutls, &n);
	if (!chain || gnutls_x509_crt_init(&cert))
		return refuse_status(session, 0);
	ret = gnutls_x509_crt_import(cert, chain, GNUTLS_X509_FMT_DER);
	ret = ret ? refuse_status(session, 0) : check_name(session, cert);
	gnutls_x509_crt_deinit(cert);
	return ret;
}

int tls_verify(gnutls_session_t gnutls)
{
	struct tls_session *session = gnutls_session_get_ptr(gnutls);
	gnutls_typed_vdata_st purpose = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(session->server ? GNUTLS_KP_TLS_WWW_CLIENT :
					  GNUTLS_KP_TLS_WWW_SERVER),
	};
	unsigned int status = 0;

	if (gnutls_certificate_verify_peers(gnutls, &purpose, 1, &status) || status)
		return refuse_status(session, status);
	return check_certificate(session);
}
