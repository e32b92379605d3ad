// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every page of the stopped source is hashed anew and compared with the hash
 * of what the destination last wrote there. This proves the tracking, not just
 * the wire: a page that was never sent differs.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cmd/migrate.h"

/* Pages that are compared at a time: what one frame of hashes holds. */
#define BATCH_PAGES	(WIRE_MAX_PAYLOAD / sizeof(uint64_t))
#define HASH_TIMEOUT	(60 * NS_PER_S)

static int differs(struct migration *m, size_t block, uint64_t offset,
		   struct error *err)
{
	error_set(err, EXIT_DIFFERS,
		  "the memories differ: block %s, page at 0x%" PRIx64,
		  m->memory[block].id, offset);
	return error_advise(err, m->handed_over ?
			    "the guest runs at the destination with wrong memory: end it there, and start it anew; what is paused here is older than what it has written to its disks since" :
			    "the guest runs on here");
}

static int compare_batch(struct migration *m, size_t block, uint64_t offset,
			 size_t n, uint64_t *hashes, struct error *err)
{
	int interrupt = m->handed_over ? -1 : m->signals;
	size_t i;

	if (peer_ask_hashes(&m->peer, (uint32_t)block, offset,
			    n * WIRE_PAGE_SIZE, err) ||
	    sender_hash(&m->sender, block, offset, n, hashes, err) ||
	    peer_wait(&m->peer, PEER_HASHES, HASH_TIMEOUT, interrupt, err))
		return -1;
	if (m->peer.n_hashes != n)
		return error_set(err, EXIT_PEER,
				 "the destination sent %zu hashes where %zu were asked for",
				 m->peer.n_hashes, n);
	for (i = 0; i < n; i++) {
		if (hashes[i] != m->peer.hashes[i])
			return differs(m, block, offset + i * WIRE_PAGE_SIZE, err);
	}
	return 0;
}

static int compare_block(struct migration *m, size_t block, uint64_t *hashes,
			 struct error *err)
{
	uint64_t offset, size = m->blocks[block].size, n;

	for (offset = 0; offset < size; offset += n * WIRE_PAGE_SIZE) {
		n = (size - offset) / WIRE_PAGE_SIZE;
		if (n > BATCH_PAGES)
			n = BATCH_PAGES;
		if (compare_batch(m, block, offset, n, hashes, err))
			return -1;
	}
	return 0;
}

int migrate_verify(struct migration *m, struct error *err)
{
	uint64_t *hashes;
	size_t i;
	int ret = 0;

	hashes = calloc(BATCH_PAGES, sizeof(*hashes));
	if (!hashes)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; !ret && i < m->n_memory; i++)
		ret = compare_block(m, i, hashes, err);
	free(hashes);
	m->verified = !ret;
	return ret;
}
