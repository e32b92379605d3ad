/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a VMM hands over its userfaultfd, as Firecracker documents it: one message on a
 * UNIX socket, an array of regions in JSON, with the descriptor as SCM_RIGHTS. The
 * socket stays open as long as the VMM lives; nothing more is said on it.
 */
#ifndef MIGCTL_UFFD_PROTOCOL_H
#define MIGCTL_UFFD_PROTOCOL_H

#include <jansson.h>
#include <sys/types.h>

#include "uffd/uffd.h"

/**
 * struct uffd_offer - what a VMM sent
 * @fd: its userfaultfd, -1 after a failure
 * @regions: its memory
 * @n: how many
 */
struct uffd_offer {
	int fd;
	struct uffd_region *regions;
	size_t n;
};

int uffd_offer_receive(struct uffd_offer *offer, int socket, uint64_t supply,
		       int timeout_ms, struct error *err);
void uffd_offer_free(struct uffd_offer *offer);
/* Pure. */
int uffd_region_parse(struct uffd_region *region, const json_t *json, unsigned int modes);
int uffd_offer_parse(struct uffd_offer *offer, const char *text, size_t length,
		     uint64_t supply, struct error *err);

#endif /* MIGCTL_UFFD_PROTOCOL_H */
