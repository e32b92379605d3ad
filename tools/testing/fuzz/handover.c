// SPDX-License-Identifier: GPL-2.0-or-later
/* What a VMM says that hands over its memory; the first byte: how many files. */
#include <sys/mman.h>

#include "../../../ctl/vmm/handover.c"
#include "fuzz.h"

#define FILE_SIZE	(1ull << 30)	/* sparse */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	int fds[DESCRIPTORS_MAX];
	json_t *greeting;
	struct handover *h;
	struct error err;
	size_t n, i;

	if (file < 0) {
		file = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_ASSERT(!ftruncate(file, FILE_SIZE));
	}
	if (!size)
		return 0;
	n = data[0] % (DESCRIPTORS_MAX + 1);
	for (i = 0; i < n; i++)
		fds[i] = file;
	greeting = json_loadb((const char *)data + 1, size - 1, 0, NULL);
	if (!greeting)
		return 0;
	h = calloc(1, sizeof(*h));
	h->stream = -1;
	if (handover_parse(h, greeting, fds, n, &err)) {
		FUZZ_ASSERT(err.message[0] && h->n <= n);
	} else {
		FUZZ_ASSERT(h->n == n && json_array_size(json_object_get(h->vm, "memory")) == n);
		for (i = 0; i < n; i++)
			FUZZ_ASSERT(h->blocks[i].id[0] && h->regions[i].size &&
				    h->blocks[i].file_offset + h->regions[i].size <= FILE_SIZE);
	}
	handover_close(&h->vmm);
	json_decref(greeting);
	return 0;
}
