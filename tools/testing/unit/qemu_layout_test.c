// SPDX-License-Identifier: GPL-2.0-or-later
/* Where devices find the guest's memory: what QEMU 11.1 says of it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp_server.h"
#include "unit.h"
#include "vmm/qemu_layout.h"

#define IO_VIEW \
	"FlatView #0\n" \
	" AS \"I/O\", root: io\n" \
	" Root memory region: io\n" \
	"  0000000000000000-0000000000000fff (prio 0, ram): not-memory\n\n"

#define MEMORY_VIEW \
	"FlatView #1\n" \
	" AS \"memory\", root: system\n" \
	" AS \"cpu-memory-0\", root: system\n" \
	" Root memory region: system\n" \
	"  0000000000000000-00000000000bffff (prio 0, ram): ram KVM\n" \
	"  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom KVM\n" \
	"  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000 KVM\n" \
	"  0000000000100000-000000007fffffff (prio 0, ram): ram @0000000000100000 KVM\n" \
	"  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\n" \
	"  0000000100000000-000000013fffffff (prio 0, ram): ram @0000000080000000 KVM\n" \
	"  0000000140000000-0000000147ffffff (prio 0, ram): /objects/more KVM\n" \
	"  0000000150000000-00000001500000ff (prio 0, ram): less-than-a-page KVM\n\n"

#define SMM_VIEW \
	"FlatView #2\n" \
	" AS \"cpu-smm-0\", root: memory\n" \
	" Root memory region: memory\n" \
	"  0000000200000000-00000002000fffff (prio 0, ram): smram\n\n"

static int parse(const char *words, struct vmm_range **ranges, size_t *n,
		 struct error *err)
{
	char *text = strdup(words);
	int ret = qemu_layout_parse(text, ranges, n, err);

	free(text);
	return ret;
}

TEST(qemu_layout_is_of_the_guests_memory)
{
	static const struct vmm_range expected[] = {
		{ "ram", 0, 0xc0000, 0 },
		{ "ram", 0x100000, 0x7ff00000, 0x100000 },
		{ "ram", 0x100000000, 0x40000000, 0x80000000 },
		{ "more", 0x140000000, 0x8000000, 0 },
	};
	struct vmm_range *ranges;
	struct error err;
	size_t i, n;

	CHECK_EQ(parse(IO_VIEW MEMORY_VIEW SMM_VIEW, &ranges, &n, &err), 0);
	CHECK_EQ(n, sizeof(expected) / sizeof(expected[0]));
	for (i = 0; i < n; i++) {
		CHECK_STR(ranges[i].id, expected[i].id);
		CHECK_EQ(ranges[i].iova, expected[i].iova);
		CHECK_EQ(ranges[i].length, expected[i].length);
		CHECK_EQ(ranges[i].offset, expected[i].offset);
	}
	free(ranges);
}

/* With an IOMMU in the guest a device's addresses are no longer the guest's. */
TEST(qemu_layout_with_an_iommu_is_refused)
{
	static const char * const spaces[] = {
		"vtd-root", "virtio-iommu-device", "amd_iommu_devfn_8",
		"smmuv3-iommu-memory-region-0-1",
	};
	char text[2048];
	struct vmm_range *ranges;
	struct error err;
	size_t i, n;

	for (i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
		snprintf(text, sizeof(text), "%sFlatView #3\n AS \"%s\", root: x\n",
			 MEMORY_VIEW, spaces[i]);
		CHECK_EQ(parse(text, &ranges, &n, &err), -1);
		CHECK_EQ(err.code, EXIT_VMM);
		CHECK_HAS(err.message, "has an IOMMU");
		CHECK(err.advice[0]);
		free(ranges);
	}
}

TEST(qemu_layout_that_is_not_understood)
{
	static const char * const texts[] = {
		"", "\n", "unknown command", IO_VIEW SMM_VIEW,
		"FlatView #0\n AS \"memory\n AS memory\n",
		"FlatView #0\n AS \"memory\", root: system\n  zz-yy (prio 0, ram): ram\n  9000-8fff (prio 0, ram): ram\n  1000-1fff (prio 0, ram)\n",
	};
	struct vmm_range *ranges;
	struct error err;
	size_t i, n;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CHECK_EQ(parse(texts[i], &ranges, &n, &err), -1);
		CHECK_EQ(err.code, EXIT_VMM);
		CHECK_EQ(n, 0);
		free(ranges);
	}
}

static int ask(const char *status, const char *words, struct error *err)
{
	char migration[100], *layout;
	struct vmm_range *ranges = NULL;
	struct server server;
	struct vmm *vmm;
	size_t n = 0;
	int ret;

	snprintf(migration, sizeof(migration), "{\"return\": {%s}}\n", status);
	CHECK(asprintf(&layout, "{\"return\": \"%s\"}\n", words) > 0);
	server_start(&server, SCRIPT(GREETING, OK, migration, layout));
	CHECK_EQ(vmm_qemu.open(&vmm, server.path, getpid(), err), 0);
	ret = vmm->ops->layout(vmm, &ranges, &n, err);
	free(ranges);
	vmm->ops->close(vmm);
	server_stop(&server);
	free(layout);
	return ret;
}

/* A device has one log, and QEMU takes it when it migrates. */
TEST(qemu_layout_is_told_only_while_nothing_migrates)
{
	static const char * const idle[] = {
		"", "\"status\": \"none\"", "\"status\": \"completed\"",
		"\"status\": \"failed\"", "\"status\": \"cancelled\"",
	};
	static const char * const busy[] = {
		"\"status\": \"setup\"", "\"status\": \"active\"",
		"\"status\": \"pre-switchover\"", "\"status\": \"device\"",
		"\"status\": \"cancelling\"", "\"status\": \"something new\"",
	};
	const char *words = "FlatView #1\\n AS \\\"memory\\\", root: system\\n"
			    "  0000000000000000-0000000000ffffff (prio 0, ram): ram\\n";
	struct error err;
	size_t i;

	for (i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
		CHECK_EQ(ask(idle[i], words, &err), 0);
	for (i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
		CHECK_EQ(ask(busy[i], words, &err), -1);
		CHECK_EQ(err.code, EXIT_VMM);
		CHECK_HAS(err.message, "QEMU migrates the guest");
		CHECK_HAS(err.advice, "one DMA log");
	}
}
