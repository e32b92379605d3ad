// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VMM without a guest: it hands its memory over as Firecracker does, and threads
 * touch it as vCPUs would, and look at every page.
 *
 *	vmm [-r REGIONS] [-t THREADS] [-p PAGE-BYTES] [-s SEED] [-n PAGES] [-w MS]
 *	    [-m MODE] SOCKET MIB
 *
 * Prints a line of JSON: pages that were right, pages that were wrong, and what the
 * first touches took. Fails if a page is wrong.
 *
 * -n: touch so many pages and no more; -w: wait before that, but not longer than until all
 * is loaded, and after it look at all.
 * -m: mmap (SOCKET is a file of memory, which is mapped: nobody is asked), balloon (gives pages back, and looks for zeros there), flood (gives back and
 * touches the same ones for a second), die (ends in the middle), leave (ends after that),
 * move (mremap), fork;
 * or what it sends is wrong: garbage, silent, no-fd, no-uffd, two-fds, overlap, size,
 * page-size, wrap, unregistered, untold, closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "memory.h"

#define MAX_REGIONS	16
#define MAX_THREADS	16
#define FLOODED		64

static struct {
	size_t regions;
	size_t threads;
	size_t page_size;
	unsigned int seed;
	uint64_t touches;
	unsigned int wait_ms;
	const char *mode;
	const char *socket;
	uint64_t size;
} options = { .regions = 2, .threads = 2, .page_size = PAGE, .seed = 1, .mode = "" };

static char *region_at[MAX_REGIONS];
static uint64_t region_size;
static uint64_t *order, n_order;
static uint64_t next_touch, right, wrong;
static uint32_t *latency;
static int uffd = -1;

static bool mode_is(const char *name)
{
	return !strcmp(options.mode, name);
}

static void die(const char *what)
{
	fprintf(stderr, "vmm: %s: %s\n", what, strerror(errno));
	exit(3);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void memory_map(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	size_t i;

	if (options.page_size > PAGE)
		flags |= MAP_HUGETLB;
	region_size = options.size / options.regions;
	for (i = 0; i < options.regions; i++) {
		region_at[i] = mmap(NULL, region_size, PROT_READ | PROT_WRITE, flags, -1, 0);
		if (region_at[i] == MAP_FAILED)
			die("mmap");
		/* As it is in a VM: a fault is for a page of this size. */
		madvise(region_at[i], region_size, MADV_NOHUGEPAGE);
	}
}

static void file_map(void)
{
	int fd = open(options.socket, O_RDONLY);

	region_size = options.size;
	region_at[0] = mmap(NULL, region_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (region_at[0] == MAP_FAILED)
		die("mmap");
	/* A guest is not read ahead for: it comes back somewhere. */
	madvise(region_at[0], region_size, MADV_RANDOM);
}

static void memory_register(void)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_REMOVE };
	size_t i;

	if (mode_is("move"))
		api.features |= UFFD_FEATURE_EVENT_REMAP;
	if (mode_is("fork"))
		api.features |= UFFD_FEATURE_EVENT_FORK;
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		die("userfaultfd");
	for (i = 0; i < options.regions && !mode_is("unregistered"); i++) {
		struct uffdio_register reg = {
			.range = { (uintptr_t)region_at[i], region_size },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(uffd, UFFDIO_REGISTER, &reg))
			die("register");
	}
}

static size_t message_make(char *text, size_t room)
{
	size_t i, used = 0, told = options.regions - mode_is("untold");

	if (mode_is("garbage"))
		return (size_t)snprintf(text, room, "[{\"base_host_virt_addr\": \"none\"}]");
	for (i = 0; i < told; i++) {
		uint64_t at = (uintptr_t)region_at[i], offset = i * region_size;
		uint64_t size = region_size, page = options.page_size;

		if (mode_is("overlap") && i)
			at = (uintptr_t)region_at[0] + PAGE;
		if (mode_is("size") && i)
			size -= PAGE;
		if (mode_is("page-size"))
			page = 12345;
		if (mode_is("wrap"))
			at = 0x7ffffffffffff000ull;
		if (mode_is("untold"))
			size = options.size;
		used += (size_t)snprintf(text + used, room - used,
			"%s{\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":%llu,\"page_size_kib\":%llu}",
			i ? "," : "[", (unsigned long long)at, (unsigned long long)size,
			(unsigned long long)offset, (unsigned long long)page);
	}
	return used + (size_t)snprintf(text + used, room - used, "]");
}

static int hand_over(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[8192], control[CMSG_SPACE(2 * sizeof(int))] = {};
	struct iovec iov = { text, message_make(text, sizeof(text)) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[2] = { uffd, uffd }, sock = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t n = mode_is("two-fds") ? 2 : !mode_is("no-fd");
	struct cmsghdr *cmsg;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", options.socket);
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)))
		die("connect");
	if (mode_is("silent"))
		return sock;
	if (mode_is("no-uffd"))
		fds[0] = open("/dev/null", O_RDWR);
	if (n) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	}
	if (sendmsg(sock, &msg, 0) < 0)
		die("sendmsg");
	if (mode_is("closed"))
		close(uffd);
	return sock;
}

static char *page_at(uint64_t page)
{
	uint64_t at = page * PAGE;

	return region_at[at / region_size] + at % region_size;
}

static void look(uint64_t page)
{
	uint64_t *counter = page_is_right(page_at(page), page) ? &right : &wrong;

	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void *vcpu(void *data)
{
	volatile char *at;
	uint64_t i, start;

	(void)data;
	while ((i = __atomic_fetch_add(&next_touch, 1, __ATOMIC_RELAXED)) <
	       options.touches) {
		at = page_at(order[i]);
		start = now_ns();
		(void)*at;
		latency[i] = (uint32_t)(now_ns() - start);
		look(order[i]);
		if (mode_is("die") && i == options.touches / 2)
			raise(SIGKILL);
	}
	return NULL;
}

static void order_make(void)
{
	uint64_t i, j, t;

	n_order = options.size / PAGE;
	order = calloc(n_order, sizeof(*order));
	latency = calloc(n_order, sizeof(*latency));
	srandom(options.seed);
	for (i = 0; i < n_order; i++)
		order[i] = i;
	for (i = n_order - 1; i; i--) {
		j = (uint64_t)random() % (i + 1);
		t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	if (!options.touches || options.touches > n_order)
		options.touches = n_order;
}

static void touch(void)
{
	pthread_t threads[MAX_THREADS];
	size_t i;

	for (i = 0; i < options.threads; i++)
		pthread_create(&threads[i], NULL, vcpu, NULL);
	for (i = 0; i < options.threads; i++)
		pthread_join(threads[i], NULL);
}

/* A tenth of its memory, some of which was never touched. */
static void balloon(void)
{
	uint64_t page, last = options.size / PAGE;

	for (page = 0; page < last; page += 10)
		madvise(page_at(page), PAGE, MADV_DONTNEED);
	for (page = 0; page < last; page += 10) {
		if (page_is_zeros(page_at(page)))
			continue;
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	}
}

static void flood(void)
{
	uint64_t end = now_ns() + 1000000000, n = 0;

	for (; now_ns() < end; n++) {
		madvise(page_at(n % FLOODED), PAGE, MADV_DONTNEED);
		if (!page_is_zeros(page_at(n % FLOODED)))
			wrong++;
	}
	fprintf(stderr, "vmm: %llu floods\n", (unsigned long long)n);
}

static void misbehave(void)
{
	if (mode_is("balloon"))
		balloon();
	if (mode_is("flood"))
		flood();
	if (mode_is("move"))
		mremap(region_at[0], region_size, region_size,
		       MREMAP_MAYMOVE | MREMAP_FIXED,
		       mmap(NULL, region_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (mode_is("fork") && !fork())
		_exit(0);
}

/* A guest runs on. Its peer closes the connection when all is loaded, or it has failed. */
static void end_await(int sock)
{
	struct timeval limit = { .tv_sec = 60 };
	char byte;

	fflush(stdout);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (recv(sock, &byte, 1, 0))
		die("it is not released");
	/* Ended by it, perhaps. */
	usleep(100000);
}

/* Its peer closes the connection then. */
static void wait_until_loaded(int sock)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };

	poll(&pfd, 1, (int)options.wait_ms);
}

/* Once its peer has closed the connection there is nobody to ask. */
static void refusal_await(int sock)
{
	char byte;

	if (recv(sock, &byte, 1, 0) == 0)
		printf("{\"refused\":true}\n");
	exit(0);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(uint64_t ns)
{
	uint64_t n = options.touches;

	qsort(latency, n, sizeof(*latency), by_value);
	printf("{\"right\":%llu,\"wrong\":%llu,\"touched\":%llu,\"ns\":%llu,\"p50_ns\":%u,\"p99_ns\":%u}\n",
	       (unsigned long long)right, (unsigned long long)wrong,
	       (unsigned long long)n, (unsigned long long)ns, latency[n / 2],
	       latency[n - 1 - n / 100]);
}

static void options_take(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "r:t:p:s:n:w:m:")) > 0) {
		switch (option) {
		case 'r': options.regions = strtoul(optarg, NULL, 0); break;
		case 't': options.threads = strtoul(optarg, NULL, 0); break;
		case 'p': options.page_size = strtoul(optarg, NULL, 0); break;
		case 's': options.seed = (unsigned int)atoi(optarg); break;
		case 'n': options.touches = strtoull(optarg, NULL, 0); break;
		case 'w': options.wait_ms = (unsigned int)atoi(optarg); break;
		case 'm': options.mode = optarg; break;
		default: exit(2);
		}
	}
	if (optind + 2 != argc || options.regions > MAX_REGIONS ||
	    options.threads > MAX_THREADS)
		exit(2);
	options.socket = argv[optind];
	options.size = strtoull(argv[optind + 1], NULL, 0) << 20;
}

static bool is_refused_at_once(void)
{
	static const char * const modes[] = {
		"garbage", "no-fd", "no-uffd", "two-fds", "overlap", "size",
		"page-size", "wrap", "silent",
	};
	size_t i;

	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (mode_is(modes[i]))
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	uint64_t start, i;
	int sock;

	options_take(argc, argv);
	order_make();
	if (mode_is("mmap")) {
		file_map();
		start = now_ns();
		touch();
		report(now_ns() - start);
		return wrong ? 1 : 0;
	}
	memory_map();
	memory_register();
	start = now_ns();
	sock = hand_over();
	if (is_refused_at_once())
		refusal_await(sock);
	wait_until_loaded(sock);
	touch();
	start = now_ns() - start;
	misbehave();
	if (options.wait_ms) {
		right = 0;
		for (i = 0; i < options.size / PAGE; i++) {
			if ((!mode_is("balloon") || i % 10) &&
			    (!mode_is("flood") || i >= FLOODED))
				look(i);
		}
	}
	report(start);
	if (!mode_is("leave"))
		end_await(sock);
	return wrong ? 1 : 0;
}
