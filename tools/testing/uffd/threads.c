// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest whose vCPUs are threads: for hosts without KVM. */
#include <err.h>
#include <pthread.h>
#include <sys/mman.h>

#include "machine.h"

const char machine_name[] = "threads";

static struct writer {
	struct machine *machine;
	struct sequencer sequencer;
	pthread_t thread;
} writers[MACHINE_MAX_WRITERS];
static volatile bool stop;

bool machine_possible(void)
{
	return true;
}

void machine_make(struct machine *m, uint64_t pace)
{
	unsigned int i;

	m->memory = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (m->memory == MAP_FAILED)
		err(3, "mmap");
	for (i = 0; i < m->writers; i++) {
		writers[i].machine = m;
		writers[i].sequencer.pace = pace;
	}
}

static void *writer_main(void *data)
{
	struct writer *writer = data;

	while (!stop)
		sequence_next(&writer->sequencer, (unsigned int)(writer - writers),
			      writer->machine->memory, machine_pages(writer->machine));
	return NULL;
}

void machine_run(struct machine *m)
{
	unsigned int i;

	stop = false;
	for (i = 0; i < m->writers; i++) {
		if (pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]))
			errx(3, "no thread");
	}
}

void machine_pause(struct machine *m)
{
	unsigned int i;

	stop = true;
	for (i = 0; i < m->writers; i++)
		pthread_join(writers[i].thread, NULL);
}

struct sequencer *machine_writer(struct machine *m, unsigned int i)
{
	(void)m;
	return &writers[i].sequencer;
}

int machine_save(struct machine *m, int fd)
{
	return state_save(m, fd);
}

int machine_load(struct machine *m, int fd)
{
	struct machine_state state;
	unsigned int i;

	if (state_load(m, &state, fd))
		return -1;
	for (i = 0; i < m->writers; i++)
		writers[i].sequencer.written = state.written[i];
	return 0;
}
