// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stream_certs.h"
#include "unit.h"

#define DAY	(24 * 60 * 60)

static gnutls_x509_privkey_t key_make(void)
{
	gnutls_x509_privkey_t key;

	CHECK_EQ(gnutls_x509_privkey_init(&key), 0);
	CHECK_EQ(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
					      0), 0);
	return key;
}

static gnutls_x509_crt_t cert_begin(gnutls_x509_privkey_t key, const char *name,
				    uint32_t number)
{
	gnutls_x509_crt_t cert;

	CHECK_EQ(gnutls_x509_crt_init(&cert), 0);
	CHECK_EQ(gnutls_x509_crt_set_version(cert, 3), 0);
	CHECK_EQ(gnutls_x509_crt_set_serial(cert, &number, sizeof(number)), 0);
	CHECK_EQ(gnutls_x509_crt_set_key(cert, key), 0);
	CHECK_EQ(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0,
					       name, (unsigned int)strlen(name)), 0);
	return cert;
}

void authority_make(struct authority *authority, const char *name)
{
	authority->key = key_make();
	authority->cert = cert_begin(authority->key, name, 1);
	gnutls_x509_crt_set_activation_time(authority->cert, time(NULL) - 10 * DAY);
	gnutls_x509_crt_set_expiration_time(authority->cert, time(NULL) + 10 * DAY);
	CHECK_EQ(gnutls_x509_crt_set_ca_status(authority->cert, 1), 0);
	CHECK_EQ(gnutls_x509_crt_set_key_usage(authority->cert, GNUTLS_KEY_KEY_CERT_SIGN), 0);
	CHECK_EQ(gnutls_x509_crt_sign2(authority->cert, authority->cert, authority->key,
				       GNUTLS_DIG_SHA256, 0), 0);
}

void authority_free(struct authority *authority)
{
	gnutls_x509_crt_deinit(authority->cert);
	gnutls_x509_privkey_deinit(authority->key);
}

void file_make(const char *dir, const char *name, const char *text, size_t size,
	       unsigned int mode)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_EQ(write(fd, text, size), (ssize_t)size);
	CHECK_EQ(fchmod(fd, mode), 0);
	close(fd);
}

static void cert_write(const char *dir, const char *name, gnutls_x509_crt_t cert)
{
	gnutls_datum_t text;

	CHECK_EQ(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text), 0);
	file_make(dir, name, (char *)text.data, text.size, 0644);
	gnutls_free(text.data);
}

static void names_add(gnutls_x509_crt_t cert, const struct wanted *wanted)
{
	struct in_addr ip;

	if (wanted->dns)
		CHECK_EQ(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME,
			wanted->dns, (unsigned int)strlen(wanted->dns), GNUTLS_FSAN_APPEND), 0);
	if (!wanted->ip)
		return;
	CHECK_EQ(inet_pton(AF_INET, wanted->ip, &ip), 1);
	CHECK_EQ(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, &ip,
						      sizeof(ip), GNUTLS_FSAN_APPEND), 0);
}

static void purposes_add(gnutls_x509_crt_t cert, const char *only)
{
	if (only) {
		CHECK_EQ(gnutls_x509_crt_set_key_purpose_oid(cert, only, 0), 0);
		return;
	}
	CHECK_EQ(gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_CLIENT, 0), 0);
	CHECK_EQ(gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0), 0);
}

void certs_make(char dir[64], const struct authority *authority,
		const struct wanted *wanted)
{
	gnutls_x509_privkey_t key = key_make();
	static uint32_t serial = 2;
	gnutls_x509_crt_t cert;
	gnutls_datum_t text;

	strcpy(dir, "/tmp/migtrack-unit-XXXXXX");
	CHECK(mkdtemp(dir));
	cert = cert_begin(key, "a host", serial++);
	gnutls_x509_crt_set_activation_time(cert, time(NULL) - DAY + wanted->starts);
	gnutls_x509_crt_set_expiration_time(cert, time(NULL) +
					    (wanted->ends ? wanted->ends : DAY));
	names_add(cert, wanted);
	purposes_add(cert, wanted->purpose);
	CHECK_EQ(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE), 0);
	CHECK_EQ(gnutls_x509_crt_sign2(cert, authority->cert, authority->key,
				       GNUTLS_DIG_SHA256, 0), 0);
	cert_write(dir, "ca-cert.pem", authority->cert);
	cert_write(dir, "cert.pem", cert);
	CHECK_EQ(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text), 0);
	file_make(dir, "key.pem", (char *)text.data, text.size, 0600);
	gnutls_free(text.data);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_privkey_deinit(key);
}

void certs_remove(const char *dir)
{
	static const char * const names[] = { "ca-cert.pem", "cert.pem", "key.pem", "psk" };
	char path[128];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	CHECK_EQ(rmdir(dir), 0);
}
