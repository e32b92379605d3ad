// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS between two channels: who is let in, what both sides say, and the bytes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stream/channel.h"
#include "stream/door.h"
#include "stream_certs.h"
#include "unit.h"

static uint8_t payload[WIRE_MAX_PAYLOAD + 1];

static const char psk_line[] =
	"migtrack:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

/* One side: what it is told, and how it went. */
struct side {
	struct tls_options options;
	struct tls tls;
	struct security security;
	struct channel channel;
	struct error err;
	int ret;
};

static void side_open(struct side *side, const char *dir, const char *peer)
{
	*side = (struct side){ .options.dir = dir, .channel.fd = -1 };
	if (peer)
		side->options.peers[side->options.n_peers++] = peer;
	CHECK_EQ(tls_open(&side->tls, &side->options, &side->err), 0);
	side->security.tls = &side->tls;
}

static void side_psk(struct side *side, const char *dir, const char *line)
{
	static char paths[8][80];
	static int n;

	file_make(dir, "psk", line, strlen(line), 0600);
	snprintf(paths[n], sizeof(paths[n]), "%s/psk", dir);
	*side = (struct side){ .options.psk = paths[n++], .channel.fd = -1 };
	CHECK_EQ(tls_open(&side->tls, &side->options, &side->err), 0);
	side->security.tls = &side->tls;
}

static void side_insecure(struct side *side)
{
	*side = (struct side){ .security.insecure = true, .channel.fd = -1 };
}

static void side_close(struct side *side)
{
	channel_close(&side->channel);
	tls_close(&side->tls);
}

/* The client's side of a meeting: a greeting, and the answer. */
struct client {
	struct side *side;
	bool drips;			/* the greeting is long, a byte a record */
	char address[32];
};

static void drip(struct channel *channel)
{
	uint8_t greeting[WIRE_HEADER_SIZE + DOOR_MAX_FRAME] = {};
	struct wire_frame frame = { .type = WIRE_HELLO, .length = DOOR_MAX_FRAME };
	size_t sent = 0;
	ssize_t len;

	frame.checksum = wire_checksum(&frame, greeting + WIRE_HEADER_SIZE);
	wire_encode(greeting, &frame);
	while (sent < sizeof(greeting)) {
		len = gnutls_record_send(channel->tls->gnutls, greeting + sent, 1);
		if (len == 1)
			sent++;
		else if (len != GNUTLS_E_AGAIN && len != GNUTLS_E_INTERRUPTED)
			break;
	}
}

static void *client_thread(void *data)
{
	static uint8_t answer[WIRE_MAX_PAYLOAD + 1];
	struct client *client = data;
	struct side *side = client->side;
	struct wire_frame frame;
	struct error ignored;

	side->ret = channel_connect(&side->channel, client->address, &side->security,
				    &side->err);
	if (side->ret)
		return NULL;
	if (client->drips)
		drip(&side->channel);
	else
		channel_send_text(&side->channel, WIRE_HELLO, "{}", &ignored);
	side->ret = channel_receive(&side->channel, &frame, answer, &side->err);
	if (!side->ret && frame.type != WIRE_ACCEPT)
		side->ret = error_set(&side->err, EXIT_PEER, "%s", (char *)answer);
	return NULL;
}

/* The server's: who is refused is told so. */
static int check_any(void *data, struct channel *channel,
		     const struct wire_frame *frame, const char *text,
		     struct error *err)
{
	(void)data;
	(void)channel;
	(void)text;
	return frame->type == WIRE_HELLO ? 0 : error_set(err, EXIT_PEER, "what?");
}

struct refusals {
	int n;
	struct error last;
	int wake;
};

static void note_refused(void *data, struct channel *channel,
			 const struct error *why)
{
	struct refusals *refusals = data;
	struct error ignored;

	if (channel)
		channel_send_text(channel, WIRE_REFUSE, why->message, &ignored);
	refusals->n++;
	refusals->last = *why;
	if (refusals->wake >= 0)
		CHECK_EQ(write(refusals->wake, "x", 1), 1);
}

static void door_address(const struct door *door, char address[32])
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	CHECK_EQ(getsockname(door->fd, (struct sockaddr *)&name, &len), 0);
	snprintf(address, 32, "127.0.0.1:%u", ntohs(name.sin_port));
}

/* Let them meet; the server ends when it has refused somebody. */
static void meet_a(struct side *server, struct client *client)
{
	struct refusals refusals = {};
	struct door_ops ops = { check_any, NULL, note_refused, &refusals };
	struct wire_frame frame;
	pthread_t thread;
	struct door door;
	int pipes[2];

	CHECK_EQ(pipe(pipes), 0);
	refusals.wake = pipes[1];
	CHECK_EQ(door_open(&door, "127.0.0.1:0", &server->security, &ops, &server->err), 0);
	door_address(&door, client->address);
	pthread_create(&thread, NULL, client_thread, client);
	server->ret = door_wait(&door, &server->channel, &frame, (char *)payload,
				pipes[0], &server->err);
	if (!server->ret)
		CHECK_EQ(channel_send_text(&server->channel, WIRE_ACCEPT, "{}",
					   &server->err), 0);
	else
		server->err = refusals.last;
	pthread_join(thread, NULL);
	door_close(&door);
	close(pipes[0]);
	close(pipes[1]);
}

static void meet(struct side *server, struct side *connecting)
{
	struct client client = { .side = connecting };

	meet_a(server, &client);
}

static void check_met(struct side *server, struct side *client)
{
	if (server->ret || client->ret)
		printf("# server: %s; client: %s\n", server->err.message,
		       client->err.message);
	CHECK_EQ(server->ret, 0);
	CHECK_EQ(client->ret, 0);
}

static void check_refused(struct side *server, const char *server_says,
			  const char *server_advises, struct side *client,
			  const char *client_says, const char *client_advises)
{
	CHECK_EQ(server->ret, -1);
	CHECK_EQ(client->ret, -1);
	CHECK_HAS(server->err.message, server_says);
	CHECK_HAS(server->err.advice, server_advises);
	CHECK_HAS(client->err.message, client_says);
	CHECK_HAS(client->err.advice, client_advises);
}

/* Two hosts with certificates of one authority. */
struct pair {
	struct authority authority;
	char a[64];
	char b[64];
};

static void pair_make(struct pair *pair)
{
	static const struct wanted a = { .dns = "a.example.org", .ip = "127.0.0.1" };
	static const struct wanted b = { .dns = "b.example.org" };

	authority_make(&pair->authority, "an authority");
	certs_make(pair->a, &pair->authority, &a);
	certs_make(pair->b, &pair->authority, &b);
}

static void pair_remove(struct pair *pair)
{
	certs_remove(pair->a);
	certs_remove(pair->b);
	authority_free(&pair->authority);
}

TEST(tls_certificates_of_both_sides)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, pair.b, "a.example.org");
	meet(&server, &client);
	check_met(&server, &client);
	side_close(&server);
	side_close(&client);

	/* An address in the certificate, and one name of several. */
	side_open(&server, pair.a, "c.example.org");
	server.tls.peers[server.tls.n_peers++] = "b.example.org";
	side_open(&client, pair.b, "127.0.0.1");
	meet(&server, &client);
	check_met(&server, &client);
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

/* Who has said who it is, but not what it wants: all of it counts, records' headers too. */
TEST(tls_takes_64_kib_up_to_the_first_frame)
{
	struct side server, side;
	struct client client = { .side = &side, .drips = true };
	struct pair pair;

	pair_make(&pair);
	side_open(&server, pair.a, "b.example.org");
	side_open(&side, pair.b, "a.example.org");
	meet_a(&server, &client);
	CHECK_EQ(server.ret, -1);
	CHECK_HAS(server.err.message, "sent more than 65536 bytes without saying who it is");
	CHECK_EQ(side.ret, -1);
	side_close(&server);
	side_close(&side);
	pair_remove(&pair);
}

TEST(tls_refuses_a_wrong_name_on_both_sides)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_open(&server, pair.a, "c.example.org");
	side_open(&client, pair.b, "a.example.org");
	meet(&server, &client);
	check_refused(&server, "the peer's certificate is for b.example.org, not for c.example.org",
		      "--peer", &client, "does not have the name that the peer expects", "--peer");
	CHECK_EQ(server.err.code, EXIT_PERMISSION);
	side_close(&server);
	side_close(&client);

	side_open(&server, pair.a, "b.example.org");
	side_open(&client, pair.b, "c.example.org");
	meet(&server, &client);
	check_refused(&server, "does not have the name that the peer expects", "--peer",
		      &client, "the peer's certificate is for a.example.org, not for c.example.org",
		      "--peer");
	CHECK_EQ(client.err.code, EXIT_PERMISSION);
	CHECK_EQ(client.channel.fd, -1);
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

/* A wildcard would be the name of every host. */
TEST(tls_refuses_wildcards)
{
	struct wanted wild = { .dns = "*.example.org" };
	struct side server, client;
	struct pair pair;
	char dir[64];

	pair_make(&pair);
	certs_make(dir, &pair.authority, &wild);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, dir, "a.example.org");
	meet(&server, &client);
	check_refused(&server, "is for *.example.org, not for b.example.org", "--peer",
		      &client, "does not have the name", "--peer");
	side_close(&server);
	side_close(&client);
	certs_remove(dir);
	pair_remove(&pair);
}

/* One side has a certificate that the other can't know, but trusts the other's. */
static void check_authority(const char *name, bool of_server)
{
	struct wanted wanted = { .dns = "b.example.org" };
	struct side known, unknown;
	struct authority other;
	char dir[64], ca[80];
	struct pair pair;

	pair_make(&pair);
	authority_make(&other, name);
	certs_make(dir, &other, &wanted);
	side_open(&known, pair.a, "b.example.org");
	side_open(&unknown, dir, "a.example.org");
	tls_close(&unknown.tls);
	snprintf(ca, sizeof(ca), "%s/ca-cert.pem", pair.a);
	unknown.options.ca = ca;
	CHECK_EQ(tls_open(&unknown.tls, &unknown.options, &unknown.err), 0);
	if (of_server)
		meet(&unknown, &known);
	else
		meet(&known, &unknown);
	check_refused(&known, "not of an authority that is trusted here", "ca-cert.pem",
		      &unknown, "not of an authority that the peer trusts", "ca-cert.pem");
	side_close(&known);
	side_close(&unknown);
	certs_remove(dir);
	authority_free(&other);
	pair_remove(&pair);
}

/* Also one that says that it is ours. */
TEST(tls_refuses_another_authority)
{
	check_authority("another authority", false);
	check_authority("an authority", false);
	check_authority("another authority", true);
	check_authority("an authority", true);
}

/* As if the one side's clock were wrong: it looks at its own certificate first. */
static void check_peer_date(const struct wanted *wanted, bool of_server, const char *says)
{
	struct side checks, late;
	struct pair pair;
	char dir[64];

	pair_make(&pair);
	certs_make(dir, &pair.authority, wanted);
	side_open(&checks, pair.a, "b.example.org");
	side_open(&late, pair.b, "a.example.org");
	tls_close(&late.tls);
	late.options.dir = dir;
	CHECK_EQ(tls_open(&late.tls, &late.options, &late.err), -1);
	CHECK_HAS(late.err.message, dir);
	CHECK_HAS(late.err.message, wanted->ends < 0 ? "has expired" : "is not valid yet");
	CHECK_HAS(late.err.advice, "clock");
	CHECK_EQ(gnutls_priority_init(&late.tls.priority, "NORMAL:-VERS-ALL:+VERS-TLS1.3",
				      NULL), 0);
	if (of_server)
		meet(&late, &checks);
	else
		meet(&checks, &late);
	check_refused(&checks, says, "clock", &late, "has expired, or is not valid yet",
		      "clock");
	side_close(&checks);
	side_close(&late);
	certs_remove(dir);
	pair_remove(&pair);
}

TEST(tls_refuses_certificates_out_of_date)
{
	static const struct wanted old = { .dns = "b.example.org", .ends = -60 };
	static const struct wanted new = {
		.dns = "b.example.org", .starts = 90000, .ends = 900000,
	};

	check_peer_date(&old, false, "has expired");
	check_peer_date(&new, false, "is not valid yet");
	check_peer_date(&old, true, "has expired");
	check_peer_date(&new, true, "is not valid yet");
}

TEST(tls_refuses_a_certificate_for_another_purpose)
{
	struct wanted wanted = {
		.dns = "b.example.org", .purpose = GNUTLS_KP_TLS_WWW_SERVER,
	};
	struct side server, client;
	struct pair pair;
	char dir[64];

	pair_make(&pair);
	certs_make(dir, &pair.authority, &wanted);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, dir, "a.example.org");
	meet(&server, &client);
	check_refused(&server, "not for its side", "tls_www_client",
		      &client, "does not take our certificate", "other host");
	side_close(&server);
	side_close(&client);
	certs_remove(dir);
	pair_remove(&pair);
}

TEST(tls_with_a_key_of_both)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_psk(&server, pair.a, psk_line);
	side_psk(&client, pair.b, psk_line);
	meet(&server, &client);
	check_met(&server, &client);
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

TEST(tls_refuses_another_key)
{
	static const char other_key[] =
		"migtrack:ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
	static const char other_name[] =
		"someone:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_psk(&server, pair.a, psk_line);
	side_psk(&client, pair.b, other_key);
	meet(&server, &client);
	check_refused(&server, "the peer has another key", "--tls-psk",
		      &client, "the peer has another key, or another name", "--tls-psk");
	side_close(&server);
	side_close(&client);

	side_psk(&server, pair.a, psk_line);
	side_psk(&client, pair.b, other_name);
	meet(&server, &client);
	check_refused(&server, "another name than ours", "--tls-psk",
		      &client, "the peer has another key, or another name", "--tls-psk");
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

TEST(tls_key_against_certificates)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_psk(&server, pair.a, psk_line);
	side_open(&client, pair.b, "a.example.org");
	meet(&server, &client);
	check_refused(&server, "no way in common", "--tls-psk",
		      &client, "no way in common", "--tls-psk");
	side_close(&server);
	side_close(&client);

	side_open(&server, pair.a, "b.example.org");
	side_psk(&client, pair.b, psk_line);
	meet(&server, &client);
	check_refused(&server, "no way in common", "--tls-psk",
		      &client, "no way in common", "--tls-psk");
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

TEST(tls_against_plain_text)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_open(&server, pair.a, "b.example.org");
	side_insecure(&client);
	meet(&server, &client);
	check_refused(&server, "does not speak TLS", "--insecure",
		      &client, "the peer speaks TLS, and this side does not", "--tls-dir");
	side_close(&server);
	side_close(&client);

	side_insecure(&server);
	side_open(&client, pair.b, "a.example.org");
	meet(&server, &client);
	check_refused(&server, "the peer speaks TLS, and this side does not", "--tls-dir",
		      &client, "does not speak TLS", "--insecure");
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

/* Not even with a certificate: mutual is for both. */
TEST(tls_refuses_a_client_without_certificate)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, pair.b, "a.example.org");
	gnutls_certificate_free_keys(client.tls.x509);
	meet(&server, &client);
	check_refused(&server, "the peer has no certificate", "--tls-dir",
		      &client, "the peer wants a certificate", "--tls-dir");
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

TEST(tls_no_older_version)
{
	struct side server, client;
	struct pair pair;

	pair_make(&pair);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, pair.b, "a.example.org");
	gnutls_priority_deinit(client.tls.priority);
	CHECK_EQ(gnutls_priority_init(&client.tls.priority,
				      "NORMAL:-VERS-ALL:+VERS-TLS1.2", NULL), 0);
	meet(&server, &client);
	check_refused(&server, "no way in common", "both", &client, "no way in common", "both");
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

/* What is read from files, and what is not taken. */
static void check_not_opened(const struct tls_options *options, const char *says,
			     const char *advises)
{
	struct error err;
	struct tls tls;

	CHECK_EQ(tls_open(&tls, options, &err), -1);
	CHECK_HAS(err.message, says);
	CHECK_HAS(err.advice, advises);
	tls_close(&tls);
}

TEST(tls_files_that_are_not_taken)
{
	struct tls_options options = { .peers = { "b.example.org" }, .n_peers = 1 };
	char path[80];
	struct pair pair;

	pair_make(&pair);
	options.cert = "cert.pem";
	check_not_opened(&options, "TLS with certificates needs ca-cert.pem", "--tls-dir");
	options.cert = NULL;
	options.dir = pair.a;
	options.n_peers = 0;
	check_not_opened(&options, "whose certificate", "--peer NAME");
	options.n_peers = 1;
	snprintf(path, sizeof(path), "%s/key.pem", pair.b);
	options.key = path;
	check_not_opened(&options, "is not the key of", "its own key");
	CHECK_EQ(chmod(path, 0640), 0);
	check_not_opened(&options, "others than its owner may use it (mode 0640)", "chmod 600");
	options.key = "/nowhere/key.pem";
	check_not_opened(&options, "/nowhere/key.pem: No such file", "migctl(8)");
	options.key = "/dev/null";
	check_not_opened(&options, "/dev/null: not a file of certificates or keys", "");
	options.key = NULL;
	file_make(pair.a, "ca-cert.pem", "nonsense", 8, 0644);
	check_not_opened(&options, "ca-cert.pem: not an authority's certificate", "PEM");
	pair_remove(&pair);
}

TEST(tls_keys_that_are_not_taken)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "not a line NAME:KEY" },
		{ "00112233445566778899aabbccddeeff", "not a line NAME:KEY" },
		{ ":00112233445566778899aabbccddeeff", "not a line NAME:KEY" },
		{ "a:00112233445566778899aabbccddeefg", "not in hexadecimal digits" },
		{ "a:00112233445566778899aabbccddee", "too short to be safe" },
		{ "a:", "hexadecimal" },
	};
	struct tls_options options = {};
	char path[80];
	struct pair pair;
	size_t i;

	pair_make(&pair);
	snprintf(path, sizeof(path), "%s/psk", pair.a);
	options.psk = path;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		file_make(pair.a, "psk", bad[i].text, strlen(bad[i].text), 0600);
		check_not_opened(&options, bad[i].says, "psktool");
	}
	file_make(pair.a, "psk", "a\0b:00112233445566778899aabbccddeeff", 36, 0600);
	check_not_opened(&options, "not text", "psktool");
	file_make(pair.a, "psk", psk_line, strlen(psk_line), 0644);
	check_not_opened(&options, "others than its owner may use it (mode 0644)", "chmod 600");
	CHECK_EQ(chmod(path, 0600), 0);
	if (!geteuid()) {
		CHECK_EQ(chown(path, 65534, 65534), 0);
		CHECK_EQ(seteuid(12345), 0);
		check_not_opened(&options, "Permission denied", "");
		CHECK_EQ(seteuid(0), 0);
		check_not_opened(&options, "it is user 65534's, and we are user 0", "");
	}
	options.dir = pair.a;
	check_not_opened(&options, "exclude each other", "leave out --peer");
	pair_remove(&pair);
}

/* Both ways at the same time, with new keys now and then. */
#define TRAFFIC		200

struct traffic {
	struct channel *channel;
	bool renews;
};

static void *traffic_thread(void *data)
{
	static uint8_t bytes[300000];
	struct traffic *traffic = data;
	struct tls_session *tls = traffic->channel->tls;
	struct wire_frame frame = { .type = WIRE_VMM_DATA };
	struct error err;
	int i;

	for (i = 0; i < TRAFFIC; i++) {
		frame.length = 1 + (uint32_t)(i * 7919) % sizeof(bytes);
		frame.offset = (uint64_t)i;
		if (channel_send(traffic->channel, &frame, bytes, &err)) {
			CHECK_STR(err.message, "");
			break;
		}
		if (!traffic->renews || i % 50 != 49)
			continue;
		pthread_mutex_lock(&tls->lock);
		CHECK_EQ(gnutls_session_key_update(tls->gnutls, 0), 0);
		pthread_mutex_unlock(&tls->lock);
	}
	return NULL;
}

static void *receiving_thread(void *data)
{
	struct channel *channel = data;
	struct wire_frame frame;
	struct error err;
	uint8_t *bytes;
	int i;

	bytes = malloc(WIRE_MAX_PAYLOAD + 1);
	for (i = 0; i < TRAFFIC; i++) {
		if (channel_receive(channel, &frame, bytes, &err)) {
			CHECK_STR(err.message, "");
			break;
		}
		CHECK_EQ(frame.offset, (uint64_t)i);
	}
	free(bytes);
	return NULL;
}

TEST(tls_one_thread_receives_while_another_sends)
{
	struct side server, client;
	pthread_t threads[4];
	struct traffic to, from;
	struct pair pair;
	int i;

	pair_make(&pair);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, pair.b, "a.example.org");
	meet(&server, &client);
	check_met(&server, &client);
	to = (struct traffic){ &client.channel, true };
	from = (struct traffic){ &server.channel, false };
	pthread_create(&threads[0], NULL, traffic_thread, &to);
	pthread_create(&threads[1], NULL, traffic_thread, &from);
	pthread_create(&threads[2], NULL, receiving_thread, &client.channel);
	pthread_create(&threads[3], NULL, receiving_thread, &server.channel);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(channel_sent(&client.channel) > TRAFFIC * 1000, 1);
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

static void *stop_soon(void *data)
{
	usleep(300000);
	channel_stop(data);
	return NULL;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

TEST(tls_channel_stop_ends_sends_and_receives)
{
	struct wire_frame frame = { .type = WIRE_VMM_DATA, .length = WIRE_MAX_PAYLOAD };
	struct side server, client;
	struct pair pair;
	pthread_t thread;
	struct error err;
	double start;

	pair_make(&pair);
	side_psk(&server, pair.a, psk_line);
	side_psk(&client, pair.b, psk_line);
	meet(&server, &client);
	check_met(&server, &client);
	start = seconds();
	pthread_create(&thread, NULL, stop_soon, &client.channel);
	while (!channel_send(&client.channel, &frame, payload, &err))
		;
	pthread_join(thread, NULL);
	CHECK_HAS(err.message, "stopped");
	pthread_create(&thread, NULL, stop_soon, &server.channel);
	while (!channel_receive(&server.channel, &frame, payload, &err))
		;
	pthread_join(thread, NULL);
	CHECK_HAS(err.message, "stopped");
	CHECK(seconds() - start < 10);
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

/* A byte that somebody on the way has changed ends the connection. */
TEST(tls_a_changed_byte_is_noticed)
{
	static const uint8_t forged[] = { 23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
		11, 12, 13, 14, 15, 16, 17, 18, 19, 20 };
	struct side server, client;
	struct wire_frame frame;
	struct pair pair;
	struct error err;

	pair_make(&pair);
	side_psk(&server, pair.a, psk_line);
	side_psk(&client, pair.b, psk_line);
	meet(&server, &client);
	check_met(&server, &client);
	CHECK_EQ(send(client.channel.fd, forged, sizeof(forged), 0), (ssize_t)sizeof(forged));
	CHECK_EQ(channel_receive(&server.channel, &frame, payload, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "TLS failed");
	side_close(&server);
	side_close(&client);
	pair_remove(&pair);
}

TEST(tls_ties_a_data_channel_to_its_control_channel)
{
	struct side server, client, other_server, other_client, stranger, stranger_server;
	uint8_t a[TLS_DIGEST_SIZE], b[TLS_DIGEST_SIZE];
	struct wanted wanted = { .dns = "b.example.org" };
	struct pair pair;
	struct error err;
	char dir[64];

	pair_make(&pair);
	certs_make(dir, &pair.authority, &wanted);
	side_open(&server, pair.a, "b.example.org");
	side_open(&client, pair.b, "a.example.org");
	side_open(&other_server, pair.a, "b.example.org");
	side_open(&other_client, pair.b, "a.example.org");
	side_open(&stranger_server, pair.a, "b.example.org");
	side_open(&stranger, dir, "a.example.org");
	meet(&server, &client);
	meet(&other_server, &other_client);
	meet(&stranger_server, &stranger);
	check_met(&stranger_server, &stranger);

	CHECK_EQ(tls_tie(server.channel.tls, other_server.channel.tls, "id 1", 4, a, &err), 0);
	CHECK_EQ(tls_tie(client.channel.tls, other_client.channel.tls, "id 1", 4, b, &err), 0);
	CHECK(!memcmp(a, b, sizeof(a)));
	CHECK_EQ(tls_tie(client.channel.tls, other_client.channel.tls, "id 2", 4, b, &err), 0);
	CHECK(memcmp(a, b, sizeof(a)));
	/* Neither another control channel nor another data channel gives the same. */
	CHECK_EQ(tls_tie(stranger.channel.tls, other_client.channel.tls, "id 1", 4, b, &err), 0);
	CHECK(memcmp(a, b, sizeof(a)));
	CHECK_EQ(tls_tie(client.channel.tls, stranger.channel.tls, "id 1", 4, b, &err), 0);
	CHECK(memcmp(a, b, sizeof(a)));

	CHECK_EQ(channel_same_peer(&server.channel, &other_server.channel, &err), 0);
	/* Another certificate, though of the same name. */
	CHECK_EQ(channel_same_peer(&server.channel, &stranger_server.channel, &err), -1);
	CHECK_HAS(err.message, "another peer");
	side_close(&server);
	side_close(&client);
	side_close(&other_server);
	side_close(&other_client);
	side_close(&stranger);
	side_close(&stranger_server);
	certs_remove(dir);
	pair_remove(&pair);
}
