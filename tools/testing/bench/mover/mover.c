// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How fast memory moves from one tmpfs file to a fresh one over loopback TCP,
 * between two processes: seconds, CPU seconds of both, the most memory, in KiB, that
 * the source and the destination had, the part of what was to be sent without a copy
 * that the kernel has copied, and the seconds that what was on its way still took when
 * the mover had been given all: with a guest that is downtime.
 *
 *	mover migctl CHANNELS SOURCE DESTINATION	by migctl's mover
 *	mover floor CHANNELS SOURCE DESTINATION		by what any has to do: pread, send,
 *							recv, pwrite; no more
 *	mover sendfile|zerocopy CHANNELS SOURCE DESTINATION
 *							the same, but the source does not
 *							copy (see floor.c)
 *	mover read SOURCE				pread of all of it, by one thread
 *	mover scan SOURCE				and look whether pages are zero
 *	mover fill FILE MIB [zero]			make a file with such memory
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mover.h"
#include "stream/hash.h"
#include "stream/intake.h"
#include "stream/link.h"
#include "stream/receiver.h"
#include "stream/sender.h"

void die(const char *what)
{
	fprintf(stderr, "mover: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void die_of(const struct error *err)
{
	fprintf(stderr, "mover: %s\n", err->message);
	exit(1);
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int open_file(const char *path, uint64_t *size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	*size = (uint64_t)st.st_size;
	return fd;
}

/* A fresh file of this size, all hole. */
static int create_file(const char *path, uint64_t size)
{
	int fd;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		die(path);
	return fd;
}

static const struct security security = { .insecure = true };

/* Whoever comes first is the source: nobody else is here. */
static int check_any(void *data, struct channel *channel,
		     const struct wire_frame *frame, const char *payload,
		     struct error *err)
{
	(void)data;
	(void)channel;
	(void)frame;
	(void)payload;
	(void)err;
	return 0;
}

static void refused(void *data, struct channel *channel, const struct error *err)
{
	(void)data;
	(void)channel;
	die_of(err);
}

static void job_listen(struct job *job)
{
	const struct door_ops ops = { .check = check_any, .refused = refused };
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	struct error err;

	if (door_open(&job->door, "127.0.0.1:0", &security, &ops, &err))
		die_of(&err);
	if (getsockname(job->door.fd, (struct sockaddr *)&name, &len))
		die("getsockname");
	snprintf(job->address, sizeof(job->address), "127.0.0.1:%u",
		 ntohs(name.sin_port));
}

/* migctl's mover. */

struct destination {
	struct channel control;
	struct link link;
	struct intake intake;
	struct receiver receiver;
};

static int serve(void *data, unsigned int index, struct channel *channel,
		 struct error *err)
{
	struct destination *d = data;

	return intake_serve(&d->intake, index, channel, err);
}

static void failed(void *data, const struct error *err)
{
	(void)data;
	die_of(err);
}

static const uint8_t id[WIRE_ID_SIZE] = "a benchmark";

static void migctl_destination(struct job *job)
{
	struct receiver_block block = { .fd = job->to, .size = job->size };
	static struct destination d;
	const struct link_ops ops = { .serve = serve, .failed = failed, .data = &d };
	static char hello[DOOR_MAX_FRAME + 1];
	struct wire_frame frame;
	struct error err;
	char none[1];

	if (door_wait(&job->door, &d.control, &frame, hello, -1, &err) ||
	    receiver_open(&d.receiver, &block, 1, &err) ||
	    link_open(&d.link, &d.control, job->n, id, &ops, &err))
		die_of(&err);
	intake_open(&d.intake, &d.link, &d.receiver, CODEC_NONE);
	if (link_listen(&d.link, &job->door, &err) ||
	    channel_receive(&d.control, &frame, none, &err) ||
	    intake_close(&d.intake, &err))
		die_of(&err);
	_exit(0);
}

static double migctl_source(struct job *job)
{
	struct sender_block block = {
		.fd = job->from, .size = job->size, .empty = true,
	};
	const struct sender_options options = { .level = 1 };
	struct wire_frame frame = { .type = WIRE_DONE };
	static struct sender sender;
	struct channel control;
	static struct link link;
	struct error err;
	double start;
	char none[1];
	int left;

	if (channel_connect(&control, job->address, &security, &err) ||
	    channel_send_text(&control, WIRE_HELLO, "{}", &err) ||
	    link_open(&link, &control, job->n, id, NULL, &err) ||
	    link_connect(&link, job->address, &security, &err) ||
	    channel_receive(&control, &frame, none, &err) ||
	    sender_open(&sender, &link, &block, 1, &options, &err))
		die_of(&err);
	start = now();
	if (sender_first_pass(&sender, &err))
		die_of(&err);
	do {
		left = sender_send(&sender, 4 << 20, &err);
	} while (left > 0);
	job->rest = now();
	if (left < 0 || sender_barrier(&sender, 1, &err) ||
	    channel_receive(&control, &frame, none, &err))
		die_of(&err);
	job->rest = now() - job->rest;
	start = now() - start;
	frame = (struct wire_frame){ .type = WIRE_DONE };
	channel_send(&control, &frame, NULL, &err);
	/* It ends first: until then its data channels are needed. */
	while (!channel_receive(&control, &frame, none, &err))
		;
	sender_close(&sender);
	link_close(&link);
	channel_close(&control);
	return start;
}

static const struct way {
	const char *name;
	double (*source)(struct job *job);
	void (*destination)(struct job *job);
} ways[] = {
	{ "migctl", migctl_source, migctl_destination },
	{ "floor", floor_source, floor_destination },
	{ "sendfile", sendfile_source, floor_destination },
	{ "zerocopy", zerocopy_source, floor_destination },
};

static const struct way *way_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (!strcmp(ways[i].name, name))
			return &ways[i];
	}
	return NULL;
}

static double move(const struct way *way, char **args, struct job *job)
{
	double seconds;
	int status;
	pid_t pid;

	*job = (struct job){ .n = (unsigned int)atoi(args[0]) };
	if (job->n < 1 || job->n > WIRE_MAX_CHANNELS)
		die(args[0]);
	job->from = open_file(args[1], &job->size);
	job->to = create_file(args[2], job->size);
	job_listen(job);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		way->destination(job);
	seconds = way->source(job);
	if (waitpid(pid, &status, 0) != pid || status)
		die("the destination");
	return seconds;
}

/* One thread goes through it, as a sender does. */
static double pass(const char *path, bool scan)
{
	uint8_t *buffer = aligned_alloc(4096, CHUNK);
	uint64_t size, at, zeros = 0;
	int fd = open_file(path, &size);
	double start = now();
	ssize_t n, i;

	for (at = 0; at < size; at += CHUNK) {
		n = pread(fd, buffer, CHUNK, (off_t)at);
		if (n <= 0)
			die(path);
		for (i = 0; scan && i < n; i += WIRE_PAGE_SIZE)
			zeros += page_is_zero(buffer + i);
	}
	start = now() - start;
	free(buffer);
	if (scan && zeros * WIRE_PAGE_SIZE != size)
		die("there are pages that are not zero");
	return start;
}

/* Memory that is all there, and that nothing can make smaller. */
static void fill(const char *path, uint64_t mib, bool zero)
{
	uint64_t *buffer = calloc(1, 1 << 20), x = 88172645463325252;
	int fd = create_file(path, mib << 20);
	size_t i;

	while (mib--) {
		for (i = 0; !zero && i < (1 << 20) / sizeof(*buffer); i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			buffer[i] = x;
		}
		if (pwrite(fd, buffer, 1 << 20, (off_t)(mib << 20)) != 1 << 20)
			die(path);
	}
	free(buffer);
}

static double cpu_of(int who)
{
	struct rusage used;

	getrusage(who, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static long peak_kib(int who)
{
	struct rusage used;

	getrusage(who, &used);
	return used.ru_maxrss;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct job job = {};
	double seconds = 0;

	if (argc == 5 && way_find(what)) {
		seconds = move(way_find(what), argv + 2, &job);
	} else if ((!strcmp(what, "read") || !strcmp(what, "scan")) && argc == 3) {
		seconds = pass(argv[2], !strcmp(what, "scan"));
	} else if (!strcmp(what, "fill") && argc >= 4) {
		fill(argv[2], strtoull(argv[3], NULL, 10), argc > 4);
	} else {
		fprintf(stderr, "see mover.c\n");
		return 2;
	}
	printf("%.6f %.6f %ld %ld %.3f %.6f\n", seconds,
	       cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN),
	       peak_kib(RUSAGE_SELF), peak_kib(RUSAGE_CHILDREN), job.copied, job.rest);
	return 0;
}
