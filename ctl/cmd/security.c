// SPDX-License-Identifier: GPL-2.0-or-later
#include "cmd/security.h"
#include "stream/address.h"

int security_option(struct security_options *options, int option, char *value,
		    struct error *err)
{
	switch (option) {
	case OPTION_INSECURE:
		options->insecure = true;
		return 0;
	case OPTION_TLS_DIR:
		options->tls.dir = value;
		return 0;
	case OPTION_TLS_CA:
		options->tls.ca = value;
		return 0;
	case OPTION_TLS_CERT:
		options->tls.cert = value;
		return 0;
	case OPTION_TLS_KEY:
		options->tls.key = value;
		return 0;
	case OPTION_TLS_PSK:
		options->tls.psk = value;
		return 0;
	case OPTION_PEER:
		return tls_add_peers(&options->tls, value, err);
	default:
		return 0;
	}
}

int security_open(struct secured *secured, const struct security_options *options,
		  const char *to, struct error *err)
{
	struct tls_options tls = options->tls;

	*secured = (struct secured){ .security.insecure = options->insecure };
	if (!tls_wanted(&tls))
		return 0;
	if (options->insecure) {
		error_set(err, EXIT_USAGE, "--insecure and TLS exclude each other");
		return error_advise(err, "leave out --insecure: TCP with TLS is allowed without it");
	}
	/* Who is asked for by name has to have it. */
	if (!tls.psk && !tls.n_peers && to &&
	    !tcp_host(to, secured->host, sizeof(secured->host)))
		tls.peers[tls.n_peers++] = secured->host;
	secured->security.tls = &secured->tls;
	return tls_open(&secured->tls, &tls, err);
}

void security_close(struct secured *secured)
{
	tls_close(&secured->tls);
}
