/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What mmap() of a migtrack session's descriptor shows.
 *
 * At offset 0, one page: struct migtrack_map_header. At the map-offset that
 * source-add replied: the source's dirty bitmap, a bit per page in native
 * unsigned longs, bit 0 for the first page of the tracked range.
 *
 * The kernel sets bits (atomically) during a sync; the owner clears them
 * (atomically) when it takes a page up, before it reads that page.
 */
#ifndef _UAPI_LINUX_MIGTRACK_MAP_H
#define _UAPI_LINUX_MIGTRACK_MAP_H

#include <linux/types.h>

#define MIGTRACK_MAP_VERSION	1
#define MIGTRACK_MAP_SOURCES	64

/**
 * struct migtrack_map_header - the first page of a session's mapping
 *
 * Written by the kernel, but for @moved. A reader that needs several members
 * of the same sync reads @seq before and after: odd means that the kernel is
 * writing, a change means to read again.
 *
 * @version: MIGTRACK_MAP_VERSION
 * @seq: odd while the kernel writes
 * @syncs: syncs that ended, with any result
 * @iteration: as the netlink attribute
 * @sync_time_ns: CLOCK_MONOTONIC at the end of the last sync
 * @sync_duration_ns: how long it took
 * @sync_kind: enum migtrack_sync_kind of the last sync
 * @sync_error: 0 or its errno; the counters are then those of the one before
 * @flags: enum migtrack_counter_flags
 * @sources: number of sources
 * @precopy_bytes: as the netlink attribute, as of the last sync
 * @postcopy_bytes: likewise
 * @stopcopy_bytes: likewise
 * @total_bytes: likewise
 * @dirty_pages: pages found written by the last sync
 * @moved_bytes: written by the owner: for each source, at the index of its id,
 *	the bytes moved since the source was added; only grows. What it grew by
 *	since the last sync is taken off what that sync found.
 */
struct migtrack_map_header {
	__u32 version;
	__u32 seq;
	__u64 syncs;
	__u64 iteration;
	__u64 sync_time_ns;
	__u64 sync_duration_ns;
	__u32 sync_kind;
	__u32 sync_error;
	__u32 flags;
	__u32 sources;
	__u64 precopy_bytes;
	__u64 postcopy_bytes;
	__u64 stopcopy_bytes;
	__u64 total_bytes;
	__u64 dirty_pages;
	__u64 reserved[16];
	__u64 moved_bytes[MIGTRACK_MAP_SOURCES];
};

#endif /* _UAPI_LINUX_MIGTRACK_MAP_H */
