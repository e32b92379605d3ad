// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VMM of the tests:
 *
 *	PROGRAM [OPTIONS] SOCKET MIB
 *
 * Its guest runs, and it waits at SOCKET for migctl ... --vmm SOCKET; with -i its guest
 * is one that migctl brings. With -l STATE it loads this device state, and hands its
 * memory over as Firecracker does: to migctl restore --lazy, which listens at SOCKET;
 * then it runs for as long as -t says.
 *
 *	-w WRITERS	1 to 4 (2)
 *	-p PACE		pauses of the CPU between two numbers (2000)
 *	-r REGIONS	its memory is handed over in so many (1)
 *	-t MS		(1000)
 *	-a NUMBERS	prints when its first writer has come so far from where it was
 *			at first, or was loaded: so long it takes to answer. With -l it
 *			ends then
 *	-f FILE		with -l: its memory is this file, mapped, and nobody is asked
 *	-b		it is broken: it hands over a userfaultfd without its memory
 *	-P		only say whether it could run here
 *
 * When it ends it prints a line of JSON: what each writer has written, and how often it
 * found a page wrong. Its exit code is 1 if one was.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lazy.h"
#include "machine.h"

uint64_t machine_pages(const struct machine *m)
{
	return m->size / SEQUENCE_PAGE;
}

int state_save(struct machine *m, int fd)
{
	struct machine_state state = {
		.magic = MACHINE_STATE_MAGIC,
		.writers = m->writers,
		.pages = machine_pages(m),
	};
	unsigned int i;

	for (i = 0; i < m->writers; i++)
		state.written[i] = machine_writer(m, i)->written;
	return write_all(fd, &state, sizeof(state));
}

int state_load(struct machine *m, struct machine_state *state, int fd)
{
	return read_all(fd, state, sizeof(*state)) || state->magic != MACHINE_STATE_MAGIC ||
	       state->writers != m->writers || state->pages != machine_pages(m) ? -1 : 0;
}

static void memory_make(struct machine *m)
{
	m->fd = memfd_create("guest", MFD_CLOEXEC);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->size))
		err(3, "memfd");
}

/* As another mapping of the same addresses; what it writes is its own. */
static void memory_map(const struct machine *m, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || mmap(m->memory, m->size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
		err(3, "%s", path);
	close(fd);
}

static void *answer_await(void *data)
{
	struct machine *m = data;
	struct timespec now;

	while (machine_writer(m, 0)->written < m->answer_at)
		usleep(100);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("{\"answered_us\":%lld}\n",
	       (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	fflush(stdout);
	return NULL;
}

void answer_begin(struct machine *m)
{
	if (!m->answer)
		return;
	m->answer_at = machine_writer(m, 0)->written + m->answer;
	if (pthread_create(&m->answering, NULL, answer_await, m))
		errx(3, "no thread");
}

static int report(struct machine *m)
{
	uint64_t wrong = 0;
	unsigned int i;

	printf("{\"written\":[");
	for (i = 0; i < m->writers; i++) {
		printf("%s%llu", i ? "," : "",
		       (unsigned long long)machine_writer(m, i)->written);
		wrong += machine_writer(m, i)->wrong;
	}
	printf("],\"wrong\":%llu}\n", (unsigned long long)wrong);
	fflush(stdout);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	struct machine m = { .writers = 2, .regions = 1 };
	const char *state = NULL, *file = NULL;
	unsigned int ms = 1000;
	bool incoming = false;
	uint64_t pace = 2000;
	sigset_t set;
	int option;

	while ((option = getopt(argc, argv, "iw:p:r:l:t:a:f:bP")) > 0) {
		switch (option) {
		case 'i': incoming = true; break;
		case 'w': m.writers = (unsigned int)atoi(optarg); break;
		case 'p': pace = strtoull(optarg, NULL, 0); break;
		case 'r': m.regions = strtoul(optarg, NULL, 0); break;
		case 'l': state = optarg; break;
		case 't': ms = (unsigned int)atoi(optarg); break;
		case 'a': m.answer = strtoull(optarg, NULL, 0); break;
		case 'f': file = optarg; break;
		case 'b': m.broken = true; break;
		case 'P': return !machine_possible();
		default: return 2;
		}
	}
	if (optind + 2 != argc || !m.writers || m.writers > MACHINE_MAX_WRITERS || !m.regions)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	m.size = strtoull(argv[optind + 1], NULL, 0) << 20;
	memory_make(&m);
	machine_make(&m, pace);
	if (file)
		memory_map(&m, file);
	if (state)
		lazy_run(&m, file ? NULL : argv[optind], state, ms);
	else
		handover_serve(&m, argv[optind], incoming);
	return report(&m);
}
