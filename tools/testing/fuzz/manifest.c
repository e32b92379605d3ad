// SPDX-License-Identifier: GPL-2.0-or-later
/* The manifest of a snapshot that somebody made. */
#include "fuzz.h"
#include "snapshot/snapshot.h"

static void check_block(const struct snapshot *snapshot, size_t index)
{
	const struct snapshot_block *block = &snapshot->blocks[index];
	size_t i;

	FUZZ_ASSERT(block->size && block->size <= SNAPSHOT_MAX_SIZE &&
		    block->size % SNAPSHOT_PAGE_SIZE == 0);
	FUZZ_ASSERT(block->id[0] && memchr(block->id, '\0', sizeof(block->id)));
	FUZZ_ASSERT(block->fd == -1 && block->digests_fd == -1 && !block->digests);
	for (i = 0; i < index; i++)
		FUZZ_ASSERT(strcmp(snapshot->blocks[i].id, block->id));
}

static void check_same(const struct snapshot *a, const struct snapshot *b)
{
	size_t i;

	FUZZ_ASSERT(a->n == b->n && a->ran == b->ran && a->created_ns == b->created_ns);
	FUZZ_ASSERT(a->state_size == b->state_size && a->state_digest == b->state_digest);
	FUZZ_ASSERT(json_equal(a->vm, b->vm));
	for (i = 0; i < a->n; i++)
		FUZZ_ASSERT(a->blocks[i].size == b->blocks[i].size &&
			    a->blocks[i].digest == b->blocks[i].digest &&
			    !strcmp(a->blocks[i].id, b->blocks[i].id));
}

/* What was read is written, and read again, as the same. */
static void check_written(const struct snapshot *snapshot)
{
	json_t *manifest = snapshot_to_json(snapshot);
	struct snapshot again;
	struct error err;

	FUZZ_ASSERT(manifest && !snapshot_from_json(&again, manifest, &err));
	check_same(snapshot, &again);
	snapshot_close(&again);
	json_decref(manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* As open.c does it. */
	json_t *manifest = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	struct snapshot snapshot;
	struct error err;
	size_t i;

	if (!manifest)
		return 0;
	if (snapshot_from_json(&snapshot, manifest, &err)) {
		FUZZ_ASSERT(err.message[0]);
	} else {
		FUZZ_ASSERT(snapshot.n && snapshot.n <= SNAPSHOT_MAX_BLOCKS);
		for (i = 0; i < snapshot.n; i++)
			check_block(&snapshot, i);
		check_written(&snapshot);
	}
	snapshot_close(&snapshot);
	json_decref(manifest);
	return 0;
}
