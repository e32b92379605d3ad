// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sequence DIR: whether a snapshot of a guest of machine.h is of one instant: each page
 * holds what the numbers in the device state say, which are of the pause.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"

/* Of pages that are not as they should be, so many are shown. */
#define SHOWN	5

static struct machine_state state;
/* A vCPU is paused anywhere: its next number may be written, and not noted. */
static bool anywhere;
static uint64_t later, earlier;

static int state_read(const char *dir)
{
	char path[4096];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/state", dir);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) || read_all(fd, &state, sizeof(state)) ||
	    state.magic != MACHINE_STATE_MAGIC || state.writers > MACHINE_MAX_WRITERS) {
		fprintf(stderr, "%s: no state of a guest of the tests\n", path);
		return -1;
	}
	anywhere = (size_t)st.st_size > sizeof(state);
	close(fd);
	return 0;
}

static void number_check(uint64_t page, unsigned int i, uint64_t number)
{
	uint64_t wanted = sequence_expected(page, state.pages, state.written[i]);
	uint64_t next = state.written[i] + 1;

	if (number == wanted ||
	    (anywhere && number == next && page == sequence_page(next, state.pages)))
		return;
	if (earlier + later < SHOWN)
		printf("page %llu, writer %u: %llu, not %llu\n", (unsigned long long)page, i,
		       (unsigned long long)number, (unsigned long long)wanted);
	if (number > wanted)
		later++;
	else
		earlier++;
}

static int block_check(const char *dir, unsigned int block, uint64_t *page)
{
	char path[4096], data[SEQUENCE_PAGE];
	unsigned int i;
	uint64_t number;
	int fd;

	snprintf(path, sizeof(path), "%s/memory%u", dir, block);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	for (; !read_all(fd, data, sizeof(data)); ++*page) {
		for (i = 0; i < state.writers; i++) {
			memcpy(&number, data + (size_t)i * SEQUENCE_SLOT, sizeof(number));
			number_check(*page, i, number);
		}
	}
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t page = 0;
	unsigned int block;

	if (argc != 2 || state_read(argv[1]))
		return 2;
	for (block = 0; !block_check(argv[1], block, &page); block++)
		;
	if (page != state.pages)
		return 2;
	printf("{\"pages\":%llu,\"written\":%llu,\"later\":%llu,\"earlier\":%llu}\n",
	       (unsigned long long)page, (unsigned long long)state.written[0],
	       (unsigned long long)later, (unsigned long long)earlier);
	return later || earlier;
}
