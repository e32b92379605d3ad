/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates for tests, made when they are needed. */
#ifndef MIGTRACK_STREAM_CERTS_H
#define MIGTRACK_STREAM_CERTS_H

#include <gnutls/x509.h>
#include <stdbool.h>

#include "stream/tls.h"

/* An authority. */
struct authority {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t cert;
};

/* What is unusual about a certificate, and for whom it is. */
struct wanted {
	const char *dns;
	const char *ip;
	int starts;		/* seconds from now */
	int ends;		/* 0: a day */
	const char *purpose;	/* the only one */
};

void authority_make(struct authority *authority, const char *name);
void authority_free(struct authority *authority);
/* A directory like that of --tls-dir. */
void certs_make(char dir[64], const struct authority *authority,
		const struct wanted *wanted);
void certs_remove(const char *dir);
void file_make(const char *dir, const char *name, const char *text, size_t size,
	       unsigned int mode);

#endif /* MIGTRACK_STREAM_CERTS_H */
