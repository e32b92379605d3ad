// SPDX-License-Identifier: GPL-2.0-or-later
/* QEMU's "info mtree -f", and the kernel's list of a process's mappings. */
#include "fuzz.h"
#include "vmm/memfile.h"
#include "vmm/qemu_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct memfiles files;
	struct vmm_range *ranges;
	struct error err;
	size_t n, i;

	if (!memfiles_parse(&files, text, &err))
		memfiles_free(&files);
	if (!qemu_layout_parse(text, &ranges, &n, &err)) {
		for (i = 0; i < n; i++)
			FUZZ_ASSERT(ranges[i].length % 4096 == 0);
	}
	free(ranges);
	free(text);
	return 0;
}
