// SPDX-License-Identifier: GPL-2.0-or-later
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream/hash.h"
#include "stream_move.h"
#include "unit.h"

static int memory_create(uint64_t pages)
{
	int fd = memfd_create("unit", MFD_CLOEXEC);

	CHECK_EQ(ftruncate(fd, (off_t)(pages * PAGE)), 0);
	return fd;
}

void move_block(struct move *move, uint64_t offset, uint64_t pages)
{
	size_t i = move->nblocks++;

	/* There is more in the file, which is not to be touched. */
	move->from[i] = (struct sender_block){
		.name = "ram",
		.fd = memory_create(offset + pages + 2),
		.offset = offset * PAGE,
		.size = pages * PAGE,
	};
	move->to[i] = (struct receiver_block){
		.name = "ram",
		.fd = memory_create(offset + pages + 2),
		.offset = offset * PAGE,
		.size = pages * PAGE,
	};
	move->bitmap[i] = calloc(pages / 64 + 1, sizeof(unsigned long));
}

static void failed(void *data, const struct error *err)
{
	struct move *move = data;

	move->err = *err;
	__atomic_store_n(&move->failed, true, __ATOMIC_RELEASE);
}

static int serve(void *data, unsigned int index, struct channel *channel,
		 struct error *err)
{
	struct move *move = data;

	return intake_serve(&move->intake, index, channel, err);
}

static void refused(void *data, struct channel *channel, const struct error *err)
{
	struct move *move = data;

	(void)channel;
	move->why = *err;
	__atomic_add_fetch(&move->refused, 1, __ATOMIC_RELEASE);
}

static void listen_tcp(struct move *move)
{
	struct door_ops ops = { .refused = refused, .refused_data = move };
	struct sockaddr_in name;
	socklen_t len = sizeof(name);
	struct error err;

	move->security.insecure = true;
	CHECK_EQ(door_open(&move->door, "127.0.0.1:0", &move->security, &ops, &err), 0);
	CHECK_EQ(getsockname(move->door.fd, (struct sockaddr *)&name, &len), 0);
	snprintf(move->address, sizeof(move->address), "127.0.0.1:%u",
		 ntohs(name.sin_port));
}

void move_listen(struct move *move)
{
	struct link_ops ops = { .serve = serve, .failed = failed, .data = move };
	unsigned int n = move->channels ? move->channels : 1;
	uint8_t id[WIRE_ID_SIZE];
	struct error err = { };
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	channel_open(&move->control[0], fds[0], "destination");
	channel_open(&move->control[1], fds[1], "source");
	listen_tcp(move);
	CHECK_EQ(link_draw_id(id, &err), 0);
	CHECK_EQ(link_open(&move->source, &move->control[0], n, id, NULL, &err), 0);
	CHECK_EQ(link_open(&move->destination, &move->control[1], n, id, &ops,
			   &err), 0);
	move->source.urgent = move->destination.urgent = move->urgent;
	intake_open(&move->intake, &move->destination, &move->receiver,
		    move->codec);
	intake_divert(&move->intake, move->ops, move->ops_data);
	if (move->join_timeout_ns)
		move->destination.join_timeout_ns = move->join_timeout_ns;
	CHECK_EQ(link_listen(&move->destination, &move->door, &err), 0);
}

void move_link(struct move *move)
{
	struct wire_frame frame = { };
	struct error err = { };
	char none[1];

	move_listen(move);
	CHECK_EQ(link_connect(&move->source, move->address, &move->security,
			      &err), 0);
	CHECK_EQ(channel_receive(&move->control[0], &frame, none, &err), 0);
	CHECK_EQ(frame.type, WIRE_JOINED);
}

void move_open(struct move *move, uint64_t max_bandwidth)
{
	struct sender_options options = {
		.max_bandwidth = max_bandwidth,
		.codec = move->codec,
		.level = 1,
	};
	struct error err = { };
	size_t i;

	for (i = 0; i < move->nblocks; i++)
		move->from[i].empty = receiver_is_empty(&move->to[i]);
	CHECK_EQ(receiver_open(&move->receiver, move->to, move->nblocks, &err),
		 0);
	move_link(move);
	CHECK_EQ(sender_open(&move->sender, &move->source, move->from,
			     move->nblocks, &options, &err), 0);
}

void move_passed(struct move *move, uint64_t number)
{
	struct wire_frame frame = { };
	struct error err = { };
	char none[1];

	CHECK_EQ(channel_receive(&move->control[0], &frame, none, &err), 0);
	CHECK_EQ(frame.type, WIRE_BARRIER_DONE);
	CHECK_EQ(frame.offset, number);
	CHECK_EQ(intake_rests(&move->intake, &err), 0);
}

void move_drain(struct move *move)
{
	struct error err = { };

	CHECK_EQ(sender_barrier(&move->sender, ++move->barrier, &err), 0);
	move_passed(move, move->barrier);
}

void move_all(struct move *move)
{
	struct error err = { };
	int ret;

	do {
		ret = sender_send(&move->sender, 5 << 20, &err);
	} while (ret > 0);
	CHECK_EQ(ret, 0);
	CHECK_STR(err.message, "");
	CHECK_EQ(sender_pending(&move->sender), 0);
	move_drain(move);
}

void move_broken(struct link *link, struct error *err)
{
	struct move *move = link->ops.data;
	int i;

	for (i = 0; i < 2000 && !link_check(link, err); i++)
		usleep(5000);
	CHECK_EQ(link_check(link, err), -1);
	/* The destination is told after that. */
	while (move && !__atomic_load_n(&move->failed, __ATOMIC_ACQUIRE))
		usleep(1000);
}

static bool block_is_equal(struct move *move, size_t index)
{
	struct sender_block *from = &move->from[index];
	struct receiver_block *to = &move->to[index];
	uint64_t pages = from->size / PAGE, i;
	uint64_t *hashes = malloc((pages + 1) * sizeof(*hashes));
	uint8_t a[PAGE], b[PAGE];
	bool equal = true;
	struct error err;

	CHECK_EQ(sender_hash(&move->sender, index, 0, pages, hashes, &err), 0);
	for (i = 0; i < pages; i++) {
		CHECK_EQ(pread(from->fd, a, PAGE,
			       (off_t)(from->offset + i * PAGE)), PAGE);
		CHECK_EQ(pread(to->fd, b, PAGE,
			       (off_t)(to->offset + i * PAGE)), PAGE);
		if (memcmp(a, b, PAGE)) {
			equal = false;
			CHECK(hashes[i] != to->hashes[i]);
		} else {
			CHECK_EQ(hashes[i], to->hashes[i]);
		}
	}
	free(hashes);
	return equal;
}

bool move_is_equal(struct move *move)
{
	bool equal = true;
	size_t i;

	for (i = 0; i < move->nblocks; i++)
		equal &= block_is_equal(move, i);
	return equal;
}

void move_close(struct move *move)
{
	size_t i;

	sender_close(&move->sender);
	link_close(&move->destination);
	link_close(&move->source);
	intake_free(&move->intake);
	channel_close(&move->control[0]);
	channel_close(&move->control[1]);
	door_close(&move->door);
	receiver_close(&move->receiver);
	for (i = 0; i < move->nblocks; i++) {
		free(move->bitmap[i]);
		close(move->from[i].fd);
		close(move->to[i].fd);
	}
}

void page_fill(int fd, uint64_t page, uint64_t n, uint64_t seed)
{
	uint64_t words[PAGE / 8], x;
	size_t i;

	for (; n; n--, page++) {
		x = (seed << 32 | (page + 1)) * 0x9e3779b97f4a7c15;
		for (i = 0; i < PAGE / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			words[i] = x;
		}
		CHECK_EQ(pwrite(fd, words, PAGE, (off_t)(page * PAGE)), PAGE);
	}
}

void page_punch(int fd, uint64_t page, uint64_t n)
{
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   (off_t)(page * PAGE), (off_t)(n * PAGE)), 0);
}

/* As the kernel does it: from any thread. */
void bitmap_mark(unsigned long *bitmap, uint64_t page, uint64_t n)
{
	for (; n; n--, page++)
		__atomic_fetch_or(&bitmap[page / 64], 1ul << page % 64,
				  __ATOMIC_SEQ_CST);
}

/* Pages that the file has memory for. */
uint64_t file_pages(int fd)
{
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512 / PAGE;
}
