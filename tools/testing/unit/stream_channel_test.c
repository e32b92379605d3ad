// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stream/channel.h"
#include "unit.h"

#define NOBODY	65534

static uint8_t payload[WIRE_MAX_PAYLOAD + 1];

/* A directory for sockets, and an address in it. */
struct place {
	char dir[32];
	char path[64];
	char address[80];
};

static void place_make(struct place *place)
{
	strcpy(place->dir, "/tmp/migtrack-unit-XXXXXX");
	CHECK(mkdtemp(place->dir));
	snprintf(place->path, sizeof(place->path), "%s/socket", place->dir);
	snprintf(place->address, sizeof(place->address), "unix:%s", place->path);
}

/* Nothing may be left in it. */
static void place_remove(const struct place *place)
{
	CHECK_EQ(rmdir(place->dir), 0);
}

static void channel_pair(struct channel *a, struct channel *b)
{
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	channel_open(a, fds[0], "a");
	channel_open(b, fds[1], "b");
}

static const struct security insecure = { .insecure = true }, closed;

/* Waits for one. */
static int take_peer(struct channel *channel, int fd, struct error *err)
{
	struct sockaddr_storage from;
	int ret;

	do {
		usleep(1000);
		ret = channel_accept(channel, fd, &from, err);
	} while (!ret);
	return ret < 0 ? -1 : 0;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct connecting {
	const char *address;
	struct channel channel;
	struct error err;
	int ret;
};

static void *connect_thread(void *data)
{
	struct connecting *c = data;

	c->ret = channel_connect(&c->channel, c->address, &insecure, &c->err);
	return NULL;
}

/* Text and pages both ways. */
static void check_exchange(struct channel *a, struct channel *b)
{
	static uint8_t data[2 * WIRE_PAGE_SIZE];
	struct wire_frame frame = {
		.type = WIRE_PAGES,
		.length = sizeof(data),
		.block = 3,
		.offset = 7 * WIRE_PAGE_SIZE,
	};
	uint64_t sent = channel_sent(a);
	struct error err;

	memset(data, 0xa5, sizeof(data));
	CHECK_EQ(channel_send_text(a, WIRE_HELLO, "{\"x\":1}", &err), 0);
	CHECK_EQ(channel_send(a, &frame, data, &err), 0);
	CHECK_EQ(channel_sent(a) - sent, 2 * WIRE_HEADER_SIZE + 7 + sizeof(data));
	memset(payload, 0xff, sizeof(payload));
	CHECK_EQ(channel_receive(b, &frame, payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_HELLO);
	CHECK_STR((char *)payload, "{\"x\":1}");
	CHECK_EQ(channel_receive(b, &frame, payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_PAGES);
	CHECK_EQ(frame.block, 3);
	CHECK_EQ(frame.offset, 7 * WIRE_PAGE_SIZE);
	CHECK(!memcmp(payload, data, sizeof(data)));
	CHECK_EQ(payload[sizeof(data)], 0);
	frame = (struct wire_frame){ .type = WIRE_BARRIER_DONE, .offset = 5 };
	CHECK_EQ(channel_send(b, &frame, NULL, &err), 0);
	CHECK_EQ(channel_receive(a, &frame, payload, &err), 0);
	CHECK_EQ(frame.type, WIRE_BARRIER_DONE);
	CHECK_EQ(frame.offset, 5);
}

TEST(channel_over_a_unix_socket)
{
	struct channel server = { .fd = -1 };
	struct connecting client;
	struct place place;
	struct error err;
	pthread_t thread;
	struct stat st;
	int fd;

	place_make(&place);
	CHECK_EQ(channel_listen(&fd, place.address, &closed, &err), 0);
	CHECK_EQ(stat(place.path, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	client.address = place.address;
	pthread_create(&thread, NULL, connect_thread, &client);
	CHECK_EQ(take_peer(&server, fd, &err), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(client.ret, 0);
	CHECK_STR(server.peer, place.address);
	CHECK_EQ(access(place.path, F_OK), 0);
	channel_hide(fd);
	CHECK(access(place.path, F_OK));
	CHECK_EQ(server.process.pid, getpid());
	check_exchange(&server, &client.channel);
	check_exchange(&client.channel, &server);
	CHECK_EQ(channel_same_peer(&server, &client.channel, &err), 0);
	client.channel.process.pid++;
	CHECK_EQ(channel_same_peer(&server, &client.channel, &err), -1);
	CHECK_EQ(err.code, EXIT_PERMISSION);
	channel_close(&client.channel);
	channel_close(&server);
	channel_close(&server);
	channel_unlisten(fd);
	CHECK(access(place.path, F_OK));
	place_remove(&place);
}

/* The address of a listening TCP socket. */
static void tcp_address(int fd, const char *host, char *address, size_t size)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	in_port_t port;

	CHECK_EQ(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	port = name.ss_family == AF_INET6 ?
	       ((struct sockaddr_in6 *)&name)->sin6_port :
	       ((struct sockaddr_in *)&name)->sin_port;
	snprintf(address, size, "%s:%u", host, ntohs(port));
}

static int tcp_option(const struct channel *channel, int level, int option)
{
	socklen_t len = sizeof(int);
	int value = -1;

	CHECK_EQ(getsockopt(channel->fd, level, option, &value, &len), 0);
	return value;
}

static void check_tcp(const char *listen_address, const char *host)
{
	struct channel server = { .fd = -1 };
	struct connecting client;
	struct error err;
	pthread_t thread;
	char address[64];
	int fd;

	CHECK_EQ(channel_listen(&fd, listen_address, &insecure, &err), 0);
	tcp_address(fd, host, address, sizeof(address));
	client.address = address;
	pthread_create(&thread, NULL, connect_thread, &client);
	CHECK_EQ(take_peer(&server, fd, &err), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(client.ret, 0);
	check_exchange(&server, &client.channel);
	check_exchange(&client.channel, &server);
	CHECK_EQ(tcp_option(&server, IPPROTO_TCP, TCP_NODELAY), 1);
	CHECK_EQ(tcp_option(&server, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
	CHECK_EQ(tcp_option(&client.channel, SOL_SOCKET, SO_KEEPALIVE), 1);
	channel_close(&client.channel);
	channel_close(&server);
	channel_unlisten(fd);
}

TEST(channel_over_tcp)
{
	check_tcp("127.0.0.1:0", "127.0.0.1");
	check_tcp(":0", "127.0.0.1");
	check_tcp("localhost:0", "localhost");
}

TEST(channel_tcp_only_if_asked_for)
{
	struct channel channel;
	struct error err;
	int fd;

	CHECK_EQ(channel_listen(&fd, "127.0.0.1:0", &closed, &err), -1);
	CHECK_EQ(fd, -1);
	CHECK_EQ(err.code, EXIT_USAGE);
	CHECK_HAS(err.message, "neither encrypted nor authenticated");
	CHECK_HAS(err.advice, "--insecure");
	CHECK_EQ(channel_connect(&channel, "127.0.0.1:1", &closed, &err), -1);
	CHECK_EQ(err.code, EXIT_USAGE);
	channel_close(&channel);
}

TEST(channel_addresses_that_are_none)
{
	static const char * const bad[] = {
		"", "unix:", "host", "host:", "host:ssh", "::1:4444", "1:2:3",
		"127.0.0.1:99999", ":4444", "[::1]", "host:44 ",
		"unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678",
	};
	struct channel channel;
	struct error err;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(channel_connect(&channel, bad[i], &insecure, &err), -1);
		CHECK_EQ(err.code, EXIT_USAGE);
		CHECK_EQ(channel.fd, -1);
		if (!strcmp(bad[i], ":4444"))
			continue;
		CHECK_EQ(channel_listen(&fd, bad[i], &insecure, &err), -1);
		CHECK_EQ(err.code, EXIT_USAGE);
	}
}

TEST(channel_connect_says_that_nobody_listens)
{
	struct channel channel;
	struct place place;
	struct error err;
	int fd;

	place_make(&place);
	CHECK_EQ(channel_connect(&channel, place.address, &closed, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "nobody listens there");
	CHECK_HAS(err.advice, "migctl receive");
	CHECK_EQ(channel_connect(&channel, "127.0.0.1:1", &insecure, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "127.0.0.1:1: nobody listens there");
	CHECK_EQ(channel_listen(&fd, "unix:/tmp/no/such/dir", &closed, &err), -1);
	CHECK_HAS(err.message, "No such file");
	place_remove(&place);
}

/* A socket's file that nobody has is replaced, and only such a one. */
TEST(channel_listen_replaces_a_stale_socket_only)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct channel server = { .fd = -1 };
	struct connecting client;
	struct place place;
	struct error err;
	pthread_t thread;
	int stale, fd, second;

	place_make(&place);
	strcpy(name.sun_path, place.path);
	stale = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(bind(stale, (struct sockaddr *)&name, sizeof(name)), 0);
	close(stale);
	CHECK_EQ(access(place.path, F_OK), 0);
	CHECK_EQ(channel_listen(&fd, place.address, &closed, &err), 0);

	CHECK_EQ(channel_listen(&second, place.address, &closed, &err), -1);
	CHECK_HAS(err.message, "in use by another process");
	/* The attempt is not taken for a peer. */
	client.address = place.address;
	pthread_create(&thread, NULL, connect_thread, &client);
	CHECK_EQ(take_peer(&server, fd, &err), 0);
	pthread_join(thread, NULL);
	check_exchange(&server, &client.channel);

	/* The name is free again, and what has it now is not fd's to remove. */
	channel_hide(fd);
	CHECK_EQ(channel_listen(&second, place.address, &closed, &err), 0);
	channel_unlisten(fd);
	CHECK_EQ(access(place.path, F_OK), 0);
	channel_unlisten(second);
	CHECK(access(place.path, F_OK));
	channel_close(&client.channel);
	channel_close(&server);
	place_remove(&place);
}

TEST(channel_listen_leaves_a_file_alone)
{
	struct place place;
	struct error err;
	FILE *file;
	int fd;

	place_make(&place);
	file = fopen(place.path, "w");
	fputs("precious", file);
	fclose(file);
	CHECK_EQ(channel_listen(&fd, place.address, &closed, &err), -1);
	CHECK_HAS(err.message, "exists and is not a socket");
	CHECK_EQ(unlink(place.path), 0);
	place_remove(&place);
}

static void become_nobody(void)
{
	if (setgid(NOBODY) || setuid(NOBODY))
		_exit(1);
}

/* Somebody else connects, let in by the file's mode: refused by name. */
TEST(channel_accept_refuses_another_user)
{
	struct channel server, client;
	struct place place;
	struct error err;
	char user[32];
	int fd, status;
	pid_t pid;

	if (geteuid()) {
		printf("# needs root: not tested\n");
		return;
	}
	place_make(&place);
	CHECK_EQ(channel_listen(&fd, place.address, &closed, &err), 0);
	CHECK_EQ(chmod(place.dir, 0755), 0);
	CHECK_EQ(chmod(place.path, 0666), 0);
	pid = fork();
	if (!pid) {
		become_nobody();
		_exit(channel_connect(&client, place.address, &closed, &err));
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(take_peer(&server, fd, &err), -1);
	CHECK_EQ(server.fd, -1);
	CHECK_EQ(err.code, EXIT_PERMISSION);
	snprintf(user, sizeof(user), "process %d of user %d", pid, NOBODY);
	CHECK_HAS(err.message, user);
	channel_unlisten(fd);
	place_remove(&place);
}

/* The receiver is not the one that the sender thinks it is. */
TEST(channel_connect_refuses_another_user)
{
	struct channel client;
	struct place place;
	struct error err;
	int ready[2], fd;
	char c;
	pid_t pid;

	if (geteuid()) {
		printf("# needs root: not tested\n");
		return;
	}
	place_make(&place);
	CHECK_EQ(chown(place.dir, NOBODY, NOBODY), 0);
	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		become_nobody();
		if (channel_listen(&fd, place.address, &closed, &err) ||
		    write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(channel_connect(&client, place.address, &closed, &err), -1);
	CHECK_EQ(err.code, EXIT_PERMISSION);
	CHECK_HAS(err.message, "of user 65534 is at the other end");
	CHECK_HAS(err.advice, "same user");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(place.path);
	place_remove(&place);
}

TEST(channel_may_be_left_to_root)
{
	struct channel server, client;
	struct place place;
	struct error err;
	int fd, status;
	pid_t pid;

	if (geteuid()) {
		printf("# needs root: not tested\n");
		return;
	}
	place_make(&place);
	CHECK_EQ(channel_listen(&fd, place.address, &closed, &err), 0);
	CHECK_EQ(channel_connect(&client, place.address, &closed, &err), 0);
	pid = fork();
	if (!pid) {
		become_nobody();
		_exit(take_peer(&server, fd, &err) ? 1 : 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	channel_close(&client);
	/* That was nobody's: root's name is still there. */
	unlink(place.path);
	close(fd);
	place_remove(&place);
}

struct stopping {
	struct channel *channel;
	double at;
};

static void *stop_thread(void *data)
{
	struct stopping *s = data;

	usleep(300000);
	s->at = now();
	channel_stop(s->channel);
	return NULL;
}

TEST(channel_stop_ends_a_receive)
{
	struct channel a, b;
	struct stopping s = { .channel = &a };
	struct wire_frame frame = { .type = WIRE_DONE };
	struct error err;
	pthread_t thread;
	double end;

	channel_pair(&a, &b);
	pthread_create(&thread, NULL, stop_thread, &s);
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	end = now();
	pthread_join(thread, NULL);
	CHECK(end - s.at < 10);
	CHECK_HAS(err.message, "stopped");
	CHECK_EQ(channel_send(&a, &frame, NULL, &err), -1);
	channel_close(&a);
	channel_close(&b);
}

TEST(channel_stop_ends_a_send)
{
	struct channel a, b;
	struct stopping s = { .channel = &a };
	struct wire_frame frame = {
		.type = WIRE_VMM_DATA, .length = WIRE_MAX_PAYLOAD,
	};
	struct error err;
	pthread_t thread;
	int i, ret = 0;
	double end;

	channel_pair(&a, &b);
	pthread_create(&thread, NULL, stop_thread, &s);
	for (i = 0; !ret && i < 100; i++)
		ret = channel_send(&a, &frame, payload, &err);
	end = now();
	CHECK_EQ(ret, -1);
	pthread_join(thread, NULL);
	CHECK(end - s.at < 10);
	CHECK_EQ(channel_send(&a, &frame, payload, &err), -1);
	CHECK_HAS(err.message, "stopped");
	channel_close(&a);
	channel_close(&b);
}

/* Nothing comes, or the half of a header and then nothing. */
TEST(channel_expect_ends_a_receive)
{
	struct channel a, b;
	struct wire_frame frame;
	struct error err;
	double begun;
	int half;

	for (half = 0; half < 2; half++) {
		channel_pair(&a, &b);
		if (half)
			CHECK_EQ(write(b.fd, payload, WIRE_HEADER_SIZE / 2), WIRE_HEADER_SIZE / 2);
		begun = now();
		channel_expect(&a, 300);
		CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
		CHECK(now() - begun >= 0.3);
		CHECK_EQ(err.code, EXIT_PEER);
		CHECK_HAS(err.message, "does not answer");
		channel_close(&a);
		channel_close(&b);
	}
}

/* What has come is received; nothing is waited for after that. */
TEST(channel_expect_leaves_what_is_there)
{
	struct wire_frame frame = { .type = WIRE_DONE };
	struct channel a, b;
	struct error err;

	channel_pair(&a, &b);
	channel_expect(&a, 0);
	CHECK_EQ(channel_send(&b, &frame, NULL, &err), 0);
	usleep(1000);
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), 0);
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	CHECK_EQ(channel_send(&b, &frame, NULL, &err), 0);
	channel_close(&a);
	channel_close(&b);
}

static void *drain_thread(void *data)
{
	struct channel *channel = data;
	struct wire_frame frame;
	struct error err;

	while (!channel_receive(channel, &frame, payload, &err))
		;
	return NULL;
}

static struct channel *signalled;

static void on_signal(int number)
{
	struct channel *channel = __atomic_load_n(&signalled, __ATOMIC_RELAXED);

	(void)number;
	if (channel)
		channel_stop(channel);
}

/* Signals without SA_RESTART break into all that waits; no byte is lost. */
TEST(channel_carries_on_after_signals_until_stopped)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1,
	};
	struct itimerspec often = { { 0, 500000 }, { 0, 500000 } };
	/* Once would do, if it were not too early for the handler to know whom to stop. */
	struct itimerspec seldom = { { 0, 100000000 }, { 0, 100000000 } };
	static uint8_t data[WIRE_MAX_PAYLOAD];
	struct wire_frame frame = {
		.type = WIRE_VMM_DATA, .length = sizeof(data),
	};
	struct channel a, b;
	struct error err;
	pthread_t thread;
	timer_t timer;
	int i, bad = 0;

	channel_pair(&a, &b);
	sigaction(SIGUSR1, &action, NULL);
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	pthread_create(&thread, NULL, drain_thread, &b);
	timer_settime(timer, 0, &often, NULL);
	for (i = 0; i < 64; i++)
		bad += !!channel_send(&a, &frame, data, &err);
	CHECK_EQ(bad, 0);
	/* The handler itself stops it. */
	timer_settime(timer, 0, &seldom, NULL);
	__atomic_store_n(&signalled, &a, __ATOMIC_RELAXED);
	CHECK_EQ(channel_receive(&a, &frame, data, &err), -1);
	CHECK_HAS(err.message, "stopped");
	timer_delete(timer);
	channel_close(&a);
	pthread_join(thread, NULL);
	channel_close(&b);
}

TEST(channel_says_how_the_peer_went)
{
	struct channel a, b;
	struct wire_frame frame = {
		.type = WIRE_PAGES, .length = 2 * WIRE_PAGE_SIZE,
	};
	uint8_t header[WIRE_HEADER_SIZE];
	struct error err;

	channel_pair(&a, &b);
	CHECK_EQ(channel_send_text(&b, WIRE_FAILED, "why", &err), 0);
	channel_close(&b);
	/* What it had to say comes first, even after a send has failed. */
	CHECK_EQ(channel_send(&a, &frame, payload, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "a: the peer closed the connection");
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), 0);
	CHECK_STR((char *)payload, "why");
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK(!strstr(err.message, "middle"));
	channel_close(&a);

	channel_pair(&a, &b);
	frame = (struct wire_frame){
		.type = WIRE_PAGES, .length = 2 * WIRE_PAGE_SIZE,
	};
	wire_encode(header, &frame);
	CHECK_EQ(send(b.fd, header, 7, 0), 7);
	channel_close(&b);
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	CHECK_HAS(err.message, "in the middle of a frame");
	channel_close(&a);

	channel_pair(&a, &b);
	CHECK_EQ(send(b.fd, header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(send(b.fd, payload, 5000, 0), 5000);
	channel_close(&b);
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "in the middle of a frame");
	channel_close(&a);
}

/* The other side is killed while this one sends. */
TEST(channel_send_fails_when_the_peer_dies)
{
	struct wire_frame frame = {
		.type = WIRE_VMM_DATA, .length = WIRE_MAX_PAYLOAD,
	};
	struct channel a, b;
	struct error err;
	pid_t pid;
	int ret;

	channel_pair(&a, &b);
	pid = fork();
	if (!pid) {
		channel_close(&a);
		if (recv(b.fd, payload, 100000, MSG_WAITALL) != 100000)
			_exit(1);
		raise(SIGKILL);
	}
	channel_close(&b);
	do {
		ret = channel_send(&a, &frame, payload, &err);
	} while (!ret);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "closed the connection");
	CHECK_EQ(channel_send(&a, &frame, payload, &err), -1);
	channel_close(&a);
	waitpid(pid, NULL, 0);
}

TEST(channel_refuses_nonsense)
{
	static const char request[] =
		"GET / HTTP/1.1\r\nHost: somewhere.example.org\r\n\r\n";
	struct wire_frame frame = { .type = WIRE_PAGES, .length = 100 };
	uint8_t header[WIRE_HEADER_SIZE];
	struct channel a, b;
	struct error err;
	char *text;

	channel_pair(&a, &b);
	/* Ours first: it does not even leave. */
	CHECK_EQ(channel_send(&a, &frame, payload, &err), -1);
	CHECK_EQ(channel_send_text(&a, WIRE_HELLO, "", &err), -1);
	text = malloc(WIRE_MAX_PAYLOAD + 2);
	memset(text, 'x', WIRE_MAX_PAYLOAD + 1);
	text[WIRE_MAX_PAYLOAD + 1] = '\0';
	CHECK_EQ(channel_send_text(&a, WIRE_HELLO, text, &err), -1);
	free(text);
	CHECK_EQ(channel_sent(&a), 0);

	wire_encode(header, &frame);
	CHECK_EQ(send(b.fd, header, sizeof(header), 0), sizeof(header));
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	CHECK_HAS(err.message, "not a migration stream");
	CHECK_EQ(send(b.fd, request, sizeof(request), 0), sizeof(request));
	CHECK_EQ(channel_receive(&a, &frame, payload, &err), -1);
	CHECK_EQ(err.code, EXIT_PEER);
	channel_close(&a);
	channel_close(&b);
}

struct sending {
	struct channel *channel;
	uint8_t id;
};

#define SENDERS		4
#define FRAMES_EACH	200

static void *sending_thread(void *data)
{
	struct sending *s = data;
	struct wire_frame frame = { .type = WIRE_VMM_DATA, .block = s->id };
	static _Thread_local uint8_t chunk[70000];
	struct error err;
	int i;

	memset(chunk, s->id, sizeof(chunk));
	for (i = 0; i < FRAMES_EACH; i++) {
		frame.length = 1 + (uint32_t)(i * 347) % sizeof(chunk);
		frame.offset = (uint64_t)i;
		CHECK_EQ(channel_send(s->channel, &frame, chunk, &err), 0);
	}
	return NULL;
}

TEST(channel_frames_of_threads_do_not_mix)
{
	struct sending senders[SENDERS];
	uint64_t next[SENDERS] = { };
	pthread_t threads[SENDERS];
	struct wire_frame frame;
	struct channel a, b;
	struct error err;
	uint32_t k;
	int i;

	channel_pair(&a, &b);
	for (i = 0; i < SENDERS; i++) {
		senders[i] = (struct sending){ &a, (uint8_t)i };
		pthread_create(&threads[i], NULL, sending_thread, &senders[i]);
	}
	for (i = 0; i < SENDERS * FRAMES_EACH; i++) {
		if (channel_receive(&b, &frame, payload, &err))
			break;
		CHECK_EQ(frame.offset, next[frame.block]++);
		for (k = 0; k < frame.length; k++) {
			if (payload[k] != frame.block)
				break;
		}
		CHECK_EQ(k, frame.length);
	}
	CHECK_EQ(i, SENDERS * FRAMES_EACH);
	for (i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
	channel_close(&a);
	channel_close(&b);
}
