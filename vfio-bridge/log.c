// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DMA log of a device: who wants it, and whether the device has it.
 *
 * What a device wrote is told once. So who reads the log sets the bits of the
 * sources at once, and what could not be read is made up for by all that the log
 * covers: at the start, as what was written before is not known, and after each
 * question that was not answered, in time or at all.
 */

#include <linux/errno.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/time64.h>

#include <linux/migtrack.h>

#include "dma.h"
#include "log.h"

/**
 * migtrack_vfio_log_set - want a log, or none
 * @log: the log
 * @owner: who wants it, NULL: nobody
 * @map: of what, NULL without @owner; a reference is taken
 * @logged: out: what was wanted before was logged, and what the device wrote since it
 *	was read nobody will be told
 *
 * Return: what was wanted before, to be put without locks.
 */
struct migtrack_dma_map *migtrack_vfio_log_set(struct migtrack_vfio_log *log,
					       const struct migtrack_vfio_source *owner,
					       struct migtrack_dma_map *map, bool *logged)
{
	struct migtrack_dma_map *old = log->map, *active = log->active;

	*logged = old && old == active;
	*log = (struct migtrack_vfio_log){
		.owner = owner,
		.map = map ? migtrack_dma_map_get(map) : NULL,
		.active = active,
	};
	return old;
}

/**
 * migtrack_vfio_log_state - what became of it
 * @log: the log
 *
 * Return: enum migtrack_dma_log, 0 if nobody wants it.
 */
u32 migtrack_vfio_log_state(const struct migtrack_vfio_log *log)
{
	if (!log->map)
		return 0;
	if (log->refused)
		return log->error == -EBUSY ? MIGTRACK_DMA_LOG_IN_USE : MIGTRACK_DMA_LOG_FAILED;
	if (log->active != log->map)
		return MIGTRACK_DMA_LOG_STARTING;
	return log->unread ? MIGTRACK_DMA_LOG_UNREAD : MIGTRACK_DMA_LOG_ON;
}

/**
 * migtrack_vfio_log_begin - what to ask
 * @log: the log
 * @query: filled, with references
 * @report: a sync wants to know what was written
 *
 * Return: true if there is something to ask.
 */
bool migtrack_vfio_log_begin(struct migtrack_vfio_log *log,
			     struct migtrack_vfio_log_query *query, bool report)
{
	if (log->active && log->active == log->map) {
		if (report)
			query->report = migtrack_dma_map_get(log->map);
		return report;
	}
	if (log->active)
		query->stop = migtrack_dma_map_get(log->active);
	if (log->map && !log->refused)
		query->start = migtrack_dma_map_get(log->map);
	return query->stop || query->start;
}

/**
 * migtrack_vfio_log_mm - an address space that a question can be asked from
 * @query: the question
 *
 * Who asked for a log may have ended when it is to be stopped.
 *
 * Return: that of the VMM, not referenced; or NULL.
 */
struct mm_struct *migtrack_vfio_log_mm(const struct migtrack_vfio_log_query *query)
{
	const struct migtrack_dma_map *map = query->stop ?: query->start ?: query->report;

	return map ? migtrack_dma_map_mm(map) : NULL;
}

/**
 * migtrack_vfio_log_end - what a device did
 * @log: the log
 * @query: what was asked; to be put after it, without locks
 * @number: of the question
 *
 * Return: true if that is news for listeners.
 */
bool migtrack_vfio_log_end(struct migtrack_vfio_log *log,
			   struct migtrack_vfio_log_query *query, u64 number)
{
	u32 state = migtrack_vfio_log_state(log);

	/* What a device can't stop it ends when it is closed. */
	if (query->stop && query->asked && log->active == query->stop)
		swap(log->active, query->dropped);
	if (query->start && !query->start_err)
		log->active = migtrack_dma_map_get(query->start);
	/* Nobody may want it any more. */
	if (query->start && log->map == query->start) {
		log->error = query->start_err;
		log->refused = query->start_err;
		log->whole = !query->start_err;
	}
	if (query->report && log->map == query->report) {
		log->error = query->report_err;
		log->pages += query->pages;
		log->untracked += query->untracked;
		if (query->report_err)
			log->whole = true;
		else
			log->read = number;
	}
	return state != migtrack_vfio_log_state(log);
}

/**
 * migtrack_vfio_log_query_put - drop the references of a question
 * @query: the question; may sleep
 */
void migtrack_vfio_log_query_put(struct migtrack_vfio_log_query *query)
{
	migtrack_dma_map_put(query->stop);
	migtrack_dma_map_put(query->start);
	migtrack_dma_map_put(query->report);
	migtrack_dma_map_put(query->dropped);
}

/**
 * migtrack_vfio_log_lost - the device is closed, and its log with it
 * @log: the log
 * @wanted: out: what it logged, if that is of interest; to be put without locks
 * @unwanted: out: likewise, if it is not
 */
void migtrack_vfio_log_lost(struct migtrack_vfio_log *log, struct migtrack_dma_map **wanted,
			    struct migtrack_dma_map **unwanted)
{
	if (log->active)
		*(log->active == log->map ? wanted : unwanted) = log->active;
	/* For a sync that comes before it is closed. */
	if (log->active && log->active == log->map)
		log->whole = true;
	log->active = NULL;
	if (!log->map)
		return;
	log->refused = true;
	log->error = -ENODEV;
}

/**
 * migtrack_vfio_log_harvest - what a sync can say of what the device wrote
 * @log: the log
 * @asked: number of the first question after the sync began; the wait is over
 * @now: CLOCK_MONOTONIC in ns
 *
 * Return: of which all has to be reported, referenced; NULL: what was read will do.
 */
struct migtrack_dma_map *migtrack_vfio_log_harvest(struct migtrack_vfio_log *log, u64 asked,
						   u64 now)
{
	bool on = log->active && log->active == log->map;
	bool first = log->whole && !log->error;
	bool whole = log->whole || (on && log->read < asked);

	log->whole = false;
	log->unread = whole && !first;
	log->dirty_pages = whole ? migtrack_dma_map_pages(log->map) : log->pages;
	log->dirty_rate = whole || !log->harvested ? 0 :
		mul_u64_u64_div_u64(log->pages, NSEC_PER_SEC, max(now - log->harvested, 1));
	log->harvested = now;
	log->pages = 0;
	return whole ? migtrack_dma_map_get(log->map) : NULL;
}
