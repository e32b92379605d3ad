// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VFIO test device under all that a user can do to it, at once and in no order,
 * for MIGTRACK_SOAK_SECONDS, 10 without it. Afterwards it works as before. What
 * else may have gone wrong, the kernel's log tells.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vfio_host.h"

#define PAGE	4096UL
#define MEMORY	(256 * PAGE)
#define IOVA	0x10000000UL
#define CHUNK	65536

struct soak {
	struct testdev dev;
	void *memory;
	pthread_mutex_t lock;	/* data_fd */
	int data_fd;
	volatile bool stop;
	unsigned long done;
};

static uint32_t any(unsigned int *seed, uint32_t n)
{
	return rand_r(seed) % n;
}

static void set_data_fd(struct soak *soak, int fd)
{
	int old;

	pthread_mutex_lock(&soak->lock);
	old = soak->data_fd;
	soak->data_fd = fd;
	pthread_mutex_unlock(&soak->lock);
	if (old >= 0)
		close(old);
}

/* One more of it, which stays when it is replaced. */
static int get_data_fd(struct soak *soak)
{
	int fd;

	pthread_mutex_lock(&soak->lock);
	fd = soak->data_fd < 0 ? -1 : fcntl(soak->data_fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&soak->lock);
	return fd;
}

static void *change_states(void *data)
{
	struct soak *soak = data;
	unsigned int seed = 1;
	int fd;

	while (!soak->stop) {
		if (!any(&seed, 10))
			vfio_reset(&soak->dev);
		if (!vfio_set_state(&soak->dev, any(&seed, TESTDEV_STATES + 1), &fd) && fd >= 0)
			set_data_fd(soak, fd);
		usleep(any(&seed, 3000));
		soak->done++;
	}
	return NULL;
}

static void *use_data(void *data)
{
	struct vfio_precopy_info info;
	struct pollfd ready = { .events = POLLIN | POLLOUT };
	struct soak *soak = data;
	unsigned int seed = 2;
	uint8_t *buf = calloc(1, CHUNK);

	while (buf && !soak->stop) {
		ready.fd = get_data_fd(soak);
		switch (any(&seed, 4)) {
		case 0:
			if (write(ready.fd, buf, any(&seed, CHUNK)) < 0)
				break;
			break;
		case 1:
			poll(&ready, 1, 5);
			break;
		case 2:
			vfio_precopy_info(ready.fd, &info);
			break;
		default:
			if (read(ready.fd, buf, any(&seed, CHUNK)) < 0)
				break;
		}
		if (ready.fd >= 0)
			close(ready.fd);
	}
	free(buf);
	return NULL;
}

static void *turn_knobs(void *data)
{
	static const char *const calls[] = {
		"get_data_size", "precopy_info", "read", "write", "set_state", "get_state", "reset",
		"log_start", "log_stop", "log_report",
	};
	static const char *const reports[] = { "data_size", "initial", "dirty", "state" };
	static const char *const values[] = { "real", "random", "0 -1", "1 real random -5000" };
	struct soak *soak = data;
	unsigned int seed = 3;
	char name[64], text[4096];

	while (!soak->stop) {
		switch (any(&seed, 8)) {
		case 0:
			snprintf(name, sizeof(name), "errno_%s", calls[any(&seed, 10)]);
			knob_set(&soak->dev, name, "%u %u", any(&seed, 134), 1 + any(&seed, 3));
			break;
		case 1:
			snprintf(name, sizeof(name), "delay_%s", calls[any(&seed, 10)]);
			knob_set(&soak->dev, name, "%u", any(&seed, 20));
			break;
		case 2:
			snprintf(name, sizeof(name), "report_%s", reports[any(&seed, 4)]);
			knob_set(&soak->dev, name, "%s", values[any(&seed, 4)]);
			break;
		case 3:
			knob_set(&soak->dev, "initial_bytes", "%llu", 1ULL << any(&seed, 62));
			break;
		case 4:
			knob_set(&soak->dev, "dirty_rate", "%llu", 1ULL << any(&seed, 42));
			break;
		case 5:
			knob_set(&soak->dev, "reinit", "%llu", 1ULL << any(&seed, 61));
			break;
		case 6:
			knob_set(&soak->dev, "error_state", "%u", any(&seed, 2));
			break;
		default:
			knob_get(&soak->dev, any(&seed, 2) ? "log" : "state", text, sizeof(text));
		}
	}
	return NULL;
}

static void *use_memory(void *data)
{
	struct soak *soak = data;
	uint64_t page_size, size, bitmap[MEMORY / PAGE / 64];
	unsigned int seed = 4;
	uint32_t state;

	while (!soak->stop) {
		switch (any(&seed, 9)) {
		case 0:
			vfio_map(&soak->dev, soak->memory, IOVA, MEMORY);
			break;
		case 1:
			vfio_unmap(&soak->dev, IOVA, MEMORY);
			break;
		case 2:
			page_size = PAGE << any(&seed, 12);
			vfio_log_start(&soak->dev, IOVA - any(&seed, 3) * page_size,
				       MEMORY + any(&seed, 3) * page_size, &page_size);
			break;
		case 3:
			vfio_log_stop(&soak->dev);
			break;
		case 4:
			vfio_log_report(&soak->dev, IOVA + any(&seed, 3) * PAGE, MEMORY / 2, PAGE,
					bitmap);
			break;
		case 5:
			reg_write64(&soak->dev, TESTDEV_REG_DMA_IOVA, IOVA + any(&seed, 9) * PAGE);
			reg_write64(&soak->dev, TESTDEV_REG_DMA_LENGTH, any(&seed, 256) * PAGE);
			break;
		case 6:
			vfio_bus_master(&soak->dev, any(&seed, 4));
			reg_write(&soak->dev, TESTDEV_REG_DMA_RATE, 1 << any(&seed, 24));
			reg_write(&soak->dev, TESTDEV_REG_DMA_CONTROL, any(&seed, 8));
			break;
		case 7:
			vfio_region_write(&soak->dev, VFIO_PCI_BAR0_REGION_INDEX,
					  any(&seed, TESTDEV_BAR_SIZE), bitmap,
					  any(&seed, sizeof(bitmap)));
			break;
		default:
			vfio_data_size(&soak->dev, &size);
			vfio_get_state(&soak->dev, &state);
		}
	}
	return NULL;
}

static unsigned int seconds(void)
{
	const char *text = getenv("MIGTRACK_SOAK_SECONDS");

	return text ? atoi(text) : 10;
}

/* Its state moves to another one: what a stream of a few bytes shows. */
static bool moves(const struct testdev *from, const struct testdev *to)
{
	uint8_t buf[2 * CHUNK];
	int source, target, none;
	ssize_t n, all = 0;

	if (reg_write(from, TESTDEV_SCRATCH, 0x600d) != 4 ||
	    vfio_set_state(from, VFIO_DEVICE_STATE_STOP_COPY, &source) ||
	    vfio_set_state(to, VFIO_DEVICE_STATE_RESUMING, &target))
		return false;
	while ((n = read(source, buf, sizeof(buf))) > 0 && write(target, buf, n) == n)
		all += n;
	close(source);
	close(target);
	return !n && all == TESTDEV_HEADER + 5000 + TESTDEV_TRAILER &&
	       !vfio_set_state(to, VFIO_DEVICE_STATE_RUNNING, &none) &&
	       reg_read(to, TESTDEV_SCRATCH) == 0x600d;
}

TEST(soak)
{
	void *(*const tasks[])(void *) = { change_states, use_data, turn_knobs, use_memory };
	static struct soak soak = { .lock = PTHREAD_MUTEX_INITIALIZER, .data_fd = -1 };
	pthread_t threads[4];
	struct testdev fresh;
	unsigned int i;

	ASSERT_EQ(0, testdev_load());
	ASSERT_EQ(0, testdev_create(&soak.dev, "full"));
	ASSERT_EQ(0, vfio_open(&soak.dev));
	soak.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, soak.memory);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, tasks[i], &soak));
	sleep(seconds());
	soak.stop = true;
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	set_data_fd(&soak, -1);
	EXPECT_LT(10, soak.done);

	/* As it was: knobs that hinder are taken away. */
	ASSERT_EQ(0, knob_set(&soak.dev, "errno_reset", "0"));
	ASSERT_EQ(0, knob_set(&soak.dev, "errno_set_state", "0"));
	ASSERT_EQ(0, knob_set(&soak.dev, "errno_read", "0"));
	ASSERT_EQ(0, knob_set(&soak.dev, "initial_bytes", "0"));
	ASSERT_EQ(0, knob_set(&soak.dev, "stop_bytes", "5000"));
	ASSERT_EQ(0, testdev_create(&fresh, "nolog"));
	ASSERT_EQ(0, vfio_open(&fresh));
	ASSERT_EQ(0, vfio_reset(&soak.dev));
	EXPECT_EQ(true, moves(&soak.dev, &fresh));
	EXPECT_EQ(0, testdev_remove(&soak.dev));
	EXPECT_EQ(0, testdev_remove(&fresh));
}

TEST_HARNESS_MAIN
