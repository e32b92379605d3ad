// SPDX-License-Identifier: GPL-2.0-or-later
/* What strangers can do at the door: nothing. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stream/door.h"
#include "stream_certs.h"
#include "unit.h"

static char payload[DOOR_MAX_FRAME + 1];

static const char psk_line[] = "migtrack:00112233445566778899aabbccddeeff\n";

static const struct security insecure = { .insecure = true };

/* A door, what was refused there, and what is let in. */
struct house {
	struct door door;
	struct channel channel;
	struct wire_frame frame;
	pthread_t thread;
	struct error err;
	int ret;
	int interrupt[2];
	int refused;
	struct error last;
};

static int check_hello(void *data, struct channel *channel,
		       const struct wire_frame *frame, const char *text,
		       struct error *err)
{
	(void)data;
	if (frame->type == WIRE_HELLO && !strcmp(text, "{\"it is\":\"me\"}"))
		return 0;
	return error_set(err, EXIT_PEER, "%s: nobody we know", channel->peer);
}

static void note_refused(void *data, struct channel *channel,
			 const struct error *why)
{
	struct house *house = data;
	struct error ignored;

	if (channel)
		channel_send_text(channel, WIRE_REFUSE, why->message, &ignored);
	house->last = *why;
	__atomic_add_fetch(&house->refused, 1, __ATOMIC_RELEASE);
}

static void *wait_thread(void *data)
{
	struct house *house = data;

	house->ret = door_wait(&house->door, &house->channel, &house->frame, payload,
			       house->interrupt[0], &house->err);
	return NULL;
}

static void house_open(struct house *house, const char *address,
		       const struct security *security)
{
	struct door_ops ops = { check_hello, NULL, note_refused, house };

	*house = (struct house){ .channel.fd = -1 };
	CHECK_EQ(pipe(house->interrupt), 0);
	CHECK_EQ(door_open(&house->door, address, security, &ops, &house->err), 0);
}

static void house_wait(struct house *house)
{
	pthread_create(&house->thread, NULL, wait_thread, house);
}

static void house_close(struct house *house)
{
	channel_close(&house->channel);
	door_close(&house->door);
	close(house->interrupt[0]);
	close(house->interrupt[1]);
}

static int refusals(const struct house *house)
{
	return __atomic_load_n(&house->refused, __ATOMIC_ACQUIRE);
}

static bool refused_within(const struct house *house, int n, int ms)
{
	for (; ms > 0 && refusals(house) < n; ms--)
		usleep(1000);
	return refusals(house) >= n;
}

static in_port_t house_port(const struct house *house)
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	CHECK_EQ(getsockname(house->door.fd, (struct sockaddr *)&name, &len), 0);
	return name.sin_port;
}

/* A connection from an address of this host. */
static int stranger(const struct house *house, const char *from)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = house_port(house) };
	struct sockaddr_in own = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	inet_pton(AF_INET, from, &own.sin_addr);
	CHECK_EQ(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Has the door closed it? */
static bool ended_within(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char bytes[4096];

	while (poll(&pfd, 1, ms) > 0) {
		if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
			return true;
	}
	return false;
}

/* The one that is waited for still comes in. */
static void check_real_one(struct house *house, const struct security *security)
{
	struct channel channel;
	char address[32];
	struct error err;

	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(house_port(house)));
	CHECK_EQ(channel_connect(&channel, address, security, &err), 0);
	CHECK_EQ(channel_send_text(&channel, WIRE_HELLO, "{\"it is\":\"me\"}", &err), 0);
	pthread_join(house->thread, NULL);
	CHECK_EQ(house->ret, 0);
	CHECK_EQ(house->frame.type, WIRE_HELLO);
	CHECK_STR(payload, "{\"it is\":\"me\"}");
	channel_close(&channel);
}

TEST(door_ends_when_interrupted)
{
	struct house house;

	house_open(&house, "127.0.0.1:0", &insecure);
	house_wait(&house);
	CHECK_EQ(write(house.interrupt[1], "x", 1), 1);
	pthread_join(house.thread, NULL);
	CHECK_EQ(house.ret, -1);
	CHECK_EQ(house.err.code, EXIT_CANCELLED);
	CHECK_HAS(house.err.message, "stopped before a peer connected");
	CHECK_EQ(house.channel.fd, -1);
	house_close(&house);
}

TEST(door_lets_nonsense_end_nothing)
{
	static const char * const words[] = {
		"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n",
		"MIGTxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"\x16\x03\x01\x02\x01\x01 and so on and so on and so on",
	};
	struct house house;
	int fds[3];
	size_t i;

	house_open(&house, "127.0.0.1:0", &insecure);
	house_wait(&house);
	for (i = 0; i < 3; i++) {
		fds[i] = stranger(&house, "127.0.0.1");
		CHECK_EQ(send(fds[i], words[i], strlen(words[i]), 0), (ssize_t)strlen(words[i]));
		CHECK(refused_within(&house, (int)i + 1, 20000));
	}
	for (i = 0; i < 3; i++) {
		CHECK(ended_within(fds[i], 20000));
		close(fds[i]);
	}
	check_real_one(&house, &insecure);
	house_close(&house);
}

/* A greeting that is not ours is refused by name, and the door waits on. */
TEST(door_asks_who_is_there)
{
	struct wire_frame frame;
	struct channel channel;
	static char answer[WIRE_MAX_PAYLOAD + 1];
	struct house house;
	char address[32];
	struct error err;

	house_open(&house, "127.0.0.1:0", &insecure);
	house_wait(&house);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(house_port(&house)));
	CHECK_EQ(channel_connect(&channel, address, &insecure, &err), 0);
	CHECK_EQ(channel_send_text(&channel, WIRE_HELLO, "{\"it is\":\"not\"}", &err), 0);
	CHECK_EQ(channel_receive(&channel, &frame, answer, &err), 0);
	CHECK_EQ(frame.type, WIRE_REFUSE);
	CHECK_HAS(answer, "nobody we know");
	channel_close(&channel);
	check_real_one(&house, &insecure);
	house_close(&house);
}

/* A length that is believed would make us wait for a megabyte, and keep it. */
TEST(door_takes_no_long_greeting)
{
	struct wire_frame frame = { .type = WIRE_HELLO, .length = DOOR_MAX_FRAME + 1 };
	uint8_t header[WIRE_HEADER_SIZE];
	struct house house;
	int fd;

	house_open(&house, "127.0.0.1:0", &insecure);
	house_wait(&house);
	wire_encode(header, &frame);
	fd = stranger(&house, "127.0.0.1");
	CHECK_EQ(send(fd, header, sizeof(header), 0), (ssize_t)sizeof(header));
	CHECK(refused_within(&house, 1, 20000));
	CHECK_HAS(house.last.message, "the first frame is too long");
	close(fd);
	check_real_one(&house, &insecure);
	house_close(&house);
}

TEST(door_gives_who_says_nothing_a_while)
{
	struct house house;
	int silent, slow;

	house_open(&house, "127.0.0.1:0", &insecure);
	CHECK_EQ(house.door.timeout_ns, 10000000000);
	house.door.timeout_ns = 3000000000;
	house_wait(&house);
	silent = stranger(&house, "127.0.0.1");
	slow = stranger(&house, "127.0.0.1");
	CHECK_EQ(send(slow, "MIGT", 4, 0), 4);
	usleep(500000);
	/* More of it is no more time. */
	CHECK_EQ(send(slow, "\1\0\0\0", 4, 0), 4);
	CHECK_EQ(refusals(&house), 0);
	CHECK(refused_within(&house, 2, 20000));
	CHECK_HAS(house.last.message, "did not say who it is within 3 s");
	CHECK(ended_within(silent, 20000));
	CHECK(ended_within(slow, 20000));
	close(silent);
	close(slow);
	check_real_one(&house, &insecure);
	house_close(&house);
}

/* Those that stall fill all places: the real one gets in at once all the same. */
static void check_stallers(const char *host, const struct security *security)
{
	int fds[3 * DOOR_VISITORS];
	struct house house;
	struct timespec a, b;
	int i;

	house_open(&house, "127.0.0.1:0", security);
	house_wait(&house);
	for (i = 0; i < 3 * DOOR_VISITORS; i++) {
		fds[i] = stranger(&house, host);
		/* Some of them as if they began. */
		if (i % 2)
			CHECK_EQ(send(fds[i], security->tls ? "\x16\3\1\2" : "MIGT", 4, 0), 4);
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	check_real_one(&house, security);
	clock_gettime(CLOCK_MONOTONIC, &b);
	/* Before the first of them has had its 10 s. */
	CHECK(b.tv_sec - a.tv_sec < 8);
	CHECK(refusals(&house) >= 2 * DOOR_VISITORS);
	CHECK(house.door.n <= DOOR_VISITORS);
	house_close(&house);
	for (i = 0; i < 3 * DOOR_VISITORS; i++)
		close(fds[i]);
}

static void psk_open(struct tls *tls, char dir[64])
{
	struct tls_options options = {};
	struct error err;
	char path[80];

	strcpy(dir, "/tmp/migtrack-unit-XXXXXX");
	CHECK(mkdtemp(dir));
	file_make(dir, "psk", psk_line, strlen(psk_line), 0600);
	snprintf(path, sizeof(path), "%s/psk", dir);
	options.psk = path;
	CHECK_EQ(tls_open(tls, &options, &err), 0);
}

TEST(door_is_not_kept_by_those_who_stall)
{
	struct security secure = {};
	struct tls tls;
	char dir[64];

	check_stallers("127.0.0.1", &insecure);
	check_stallers("127.0.0.2", &insecure);
	psk_open(&tls, dir);
	secure.tls = &tls;
	check_stallers("127.0.0.1", &secure);
	check_stallers("127.0.0.2", &secure);
	tls_close(&tls);
	certs_remove(dir);
}

/* Connect, send, close, as fast as it goes. */
static void flood(const struct house *house)
{
	static char garbage[4096];
	unsigned int i;
	int fd;

	for (i = 0;; i++) {
		fd = stranger(house, "127.0.0.2");
		memset(garbage, (int)i, sizeof(garbage));
		if (i % 3)
			send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
}

TEST(door_is_not_kept_by_those_who_flood)
{
	struct security secure = {};
	struct house house;
	struct tls tls;
	char dir[64];
	pid_t pid;

	psk_open(&tls, dir);
	secure.tls = &tls;
	house_open(&house, "127.0.0.1:0", &secure);
	pid = fork();
	if (!pid)
		flood(&house);
	house_wait(&house);
	CHECK(refused_within(&house, 100, 30000));
	check_real_one(&house, &secure);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	house_close(&house);
	tls_close(&tls);
	certs_remove(dir);
}

/* However it is cut, and whatever it claims to be. */
TEST(door_takes_64_kib_before_it_knows_who)
{
	/* A record of a handshake message that goes on and on. */
	static uint8_t record[5 + 16000] = { 22, 3, 3, 16000 >> 8, 16000 & 255, 1, 0, 0x7f, 0xff };
	struct security secure = {};
	struct house house;
	struct tls tls;
	size_t sent = 0;
	ssize_t len;
	char dir[64];
	int fd;

	psk_open(&tls, dir);
	secure.tls = &tls;
	house_open(&house, "127.0.0.1:0", &secure);
	house_wait(&house);
	fd = stranger(&house, "127.0.0.1");
	while (!refusals(&house) && sent < 100000) {
		len = send(fd, record, sizeof(record), MSG_NOSIGNAL);
		if (len < 0)
			break;
		sent += (size_t)len;
	}
	CHECK(refused_within(&house, 1, 20000));
	/* For that, and not because it took too long. */
	CHECK(!strstr(house.last.message, "within"));
	close(fd);
	check_real_one(&house, &secure);
	house_close(&house);
	tls_close(&tls);
	certs_remove(dir);
}

static void become_nobody(void)
{
	if (setgid(65534) || setuid(65534))
		_exit(1);
}

/* On a unix socket: another user is refused by name, and ends nothing. */
TEST(door_refuses_another_user_and_waits_on)
{
	struct security closed = {};
	struct channel client;
	struct house house;
	struct error err;
	char dir[] = "/tmp/migtrack-unit-XXXXXX", address[64];
	pid_t pid;
	int status;

	if (geteuid()) {
		printf("# needs root: not tested\n");
		return;
	}
	CHECK(mkdtemp(dir));
	snprintf(address, sizeof(address), "unix:%s/socket", dir);
	house_open(&house, address, &closed);
	chmod(dir, 0755);
	chmod(address + 5, 0666);
	house_wait(&house);
	pid = fork();
	if (!pid) {
		become_nobody();
		_exit(channel_connect(&client, address, &closed, &err));
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK(refused_within(&house, 1, 20000));
	CHECK_EQ(house.last.code, EXIT_PERMISSION);
	CHECK_EQ(channel_connect(&client, address, &closed, &err), 0);
	CHECK_EQ(channel_send_text(&client, WIRE_HELLO, "{\"it is\":\"me\"}", &err), 0);
	pthread_join(house.thread, NULL);
	CHECK_EQ(house.ret, 0);
	channel_close(&client);
	house_close(&house);
	CHECK_EQ(rmdir(dir), 0);
}
