/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that somebody else's userfaultfd handler loads. */
#ifndef UFFD_TEST_LAZY_H
#define UFFD_TEST_LAZY_H

#include <stdint.h>

#include "machine.h"

/**
 * struct lazy - a userfaultfd that is handed over
 * @fd: it, -1 if there is none
 * @features: that it has
 */
struct lazy {
	int fd;
	uint64_t features;
};

/* All of the memory, for these UFFDIO_REGISTER_MODE_*; NULL or why it failed. */
const char *lazy_register(struct lazy *lazy, const struct machine *m, uint64_t modes);
void lazy_unregister(struct lazy *lazy, const struct machine *m);

/*
 * As Firecracker does it: load this state, hand over, run. Without a @socket the memory
 * is there.
 */
void lazy_run(struct machine *m, const char *socket, const char *state, unsigned int ms);

#endif /* UFFD_TEST_LAZY_H */
