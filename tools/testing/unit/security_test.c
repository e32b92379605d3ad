// SPDX-License-Identifier: GPL-2.0-or-later
/* What the options of migrate and receive make of who may be at the other end. */
#include "cmd/security.h"
#include "stream_certs.h"
#include "unit.h"

/* As argv it can be written to, and stays. */
static char *argument(const char *value)
{
	static char room[32][64];
	static int n;

	CHECK(n < 32);
	snprintf(room[n], sizeof(room[n]), "%s", value);
	return room[n++];
}

static void take(struct security_options *options, int option, const char *value)
{
	struct error err;

	CHECK_EQ(security_option(options, option, value ? argument(value) : NULL, &err), 0);
}

static void check_refused(const struct security_options *options, const char *to,
			  const char *says, const char *advises)
{
	struct secured secured;
	struct error err;

	CHECK_EQ(security_open(&secured, options, to, &err), -1);
	CHECK_EQ(err.code, EXIT_USAGE);
	CHECK_HAS(err.message, says);
	CHECK_HAS(err.advice, advises);
	security_close(&secured);
}

TEST(security_is_none_by_default)
{
	struct security_options options = {};
	struct secured secured;
	struct error err;

	CHECK_EQ(security_open(&secured, &options, "127.0.0.1:1", &err), 0);
	CHECK(!secured.security.insecure && !secured.security.tls);
	security_close(&secured);
	take(&options, OPTION_INSECURE, NULL);
	CHECK_EQ(security_open(&secured, &options, "127.0.0.1:1", &err), 0);
	CHECK(secured.security.insecure && !secured.security.tls);
	security_close(&secured);
}

TEST(security_options_that_do_not_fit)
{
	struct security_options options = {};

	take(&options, OPTION_PEER, "host1");
	check_refused(&options, NULL, "TLS with certificates needs ca-cert.pem", "--tls-psk");
	take(&options, OPTION_INSECURE, NULL);
	check_refused(&options, NULL, "exclude each other", "without it");
	options = (struct security_options){};
	take(&options, OPTION_TLS_PSK, "/nowhere");
	take(&options, OPTION_PEER, "host1");
	check_refused(&options, NULL, "--tls-psk and certificates exclude each other", "leave out --peer");
	options = (struct security_options){};
	take(&options, OPTION_TLS_DIR, "/nowhere");
	check_refused(&options, NULL, "whose certificate", "--peer NAME");
	check_refused(&options, "unix:/run/socket", "whose certificate", "--peer NAME");
	check_refused(&options, "host1:1", "/nowhere/ca-cert.pem: No such file", "migctl(8)");
}

TEST(security_names_of_peers)
{
	struct security_options options = {};
	struct error err;
	int i;

	take(&options, OPTION_PEER, "a,b.example.org");
	take(&options, OPTION_PEER, "192.0.2.1");
	CHECK_EQ(options.tls.n_peers, 3);
	CHECK_STR(options.tls.peers[0], "a");
	CHECK_STR(options.tls.peers[1], "b.example.org");
	CHECK_STR(options.tls.peers[2], "192.0.2.1");
	CHECK_EQ(security_option(&options, OPTION_PEER, argument("c,"), &err), -1);
	CHECK_HAS(err.message, "a name is empty");
	for (i = (int)options.tls.n_peers; i < TLS_MAX_PEERS; i++)
		take(&options, OPTION_PEER, "x");
	CHECK_EQ(security_option(&options, OPTION_PEER, argument("y"), &err), -1);
	CHECK_HAS(err.message, "more than 16 names");
}

/* Who is asked for by name, or by address, is who is wanted. */
TEST(security_wants_the_host_that_it_connects_to)
{
	static const struct {
		const char *to, *name;
	} hosts[] = {
		{ "host1.example.org:4711", "host1.example.org" },
		{ "192.0.2.1:4711", "192.0.2.1" },
		{ "[2001:db8::1]:4711", "2001:db8::1" },
	};
	struct wanted wanted = { .dns = "host2.example.org" };
	struct security_options options = {};
	struct authority authority;
	struct secured secured;
	struct error err;
	char dir[64];
	size_t i;

	authority_make(&authority, "an authority");
	certs_make(dir, &authority, &wanted);
	take(&options, OPTION_TLS_DIR, dir);
	for (i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		CHECK_EQ(security_open(&secured, &options, hosts[i].to, &err), 0);
		CHECK(secured.security.tls == &secured.tls);
		CHECK_EQ(secured.tls.n_peers, 1);
		CHECK_STR(secured.tls.peers[0], hosts[i].name);
		security_close(&secured);
	}
	take(&options, OPTION_PEER, "another");
	CHECK_EQ(security_open(&secured, &options, hosts[0].to, &err), 0);
	CHECK_EQ(secured.tls.n_peers, 1);
	CHECK_STR(secured.tls.peers[0], "another");
	security_close(&secured);
	certs_remove(dir);
	authority_free(&authority);
}
