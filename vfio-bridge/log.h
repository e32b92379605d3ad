/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_VFIO_LOG_H
#define _MIGTRACK_VFIO_LOG_H

#include <linux/types.h>

struct file;
struct migtrack_dma_map;
struct migtrack_vfio_source;
struct mm_struct;

/**
 * struct migtrack_vfio_log - the DMA log of a device
 *
 * Under the device's lock. Who changes @map has the device asked; what it does
 * then follows from @map and @active.
 *
 * @owner: the source that asked for it, NULL if none does
 * @map: what @owner asked for, referenced; NULL without one
 * @active: what the device logs, referenced; NULL if it does not, for us
 * @refused: the device did not start it, or can no longer be asked
 * @error: of the last use, negative, or 0
 * @whole: the next harvest reports all of @map
 * @read: number of the last question that read it
 * @pages: that it reported since the last harvest
 * @untracked: pages that are in no source, since @owner asked
 * @unread: the last harvest reported all, as it could not be read
 * @dirty_pages: of the last harvest
 * @dirty_rate: of the last harvest, per second
 * @harvested: when the last one was, CLOCK_MONOTONIC in ns; 0 before the first
 */
struct migtrack_vfio_log {
	const struct migtrack_vfio_source *owner;
	struct migtrack_dma_map *map;
	struct migtrack_dma_map *active;
	bool refused;
	int error;
	bool whole;
	u64 read;
	u64 pages;
	u64 untracked;
	bool unread;
	u64 dirty_pages;
	u64 dirty_rate;
	u64 harvested;
};

/**
 * struct migtrack_vfio_log_query - what to ask of a log
 * @stop: it was started with that, and is to be stopped; NULL: no
 * @start: start it with that; NULL: no
 * @report: it was started with that, and is to be read; NULL: no
 * @dropped: what the log had a reference to, and no longer has
 * @asked: out: it was; without, nothing is known of what it does
 * @start_err: out
 * @report_err: out
 * @pages: out: reported by @report, and in a source
 * @untracked: out: reported by @report, and in none
 */
struct migtrack_vfio_log_query {
	struct migtrack_dma_map *stop;
	struct migtrack_dma_map *start;
	struct migtrack_dma_map *report;
	struct migtrack_dma_map *dropped;
	bool asked;
	int start_err;
	int report_err;
	u64 pages;
	u64 untracked;
};

struct migtrack_dma_map *migtrack_vfio_log_set(struct migtrack_vfio_log *log,
					       const struct migtrack_vfio_source *owner,
					       struct migtrack_dma_map *map, bool *logged);
u32 migtrack_vfio_log_state(const struct migtrack_vfio_log *log);
bool migtrack_vfio_log_begin(struct migtrack_vfio_log *log,
			     struct migtrack_vfio_log_query *query, bool report);
bool migtrack_vfio_log_end(struct migtrack_vfio_log *log,
			   struct migtrack_vfio_log_query *query, u64 number);
struct mm_struct *migtrack_vfio_log_mm(const struct migtrack_vfio_log_query *query);
void migtrack_vfio_log_query_put(struct migtrack_vfio_log_query *query);
void migtrack_vfio_log_lost(struct migtrack_vfio_log *log, struct migtrack_dma_map **wanted,
			    struct migtrack_dma_map **unwanted);
struct migtrack_dma_map *migtrack_vfio_log_harvest(struct migtrack_vfio_log *log, u64 asked,
						   u64 now);

void migtrack_vfio_log_ask(struct file *device, void __user *page,
			   struct migtrack_vfio_log_query *query);
void migtrack_vfio_log_not_asked(struct migtrack_vfio_log_query *query, int err);

#endif /* _MIGTRACK_VFIO_LOG_H */
