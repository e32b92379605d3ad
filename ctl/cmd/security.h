/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What migrate and receive are told of who may be at the other end. */
#ifndef MIGCTL_SECURITY_H
#define MIGCTL_SECURITY_H

#include <stdbool.h>

#include "common/error.h"
#include "stream/channel.h"
#include "stream/tls.h"

enum {
	OPTION_INSECURE = 512, OPTION_TLS_DIR, OPTION_TLS_CA, OPTION_TLS_CERT,
	OPTION_TLS_KEY, OPTION_TLS_PSK, OPTION_PEER,
};

#define SECURITY_OPTIONS \
	{ "insecure", no_argument, NULL, OPTION_INSECURE }, \
	{ "tls-dir", required_argument, NULL, OPTION_TLS_DIR }, \
	{ "tls-ca", required_argument, NULL, OPTION_TLS_CA }, \
	{ "tls-cert", required_argument, NULL, OPTION_TLS_CERT }, \
	{ "tls-key", required_argument, NULL, OPTION_TLS_KEY }, \
	{ "tls-psk", required_argument, NULL, OPTION_TLS_PSK }, \
	{ "peer", required_argument, NULL, OPTION_PEER }

/* Of both commands' help, whose columns are the same. */
#define SECURITY_USAGE \
	"  --tls-dir DIR        TLS with ca-cert.pem, cert.pem and key.pem of that directory;\n" \
	"                       or with --tls-ca, --tls-cert and --tls-key FILE\n" \
	"  --peer NAME,...      the peer's certificate must have one of these names\n" \
	"  --tls-psk FILE       TLS with a key that both sides have, not certificates\n" \
	"  --insecure           allow TCP without TLS: neither encrypted nor authenticated\n"

struct security_options {
	bool insecure;
	struct tls_options tls;
};

/**
 * struct secured - the same, with files read
 * @security: for channels
 * @tls: of it, all 0 without TLS
 * @host: the address's, the peer's name if no other is given
 */
struct secured {
	struct security security;
	struct tls tls;
	char host[256];
};

/* Takes a value of option_next(), if it is one of ours. */
int security_option(struct security_options *options, int option, char *value,
		    struct error *err);
/*
 * @to: where we connect to, NULL for who listens. To be closed also after a
 * failure.
 */
int security_open(struct secured *secured, const struct security_options *options,
		  const char *to, struct error *err);
void security_close(struct secured *secured);

#endif /* MIGCTL_SECURITY_H */
