// SPDX-License-Identifier: GPL-2.0-or-later
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "snapshot/snapshot.h"
#include "stream/hash.h"

#define FORMAT		"migtrack-snapshot"
#define DIGEST_TEXT	17

/**
 * snapshot_digest() - the digest of a page
 * @page: SNAPSHOT_PAGE_SIZE bytes, aligned to 8
 *
 * 0 stands for a page of zeros, so that the digests of holes are holes.
 *
 * Return: XXH3, 64 bits, seed 0; 1 where that is 0.
 */
uint64_t snapshot_digest(const void *page)
{
	uint64_t digest;

	if (page_is_zero(page))
		return 0;
	digest = XXH3_64bits(page, SNAPSHOT_PAGE_SIZE);
	return digest ? digest : 1;
}

/**
 * snapshot_digest_all() - the digest of a file
 * @data: all of it
 * @size: bytes
 *
 * Return: XXH3, 64 bits, seed 0.
 */
uint64_t snapshot_digest_all(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

static json_t *digest_json(uint64_t digest)
{
	char text[DIGEST_TEXT];

	snprintf(text, sizeof(text), "%016" PRIx64, digest);
	return json_string(text);
}

/* Exactly as digest_json() writes it. */
static int digest_take(const json_t *json, uint64_t *digest)
{
	const char *text = json_string_value(json);

	if (!text || strlen(text) != DIGEST_TEXT - 1 ||
	    strspn(text, "0123456789abcdef") != DIGEST_TEXT - 1)
		return -1;
	*digest = strtoull(text, NULL, 16);
	return 0;
}

/**
 * snapshot_to_json() - the manifest
 * @snapshot: complete
 *
 * Return: the manifest, the caller's, or NULL if there is no memory.
 */
json_t *snapshot_to_json(const struct snapshot *snapshot)
{
	json_t *blocks = json_array();
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		const struct snapshot_block *block = &snapshot->blocks[i];

		json_array_append_new(blocks,
			json_pack("{s:s, s:I, s:o}", "id", block->id, "size",
				  (json_int_t)block->size, "digest",
				  digest_json(block->digest)));
	}
	return json_pack("{s:s, s:i, s:I, s:b, s:i, s:O, s:o, s:{s:I, s:o}}",
			 "format", FORMAT, "version", SNAPSHOT_VERSION,
			 "created_ns", (json_int_t)snapshot->created_ns, "ran",
			 snapshot->ran, "page_size", SNAPSHOT_PAGE_SIZE, "vm",
			 snapshot->vm, "blocks", blocks, "state", "size",
			 (json_int_t)snapshot->state_size, "digest",
			 digest_json(snapshot->state_digest));
}

static int refuse(struct error *err, const char *what)
{
	error_set(err, EXIT_SNAPSHOT, "this is no snapshot of migctl's: %s", what);
	return error_advise(err, "give the directory that migctl snapshot --to made");
}

/**
 * snapshot_alloc() - room for blocks
 * @snapshot: filled; nothing is open. To be closed, also after a failure
 * @n: how many blocks
 * @err: why it failed
 *
 * Return: 0 or -1.
 */
int snapshot_alloc(struct snapshot *snapshot, size_t n, struct error *err)
{
	size_t i;

	*snapshot = (struct snapshot) { .state_fd = -1 };
	snapshot->blocks = calloc(n, sizeof(*snapshot->blocks));
	if (!snapshot->blocks)
		return error_set(err, EXIT_FAILED, "out of memory");
	snapshot->n = n;
	for (i = 0; i < n; i++)
		snapshot->blocks[i].fd = snapshot->blocks[i].digests_fd = -1;
	return 0;
}

/**
 * snapshot_close() - close its files and free it
 * @snapshot: opened, or all 0 but for @state_fd
 */
void snapshot_close(struct snapshot *snapshot)
{
	size_t i;

	for (i = 0; i < snapshot->n; i++) {
		if (snapshot->blocks[i].fd >= 0)
			close(snapshot->blocks[i].fd);
		if (snapshot->blocks[i].digests_fd >= 0)
			close(snapshot->blocks[i].digests_fd);
		free(snapshot->blocks[i].digests);
	}
	free(snapshot->blocks);
	json_decref(snapshot->vm);
	if (snapshot->state_fd >= 0)
		close(snapshot->state_fd);
	*snapshot = (struct snapshot) { .state_fd = -1 };
}

static int block_take(struct snapshot *snapshot, size_t index, const json_t *json,
		      struct error *err)
{
	struct snapshot_block *block = &snapshot->blocks[index];
	const char *id = json_string_value(json_object_get(json, "id"));
	const json_t *size = json_object_get(json, "size");
	size_t i;

	if (!id || !id[0] || strlen(id) >= sizeof(block->id))
		return refuse(err, "a memory block has no name");
	for (i = 0; i < index; i++) {
		if (!strcmp(snapshot->blocks[i].id, id))
			return refuse(err, "two memory blocks have the same name");
	}
	if (!json_is_integer(size) || json_integer_value(size) <= 0 ||
	    (uint64_t)json_integer_value(size) > SNAPSHOT_MAX_SIZE ||
	    json_integer_value(size) % SNAPSHOT_PAGE_SIZE)
		return refuse(err, "the size of a memory block is impossible");
	if (digest_take(json_object_get(json, "digest"), &block->digest))
		return refuse(err, "a memory block has no digest");
	snprintf(block->id, sizeof(block->id), "%s", id);
	block->size = (uint64_t)json_integer_value(size);
	return 0;
}

static int state_take(struct snapshot *snapshot, const json_t *json,
		      struct error *err)
{
	const json_t *size = json_object_get(json, "size");

	if (!json_is_integer(size) || json_integer_value(size) <= 0 ||
	    (uint64_t)json_integer_value(size) > SNAPSHOT_MAX_SIZE ||
	    digest_take(json_object_get(json, "digest"), &snapshot->state_digest))
		return refuse(err, "it has no device state");
	snapshot->state_size = (uint64_t)json_integer_value(size);
	return 0;
}

static int version_check(const json_t *manifest, struct error *err)
{
	const char *format = json_string_value(json_object_get(manifest, "format"));
	json_int_t version = json_integer_value(json_object_get(manifest, "version"));

	if (!format || strcmp(format, FORMAT))
		return refuse(err, "its manifest says nothing of the kind");
	if (version != SNAPSHOT_VERSION) {
		error_set(err, EXIT_SNAPSHOT,
			  "the snapshot is of version %lld, this migctl reads %d",
			  (long long)version, SNAPSHOT_VERSION);
		return error_advise(err, "use the migctl that made it");
	}
	if (json_integer_value(json_object_get(manifest, "page_size")) !=
	    SNAPSHOT_PAGE_SIZE)
		return refuse(err, "its pages have another size");
	return 0;
}

/**
 * snapshot_from_json() - read a manifest that may say anything
 * @snapshot: filled; to be closed, also after a failure
 * @manifest: as it was parsed
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int snapshot_from_json(struct snapshot *snapshot, const json_t *manifest,
		       struct error *err)
{
	json_t *blocks = json_object_get(manifest, "blocks"), *block;
	size_t i, n = json_array_size(blocks);

	*snapshot = (struct snapshot) { .state_fd = -1 };
	if (version_check(manifest, err))
		return -1;
	if (!n || n > SNAPSHOT_MAX_BLOCKS)
		return refuse(err, "its number of memory blocks is impossible");
	if (snapshot_alloc(snapshot, n, err))
		return -1;
	json_array_foreach(blocks, i, block) {
		if (block_take(snapshot, i, block, err))
			return -1;
	}
	snapshot->vm = json_incref(json_object_get(manifest, "vm"));
	if (!json_is_object(snapshot->vm))
		return refuse(err, "it does not describe a VM");
	snapshot->created_ns = (uint64_t)
		json_integer_value(json_object_get(manifest, "created_ns"));
	snapshot->ran = json_is_true(json_object_get(manifest, "ran"));
	return state_take(snapshot, json_object_get(manifest, "state"), err);
}
