// SPDX-License-Identifier: GPL-2.0-or-later
/* What a VMM says of itself, which may be anything. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"
#include "vmm/handover.h"

#define MIB	(1ull << 20)

static const char greeting[] =
	"{\"handover\": {\"version\": 1, \"vmm\": \"x\", \"release\": \"1.2\","
	" \"vm\": {\"machine\": \"m\", \"cpu\": {\"model\": \"c\", \"present\": 1, \"max\": 1}},"
	" \"regions\": [{\"id\": \"a\", \"base_host_virt_addr\": 139637976727552, \"size\": 1048576,"
	" \"offset\": 0, \"page_size\": 4096, \"file_offset\": 0},"
	" {\"id\": \"b\", \"base_host_virt_addr\": 139637978824704, \"size\": 1048576,"
	" \"offset\": 1048576, \"page_size\": 4096, \"file_offset\": 1048576,"
	" \"guest_phys_addr\": 1048576}]}}";

static int memory(uint64_t size)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	return ftruncate(fd, (off_t)size) ? -1 : fd;
}

static void forget(struct handover *h)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		close(h->blocks[i].fd);
	free(h->blocks);
	free(h->regions);
	json_decref(h->vm);
	*h = (struct handover){};
}

static int parse(struct handover *h, const char *text, int fd, size_t n, struct error *err)
{
	json_t *json = json_loads(text, 0, NULL);
	int fds[] = { fd, fd, fd }, ret;

	*h = (struct handover){};
	ret = handover_parse(h, json, fds, n, err);
	json_decref(json);
	return ret;
}

TEST(handover_greeting_understood)
{
	int fd = memory(2 * MIB);
	struct handover h;
	struct error err;

	CHECK(!parse(&h, greeting, fd, 2, &err));
	CHECK_EQ(h.n, 2);
	CHECK_STR(h.blocks[1].id, "b");
	CHECK_EQ(h.blocks[1].file_offset, MIB);
	CHECK_EQ(h.blocks[1].gpa, MIB);
	CHECK_EQ(h.regions[1].offset, MIB);
	CHECK_STR(h.vmm.version, "1.2");
	CHECK(!vmm_compare(h.vm, h.vm, &err));
	CHECK_EQ(json_array_size(json_object_get(h.vm, "blocks")), 2);
	forget(&h);
	close(fd);
}

/* With @from replaced by @to. */
static void refused(const char *from, const char *to, int fd, size_t n, const char *what)
{
	char *text = strdup(greeting), *at = strstr(text, from), *changed;
	struct error err = {};
	struct handover h;

	CHECK(at);
	*at = '\0';
	CHECK(asprintf(&changed, "%s%s%s", text, to, at + strlen(from)) > 0);
	CHECK(parse(&h, changed, fd, n, &err));
	CHECK_HAS(err.message, what);
	CHECK(err.advice[0]);
	forget(&h);
	free(changed);
	free(text);
}

TEST(handover_greeting_refused)
{
	int fd = memory(2 * MIB), less = memory(MIB), pair[2];

	refused("handover", "QMP", fd, 2, "version, vmm, vm and regions");
	refused("\"vm\": {", "\"vm\": 1, \"x\": {", fd, 2, "version, vmm, vm and regions");
	refused("\"version\": 1", "\"version\": 2", fd, 2, "speaks version 2");
	refused("\"x\"", "\"x\"", fd, 1, "each region needs a descriptor");
	refused("\"x\"", "\"x\"", fd, 3, "each region needs a descriptor");
	refused("\"x\"", "\"x\"", fd, 0, "each region needs a descriptor");
	refused("\"id\": \"b\"", "\"id\": \"a\"", fd, 2, "same id");
	refused("\"id\": \"b\"", "\"id\": \"\"", fd, 2, "a region needs");
	refused("\"file_offset\": 1048576", "\"file_offset\": -1", fd, 2, "a region needs");
	refused("\"file_offset\": 1048576", "\"file_offset\": 1048577", fd, 2, "memory b");
	refused("\"x\"", "\"x\"", less, 2, "memory b");
	refused("139637978824704", "139637976731648", fd, 2, "overlaps");
	refused("\"offset\": 1048576", "\"offset\": 4096", fd, 2, "same memory");
	refused("\"offset\": 1048576", "\"offset\": 2097152", fd, 2, "past the end");
	CHECK(!pipe(pair));
	refused("\"x\"", "\"x\"", pair[1], 2, "memory a");
	close(pair[0]);
	close(pair[1]);
	close(less);
	close(fd);
}

TEST(handover_greeting_random)
{
	int fd = memory(2 * MIB), i, good = 0;
	struct handover h;
	struct error err;

	srandom(1);
	for (i = 0; i < 20000; i++) {
		char *copy = strdup(greeting);

		copy[(size_t)random() % strlen(greeting)] = (char)random();
		if (!(i % 3))
			copy[(size_t)random() % strlen(greeting)] = (char)('0' + random() % 10);
		if (!parse(&h, copy, fd, 2, &err)) {
			good++;
			CHECK(h.regions[0].size + h.regions[1].size <= 2 * MIB);
		}
		forget(&h);
		free(copy);
	}
	CHECK(good > 0);
	close(fd);
}
