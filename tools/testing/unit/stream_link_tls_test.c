// SPDX-License-Identifier: GPL-2.0-or-later
/* Data channels with TLS: only those of who made the control channel join. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream/link.h"
#include "stream_certs.h"
#include "unit.h"

/* The source's host, another one that the destination lets in, and the destination. */
enum { SOURCE, OTHER, DESTINATION, HOSTS };

struct hosts {
	struct authority authority;
	char dirs[HOSTS][64];
	struct tls tls[HOSTS];
	struct security security[HOSTS];
	struct door door;
	char address[32];
	struct channel control[2];
	struct link source;
	struct link destination;
	int refused;
	struct error why;
	int served;
};

static int check_hello(void *data, struct channel *channel,
		       const struct wire_frame *frame, const char *payload,
		       struct error *err)
{
	(void)data;
	(void)channel;
	(void)payload;
	return frame->type == WIRE_HELLO ? 0 : error_set(err, EXIT_PEER, "no");
}

static void note_refused(void *data, struct channel *channel, const struct error *why)
{
	struct hosts *hosts = data;

	(void)channel;
	hosts->why = *why;
	__atomic_add_fetch(&hosts->refused, 1, __ATOMIC_RELEASE);
}

static int serve(void *data, unsigned int index, struct channel *channel,
		 struct error *err)
{
	struct wire_frame frame;
	struct hosts *hosts = data;

	CHECK_EQ(channel_receive_header(channel, &frame, err), 0);
	CHECK_EQ(frame.type, WIRE_BARRIER);
	CHECK_EQ(frame.offset, index);
	__atomic_add_fetch(&hosts->served, 1, __ATOMIC_RELEASE);
	return 0;
}

static void *control_thread(void *data)
{
	struct hosts *hosts = data;
	struct error err;

	CHECK_EQ(channel_connect(&hosts->control[0], hosts->address,
				 &hosts->security[SOURCE], &err), 0);
	CHECK_EQ(channel_send_text(&hosts->control[0], WIRE_HELLO, "{}", &err), 0);
	return NULL;
}

static void host_open(struct hosts *hosts, int i, const char *name)
{
	struct wanted wanted = { .dns = name, .ip = i == DESTINATION ? "127.0.0.1" : NULL };
	struct tls_options options = { .dir = hosts->dirs[i] };
	struct error err;

	certs_make(hosts->dirs[i], &hosts->authority, &wanted);
	options.n_peers = i == DESTINATION ? 2 : 1;
	options.peers[0] = i == DESTINATION ? "source" : "127.0.0.1";
	options.peers[1] = "other";
	CHECK_EQ(tls_open(&hosts->tls[i], &options, &err), 0);
	hosts->security[i].tls = &hosts->tls[i];
}

static void hosts_open(struct hosts *hosts, unsigned int channels)
{
	struct door_ops door_ops = { check_hello, NULL, note_refused, hosts };
	struct link_ops ops = { .serve = serve, .data = hosts };
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	uint8_t id[WIRE_ID_SIZE];
	struct wire_frame frame;
	char payload[DOOR_MAX_FRAME + 1];
	struct error err;
	pthread_t thread;

	*hosts = (struct hosts){};
	authority_make(&hosts->authority, "an authority");
	host_open(hosts, SOURCE, "source");
	host_open(hosts, OTHER, "other");
	host_open(hosts, DESTINATION, "destination");
	CHECK_EQ(door_open(&hosts->door, "127.0.0.1:0", &hosts->security[DESTINATION],
			   &door_ops, &err), 0);
	CHECK_EQ(getsockname(hosts->door.fd, (struct sockaddr *)&name, &len), 0);
	snprintf(hosts->address, sizeof(hosts->address), "127.0.0.1:%u", ntohs(name.sin_port));
	pthread_create(&thread, NULL, control_thread, hosts);
	CHECK_EQ(door_wait(&hosts->door, &hosts->control[1], &frame, payload, -1, &err), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(link_draw_id(id, &err), 0);
	CHECK_EQ(link_open(&hosts->source, &hosts->control[0], channels, id, NULL, &err), 0);
	CHECK_EQ(link_open(&hosts->destination, &hosts->control[1], channels, id, &ops, &err), 0);
	CHECK_EQ(link_listen(&hosts->destination, &hosts->door, &err), 0);
}

static void hosts_close(struct hosts *hosts)
{
	int i;

	link_close(&hosts->source);
	link_close(&hosts->destination);
	channel_close(&hosts->control[0]);
	channel_close(&hosts->control[1]);
	door_close(&hosts->door);
	for (i = 0; i < HOSTS; i++) {
		tls_close(&hosts->tls[i]);
		certs_remove(hosts->dirs[i]);
	}
	authority_free(&hosts->authority);
}

/* Somebody joins as @host, with what is in @said: refused, and nothing ends. */
static void check_not_joined(struct hosts *hosts, int host, const uint8_t *said,
			     const char *why)
{
	struct wire_frame frame = { .type = WIRE_JOIN, .length = WIRE_JOIN_SIZE };
	int before = hosts->refused, i;
	struct channel channel;
	struct error err;

	CHECK_EQ(channel_connect(&channel, hosts->address, &hosts->security[host], &err), 0);
	CHECK_EQ(channel_send(&channel, &frame, said, &err), 0);
	for (i = 0; i < 20000 && __atomic_load_n(&hosts->refused, __ATOMIC_ACQUIRE) == before; i++)
		usleep(1000);
	CHECK_EQ(hosts->refused, before + 1);
	CHECK_HAS(hosts->why.message, why);
	CHECK_EQ(link_check(&hosts->destination, &err), 0);
	channel_close(&channel);
}

TEST(link_with_tls_is_of_one_peer)
{
	struct wire_frame frame = { .type = WIRE_BARRIER };
	uint8_t said[WIRE_JOIN_SIZE] = {};
	struct hosts hosts;
	struct error err;
	int i;

	hosts_open(&hosts, 2);
	check_not_joined(&hosts, SOURCE, said, "not of this migration");
	/* Who knows the id is not yet the source. */
	memcpy(said, hosts.source.id, WIRE_ID_SIZE);
	check_not_joined(&hosts, OTHER, said, "of another peer than the control channel's");
	check_not_joined(&hosts, SOURCE, said, "not made by who made the control channel");
	/* Nor is who has heard what another connection has said. */
	CHECK_EQ(tls_tie(hosts.control[0].tls, hosts.control[0].tls, said,
			 WIRE_ID_SIZE, said + WIRE_ID_SIZE, &err), 0);
	check_not_joined(&hosts, SOURCE, said, "not made by who made the control channel");

	CHECK_EQ(link_connect(&hosts.source, hosts.address, &hosts.security[SOURCE], &err), 0);
	CHECK_EQ(channel_receive_header(&hosts.control[0], &frame, &err), 0);
	CHECK_EQ(frame.type, WIRE_JOINED);
	for (i = 0; i < 2; i++) {
		frame = (struct wire_frame){ .type = WIRE_BARRIER, .offset = (uint64_t)i };
		CHECK_EQ(channel_send(hosts.source.channels[i], &frame, NULL, &err), 0);
	}
	for (i = 0; i < 20000 && __atomic_load_n(&hosts.served, __ATOMIC_ACQUIRE) < 2; i++)
		usleep(1000);
	CHECK_EQ(hosts.served, 2);
	/* The door is closed now. */
	CHECK_EQ(channel_connect(&hosts.source.own[3], hosts.address,
				 &hosts.security[SOURCE], &err), -1);
	CHECK_HAS(err.message, "nobody listens there");
	hosts_close(&hosts);
}

/* One that asks for a second migration is told that there is one. */
TEST(link_refuses_a_second_migration)
{
	struct channel channel;
	struct hosts hosts;
	struct error err;
	int i;

	hosts_open(&hosts, 1);
	CHECK_EQ(channel_connect(&channel, hosts.address, &hosts.security[OTHER], &err), 0);
	CHECK_EQ(channel_send_text(&channel, WIRE_HELLO, "{}", &err), 0);
	for (i = 0; i < 20000 && !__atomic_load_n(&hosts.refused, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	CHECK_HAS(hosts.why.message, "a migration goes on here already");
	channel_close(&channel);
	hosts_close(&hosts);
}
