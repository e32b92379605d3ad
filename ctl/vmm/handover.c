// SPDX-License-Identifier: GPL-2.0-or-later
/* The connection to a VMM that hands over its memory, and what it says of itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/descriptors.h"
#include "vmm/handover.h"
#include "vmm/memfile.h"

static const struct qmp_dialect dialect = {
	.who = "the VMM",
	.greeting = "word of what the VMM hands over",
	.not_a_message = "what it sends is not JSON, an object a line",
	.not_a_greeting = "what it sends is not what a VMM hands over",
	.not_a_reply = "what it sends is no reply",
	.socket = "give the path of the socket where the VMM waits for migctl, as this host names it",
	.wrong = "give the socket where the VMM waits for migctl: Documentation/handover.rst has what it is to say there; QEMU's QMP socket is given with --qmp",
	.busy = "such a VMM serves one client at a time: another migctl may hold this socket",
};

static void handover_close(struct vmm *vmm)
{
	struct handover *h = to_handover(vmm);
	size_t i;

	qmp_close(h->qmp);
	for (i = 0; i < h->n; i++)
		close(h->blocks[i].fd);
	if (h->undo)
		munmap(h->undo, sizeof(*h->undo));
	if (h->stream >= 0)
		close(h->stream);
	json_decref(h->vm);
	free(h->blocks);
	free(h->regions);
	free(h);
}

static int refuse(const char *what, struct error *err)
{
	error_set(err, EXIT_VMM, "what the VMM says of itself can't be understood: %s", what);
	return error_advise(err, "see Documentation/handover.rst for what it is to say");
}

/* Its file has to be there, or our reads and writes miss the guest's memory. */
static int block_check(const struct handover_block *block, uint64_t size, struct error *err)
{
	struct stat st;

	if (fstat(block->fd, &st))
		return error_set(err, EXIT_VMM, "memory %s: %s", block->id, strerror(errno));
	if (!S_ISREG(st.st_mode) || block->file_offset > (uint64_t)st.st_size ||
	    size > (uint64_t)st.st_size - block->file_offset) {
		error_set(err, EXIT_UNTRACKABLE, "memory %s: its descriptor is not of a file that has %llu bytes from %llu on",
			  block->id, (unsigned long long)size,
			  (unsigned long long)block->file_offset);
		return error_advise(err, "%s", "the VMM's memory has to be a shared mapping of a memfd or a file, whose descriptor it sends");
	}
	return 0;
}

static bool is_known(const struct handover *h, const char *id)
{
	size_t i;

	for (i = 0; i < h->n; i++) {
		if (!strcmp(h->blocks[i].id, id))
			return true;
	}
	return false;
}

static int block_parse(struct handover *h, size_t i, const json_t *region, int fd,
		       struct error *err)
{
	struct handover_block *block = &h->blocks[i];
	json_int_t file_offset = 0, gpa = 0;
	const char *id = "";

	if (uffd_region_parse(&h->regions[i], region, UFFD_MISSING) ||
	    json_unpack((json_t *)region, "{s:s, s:I, s?I}", "id", &id, "file_offset",
			&file_offset, "guest_phys_addr", &gpa) ||
	    file_offset < 0 || gpa < 0 || !id[0] || strlen(id) > NAME_MAX)
		return refuse("a region needs id, base_host_virt_addr, size, offset, page_size and file_offset", err);
	if (is_known(h, id))
		return refuse("two regions have the same id", err);
	snprintf(block->id, sizeof(block->id), "%s", id);
	block->file_offset = (uint64_t)file_offset;
	block->gpa = (uint64_t)gpa;
	block->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (block->fd < 0)
		return error_set(err, EXIT_FAILED, "too many open files");
	h->n++;
	return block_check(block, h->regions[i].size, err);
}

static uint64_t regions_size(const struct handover *h)
{
	uint64_t size = 0;
	size_t i;

	for (i = 0; i < h->n; i++)
		size += h->regions[i].size;
	return size;
}

/* The memory as the description has it; see vmm_migration_ops. */
static int vm_complete(struct handover *h, const char *name, struct error *err)
{
	json_t *memory = json_array(), *blocks = json_array();
	size_t i;

	for (i = 0; i < h->n; i++) {
		const char *id = h->blocks[i].id;
		json_int_t size = (json_int_t)h->regions[i].size;

		json_array_append_new(memory, json_pack("{s:s, s:s, s:I, s:b, s:b}", "id", id,
			"kind", "handed over", "size", size, "share", 1, "file", 1));
		json_array_append_new(blocks, json_pack("{s:s, s:I}", "name", id, "size", size));
	}
	if (json_object_set_new(h->vm, "memory", memory) ||
	    json_object_set_new(h->vm, "blocks", blocks) ||
	    json_object_set_new(h->vm, "vmm", json_string(name)))
		return error_set(err, EXIT_FAILED, "out of memory");
	return 0;
}

/**
 * handover_parse() - what a VMM says of itself
 * @h: filled: blocks, regions, the description
 * @greeting: the line that it sent; may say anything
 * @fds: that came with it, duplicated
 * @n: how many
 * @err: why it is refused
 *
 * Return: 0 or -1.
 */
int handover_parse(struct handover *h, const json_t *greeting, const int *fds, size_t n,
		   struct error *err)
{
	const char *name = NULL, *release = "";
	json_t *vm = NULL, *regions = NULL;
	int version = 0;
	size_t i;

	if (json_unpack((json_t *)greeting, "{s:{s:i, s:s, s?s, s:o, s:o}}", "handover",
			"version", &version, "vmm", &name, "release", &release, "vm", &vm,
			"regions", &regions) || !json_is_object(vm) || !json_is_array(regions))
		return refuse("it needs version, vmm, vm and regions", err);
	if (version != HANDOVER_VERSION) {
		error_set(err, EXIT_VMM, "the VMM speaks version %d of the hand-over protocol, and this migctl %d",
			  version, HANDOVER_VERSION);
		return error_advise(err, "use a migctl that is of the VMM's time");
	}
	if (!n || n != json_array_size(regions) || n > UFFD_MAX_REGIONS)
		return refuse("each region needs a descriptor of its file", err);
	h->blocks = calloc(n, sizeof(*h->blocks));
	h->regions = calloc(n, sizeof(*h->regions));
	h->vm = json_deep_copy(vm);
	if (!h->blocks || !h->regions || !h->vm)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < n; i++) {
		if (block_parse(h, i, json_array_get(regions, i), fds[i], err))
			return -1;
	}
	snprintf(h->vmm.version, sizeof(h->vmm.version), "%s", release);
	return uffd_regions_check(h->regions, h->n, regions_size(h), err) ||
	       vm_complete(h, name, err) ? -1 : 0;
}

static int greeting_take(struct handover *h, const json_t *greeting, struct error *err)
{
	int fds[DESCRIPTORS_MAX], ret;
	size_t n = qmp_take_fds(h->qmp, fds), i;

	ret = handover_parse(h, greeting, fds, n, err);
	for (i = 0; i < n; i++)
		close(fds[i]);
	return ret;
}

static int handover_open(struct vmm **vmm, const char *address, pid_t pid,
			 struct error *err)
{
	struct handover *h = calloc(1, sizeof(*h));
	json_t *greeting = NULL;

	*vmm = NULL;
	if (!h)
		return error_set(err, EXIT_FAILED, "out of memory");
	h->vmm.ops = &vmm_handover;
	h->stream = -1;
	if (qmp_connect(&h->qmp, address, &dialect, &greeting, err) ||
	    greeting_take(h, greeting, err))
		goto err_close;
	h->vmm.pid = pid ? pid : qmp_peer(h->qmp);
	if (h->vmm.pid <= 0) {
		error_set(err, EXIT_VMM, "%s: the VMM's process has no number in this pid namespace",
			  address);
		error_advise(err, "run migctl in the host's pid namespace");
		goto err_close;
	}
	json_decref(greeting);
	*vmm = &h->vmm;
	return 0;

err_close:
	json_decref(greeting);
	handover_close(&h->vmm);
	return -1;
}

static int handover_memory(struct vmm *vmm, struct vmm_memory **memory, size_t *n,
			   struct error *err)
{
	struct handover *h = to_handover(vmm);
	struct memfile_verdict verdict;
	struct vmm_memory *mem;
	size_t i;

	*n = 0;
	*memory = calloc(h->n, sizeof(**memory));
	if (!*memory)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < h->n; i++) {
		mem = &(*memory)[i];
		snprintf(mem->id, sizeof(mem->id), "%s", h->blocks[i].id);
		snprintf(mem->kind, sizeof(mem->kind), "handed over");
		mem->size = h->regions[i].size;
		mem->offset = h->blocks[i].file_offset;
		mem->share = true;
		mem->fd = fcntl(h->blocks[i].fd, F_DUPFD_CLOEXEC, 0);
		(*n)++;
		if (mem->fd < 0)
			return error_set(err, EXIT_FAILED, "too many open files");
		verdict = memfile_check(mem->fd);
		if (verdict.reason)
			vmm_memory_refuse(mem, verdict.reason, verdict.advice);
	}
	return 0;
}

static int handover_layout(struct vmm *vmm, struct vmm_range **ranges, size_t *n,
			   struct error *err)
{
	struct handover *h = to_handover(vmm);
	size_t i;

	*n = 0;
	*ranges = calloc(h->n, sizeof(**ranges));
	if (!*ranges)
		return error_set(err, EXIT_FAILED, "out of memory");
	for (i = 0; i < h->n; i++) {
		struct vmm_range *range = &(*ranges)[(*n)++];

		snprintf(range->id, sizeof(range->id), "%s", h->blocks[i].id);
		range->iova = h->blocks[i].gpa;
		range->length = h->regions[i].size;
	}
	return 0;
}

const struct vmm_ops vmm_handover = {
	.name = "VMM",
	.open = handover_open,
	.memory = handover_memory,
	.layout = handover_layout,
	.close = handover_close,
};

static uint64_t features_of(unsigned int modes)
{
	return (modes & UFFD_MISSING ? UFFD_FEATURE_MISSING_SHMEM : 0) |
	       (modes & UFFD_MINOR ? UFFD_FEATURE_MINOR_SHMEM : 0) |
	       (modes & UFFD_WRITE ? UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				     UFFD_FEATURE_WP_HUGETLBFS_SHMEM : 0);
}

static json_t *modes_json(unsigned int modes)
{
	json_t *array = json_array();

	if (modes & UFFD_MISSING)
		json_array_append_new(array, json_string("missing"));
	if (modes & UFFD_MINOR)
		json_array_append_new(array, json_string("minor"));
	if (modes & UFFD_WRITE)
		json_array_append_new(array, json_string("write"));
	return json_pack("{s:o}", "modes", array);
}

/* Copies of what the VMM told when it was connected. */
static int offer_regions(const struct handover *h, unsigned int modes,
			 struct uffd_offer *offer, struct error *err)
{
	size_t i;

	offer->regions = calloc(h->n, sizeof(*offer->regions));
	if (!offer->regions)
		return error_set(err, EXIT_FAILED, "out of memory");
	offer->n = h->n;
	for (i = 0; i < h->n; i++) {
		offer->regions[i] = h->regions[i];
		offer->regions[i].modes = modes;
	}
	return 0;
}

static int offer_take(struct handover *h, const json_t *reply, unsigned int modes,
		      struct uffd_offer *offer, struct error *err)
{
	uint64_t features = (uint64_t)json_integer_value(json_object_get(reply, "features"));
	int fds[DESCRIPTORS_MAX];
	size_t n = qmp_take_fds(h->qmp, fds), i;
	int ret = 0;

	if (n != 1)
		ret = refuse(n ? "more than one userfaultfd" : "no userfaultfd", err);
	else if (features_of(modes) & ~features)
		ret = uffd_features_explain(features_of(modes) & ~features, err);
	else
		ret = uffd_adopt(fds[0], err);
	for (i = 0; i < n; i++) {
		if (!ret)
			offer->fd = fds[i];
		else
			close(fds[i]);
	}
	return ret;
}

/**
 * handover_userfaultfd() - have the VMM register its memory, and take its userfaultfd
 * @vmm: of this driver
 * @modes: UFFD_*, for all of its memory
 * @offer: filled; to be freed, also after a failure. Its regions are the blocks in their
 *	order; for UFFD_MINOR the caller sets their aliases
 * @err: why it failed
 *
 * Prerequisites: it has handed over none, or handover_release() was called since. On
 * failure nothing is registered.
 *
 * Return: 0 or -1.
 */
int handover_userfaultfd(struct vmm *vmm, unsigned int modes, struct uffd_offer *offer,
			 struct error *err)
{
	struct handover *h = to_handover(vmm);
	struct error ignored;
	json_t *reply;
	int ret;

	*offer = (struct uffd_offer) { .fd = -1 };
	if (qmp_execute(h->qmp, "userfaultfd", modes_json(modes), &reply, err))
		return -1;
	ret = offer_take(h, reply, modes, offer, err) || offer_regions(h, modes, offer, err) ?
	      -1 : 0;
	json_decref(reply);
	if (ret)
		handover_release(vmm, &ignored);
	return ret;
}

/**
 * handover_release() - the VMM's memory is its own matter again
 * @vmm: of this driver
 * @err: why it failed
 *
 * On success it has unregistered its memory and closed its userfaultfd: who waited for a
 * page goes on with what is there, or a page of zeros.
 *
 * Return: 0 or -1.
 */
int handover_release(struct vmm *vmm, struct error *err)
{
	handover_settle(to_handover(vmm));
	return qmp_execute(to_handover(vmm)->qmp, "release", NULL, NULL, err);
}
