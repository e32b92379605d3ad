// SPDX-License-Identifier: GPL-2.0-or-later

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harvest.h"
#include "method.h"

#define WORD_BITS	(8 * sizeof(unsigned long))

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static size_t count_bits(const unsigned long *bitmap, size_t npages)
{
	size_t i, n = 0;

	for (i = 0; i < npages / WORD_BITS; i++)
		n += __builtin_popcountl(bitmap[i]);
	return n;
}

/* ---- floor: a pass over the page tables, by tools/testing/modules/floor ---- */

static int floor_fd;

static void floor_start(struct vm *vm)
{
	floor_fd = open_or_die("/dev/floor", O_WRONLY);
}

static size_t floor_collect(struct vm *vm)
{
	uint64_t range[2] = {
		(uintptr_t)vm->memory, (uintptr_t)vm->memory + vm->size,
	};
	ssize_t n = write(floor_fd, range, sizeof(range));

	if (n < 0)
		err(1, "/dev/floor");
	return n;
}

static void floor_stop(void)
{
	close(floor_fd);
}

/* ---- migtrack: a sync, and the bitmap taken ---- */

static struct harvest harvest;

static void migtrack_start(struct vm *vm)
{
	harvest_open(&harvest, getpid(), vm->mem_fd);
	harvest_sync(&harvest, MIGTRACK_SYNC_KIND_SETUP);
	harvest_take(&harvest);
	harvest_sync(&harvest, MIGTRACK_SYNC_KIND_ITERATION);
	harvest_take(&harvest);
}

static size_t migtrack_collect(struct vm *vm)
{
	harvest_sync(&harvest, MIGTRACK_SYNC_KIND_ITERATION);
	return harvest_take(&harvest);
}

static void migtrack_stop(void)
{
	harvest_close(&harvest);
}

/* ---- KVM's dirty log, as QEMU uses it: get, then clear what it said ---- */

static struct vm *kvm_vm;
static unsigned long *kvm_bitmap;

static void kvm_start(struct vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		err(1, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	kvm_vm = vm;
	kvm_bitmap = calloc(vm->size / GUEST_PAGE / WORD_BITS, sizeof(long));
	vm_dirty_log(vm, true);
}

static size_t kvm_collect(struct vm *vm)
{
	size_t npages = vm->size / GUEST_PAGE;
	struct kvm_clear_dirty_log clear = {
		.slot = VM_MEMORY_SLOT,
		.num_pages = npages,
		.dirty_bitmap = kvm_bitmap,
	};
	size_t n;

	vm_get_dirty_log(vm, kvm_bitmap);
	n = count_bits(kvm_bitmap, npages);
	if (n && ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear))
		err(1, "KVM_CLEAR_DIRTY_LOG");
	return n;
}

static void kvm_stop(void)
{
	vm_dirty_log(kvm_vm, false);
	free(kvm_bitmap);
}

/* ---- PAGEMAP_SCAN, with userfaultfd's asynchronous write-protection ---- */

static int scan_uffd, scan_pagemap;
static struct page_region *scan_regions;

static void scan_start(struct vm *vm)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)vm->memory, vm->size },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect protect = {
		.range = { (uintptr_t)vm->memory, vm->size },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	scan_uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (scan_uffd < 0 || ioctl(scan_uffd, UFFDIO_API, &api) ||
	    ioctl(scan_uffd, UFFDIO_REGISTER, &reg) ||
	    ioctl(scan_uffd, UFFDIO_WRITEPROTECT, &protect))
		err(1, "userfaultfd");
	scan_pagemap = open_or_die("/proc/self/pagemap", O_RDONLY);
	scan_regions = calloc(vm->size / GUEST_PAGE, sizeof(*scan_regions));
}

static size_t scan_collect(struct vm *vm)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)vm->memory,
		.end = (uintptr_t)vm->memory + vm->size,
		.vec = (uintptr_t)scan_regions,
		.vec_len = vm->size / GUEST_PAGE,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int i, regions = ioctl(scan_pagemap, PAGEMAP_SCAN, &arg);
	size_t n = 0;

	if (regions < 0)
		err(1, "PAGEMAP_SCAN");
	for (i = 0; i < regions; i++)
		n += (scan_regions[i].end - scan_regions[i].start) / GUEST_PAGE;
	return n;
}

static void scan_stop(void)
{
	close(scan_uffd);
	close(scan_pagemap);
	free(scan_regions);
}

/* ---- soft-dirty: pagemap is read, clear_refs written ---- */

static int soft_pagemap, soft_clear;
static uint64_t *soft_entries;

static void soft_start(struct vm *vm)
{
	soft_pagemap = open_or_die("/proc/self/pagemap", O_RDONLY);
	soft_clear = open_or_die("/proc/self/clear_refs", O_WRONLY);
	soft_entries = calloc(vm->size / GUEST_PAGE, sizeof(*soft_entries));
	if (write(soft_clear, "4", 1) != 1)
		err(1, "clear_refs");
}

static size_t soft_collect(struct vm *vm)
{
	size_t npages = vm->size / GUEST_PAGE, bytes = npages * sizeof(*soft_entries);
	size_t i, n = 0;

	if (pread(soft_pagemap, soft_entries, bytes,
		  (uintptr_t)vm->memory / GUEST_PAGE * sizeof(*soft_entries)) !=
	    (ssize_t)bytes)
		err(1, "pagemap");
	if (write(soft_clear, "4", 1) != 1)
		err(1, "clear_refs");
	for (i = 0; i < npages; i++)
		n += soft_entries[i] >> 55 & 1;
	return n;
}

static void soft_stop(void)
{
	close(soft_pagemap);
	close(soft_clear);
	free(soft_entries);
}

const struct method methods[METHODS] = {
	[METHOD_FLOOR] = { "floor", floor_start, floor_collect, floor_stop },
	[METHOD_MIGTRACK] = { "migtrack", migtrack_start, migtrack_collect,
			      migtrack_stop },
	[METHOD_KVM] = { "KVM log", kvm_start, kvm_collect, kvm_stop },
	[METHOD_PAGEMAP_SCAN] = { "PAGEMAP_SCAN", scan_start, scan_collect, scan_stop },
	[METHOD_SOFT_DIRTY] = { "soft-dirty", soft_start, soft_collect, soft_stop },
};
