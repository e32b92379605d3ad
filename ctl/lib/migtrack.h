/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmigtrack: one typed call per netlink command of the migtrack family, the
 * session's mapping, and the events as structs. No policy.
 *
 * Calls that can fail return 0 or a negative errno. The kernel's own words on
 * the last failure are in migtrack_message(). A handle is for one thread.
 *
 * For programs in C11 and C++11. A struct that grows uses up what is reserved at its
 * end, so that programs that were compiled before go on with the new library.
 */
#ifndef LIBMIGTRACK_H
#define LIBMIGTRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/migtrack.h>
#include <linux/migtrack_map.h>

#ifdef __cplusplus
extern "C" {
#endif

struct migtrack;

/* Room for the name of a device, its end included. */
#define MIGTRACK_NAME_SIZE	64

/* Bytes; what is still to be moved, as of the last sync. */
struct migtrack_counters {
	uint64_t precopy;
	uint64_t postcopy;
	uint64_t stopcopy;
	uint64_t total;
};

struct migtrack_session {
	uint64_t id;
	uint64_t iteration;
	struct migtrack_counters bytes;
	uint32_t flags;			/* enum migtrack_counter_flags */
	uint32_t sources;
	uint64_t syncs;
	uint32_t sync_kind;		/* enum migtrack_sync_kind, 0: none yet */
	uint32_t sync_error;		/* errno, 0: it did not fail */
	uint64_t sync_time_ns;		/* CLOCK_MONOTONIC */
	uint64_t sync_duration_ns;
	uint64_t dirty_pages;
	uint64_t dirty_rate;		/* pages per second */
	uint64_t memory;		/* bytes of kernel memory */
	uint64_t event_seq;		/* events only */
	/* What the controller published. */
	uint32_t phase;			/* enum migtrack_phase */
	uint32_t bandwidth_source;	/* enum migtrack_bandwidth_source */
	uint64_t bandwidth;		/* bytes per second, 0: not told */
	uint64_t downtime_limit_ns;	/* 0: not told */
	uint64_t expected_downtime_ns;	/* UINT64_MAX: unknown */
	uint32_t verdict;		/* enum migtrack_verdict */
	uint32_t reason;		/* enum migtrack_reason */
	uint64_t reserved[16];		/* 0 */
};

struct migtrack_source {
	uint64_t session_id;
	uint32_t id;
	uint32_t type;			/* enum migtrack_source_type */
	pid_t pid;			/* 0: not told */
	uint64_t offset;
	uint64_t length;
	uint32_t page_size;
	struct migtrack_counters bytes;
	uint32_t flags;
	uint64_t dirty_pages;
	uint64_t dirty_rate;
	uint64_t held_pages;
	uint64_t whole_chunks;
	uint64_t protected_pages;
	uint64_t protect_calls;
	uint32_t processes;
	uint64_t memory;
	uint64_t event_seq;
	uint64_t time_ns;		/* CLOCK_MONOTONIC, 0: no numbers yet */
	uint64_t max_age_ns;		/* reported sources only */
	uint64_t clamps;		/* impossible sizes so far */
	/* Of a VFIO device. */
	char name[MIGTRACK_NAME_SIZE];	/* as its owner calls it, "": not told */
	uint32_t device_state;		/* enum migtrack_device_state,
					   UINT32_MAX: unknown */
	uint32_t device_features;	/* enum migtrack_device_features */
	uint64_t precopy_initial;	/* UINT64_MAX: unknown */
	uint64_t precopy_dirty;		/* UINT64_MAX: unknown */
	uint64_t stopcopy_size;		/* UINT64_MAX: unknown */
	uint32_t error;			/* errno of its last query, 0: none */
	uint32_t dma_log;		/* enum migtrack_dma_log, 0: not asked for */
	uint64_t dma_untracked;		/* pages that it told, in no source */
	uint32_t dma_log_error;		/* errno of its last use, 0: none */
	uint32_t reserved32;		/* 0 */
	uint64_t reserved[1];		/* 0 */
};

/* What an owner says about a source. */
struct migtrack_report {
	struct migtrack_counters bytes;	/* the kernel makes the total */
	uint32_t flags;			/* exact, stale, gone */
	uint64_t dirty_rate;		/* pages per second */
	uint64_t reserved[8];		/* 0 */
};

/* What source-add replied. */
struct migtrack_source_map {
	uint64_t session_id;
	uint32_t id;
	uint64_t length;		/* bytes of memory covered */
	uint64_t map_offset;		/* where to mmap the bitmap */
	uint64_t map_length;
	uint32_t page_size;
	uint64_t reserved[8];		/* 0 */
};

enum migtrack_event_type {
	MIGTRACK_EVENT_SESSION_NEW,
	MIGTRACK_EVENT_SESSION_ITERATION,
	MIGTRACK_EVENT_SESSION_DEL,
	MIGTRACK_EVENT_SOURCE_CHANGE,
	MIGTRACK_EVENT_SESSION_CHANGE,
};

struct migtrack_event {
	enum migtrack_event_type type;
	union {
		struct migtrack_session session;
		struct migtrack_source source;	/* MIGTRACK_EVENT_SOURCE_CHANGE */
	};
};

/* -ENOENT: the kernel has no migtrack family (module not loaded). */
int migtrack_open(struct migtrack **mt);
void migtrack_close(struct migtrack *mt);

/* What the kernel said about the last call that failed, or "". */
const char *migtrack_message(const struct migtrack *mt);

int migtrack_session_new(struct migtrack *mt, uint64_t *id, int *fd);
int migtrack_session_del(struct migtrack *mt, int fd);
int migtrack_session_get(struct migtrack *mt, uint64_t id,
			 struct migtrack_session *session);

/*
 * Publish phase, bandwidth, its source, downtime limit, expected downtime, verdict
 * and reason of @published; its other members are not looked at.
 */
int migtrack_session_set(struct migtrack *mt, int fd,
			 const struct migtrack_session *published);

/*
 * A callback that returns nonzero ends the dump, which returns that value. A
 * dump that changed underneath is taken again before the first callback;
 * -EAGAIN if it never held still. Callbacks may use the handle.
 */
typedef int migtrack_session_fn(const struct migtrack_session *s, void *data);
typedef int migtrack_source_fn(const struct migtrack_source *s, void *data);
int migtrack_session_dump(struct migtrack *mt, migtrack_session_fn *fn,
			  void *data);

/* length 0: up to the end of the file */
int migtrack_source_add_ram(struct migtrack *mt, int session_fd, pid_t pid,
			    int mem_fd, uint64_t offset, uint64_t length,
			    struct migtrack_source_map *map);

/* max_age_ns 0: the kernel's default */
int migtrack_source_add_reported(struct migtrack *mt, int session_fd,
				 uint64_t max_age_ns, uint32_t *id);

/*
 * A VFIO device of this process or, by pidfd_getfd(2), of a VMM. Close what was
 * got from a VMM: as long as anybody but the kernel has it, the device can't be
 * unplugged. data_fd -1: not there yet; name NULL: none. -EOPNOTSUPP: it can't
 * migrate, or the module migtrack_vfio is not loaded; migtrack_message() says which.
 */
int migtrack_source_add_vfio(struct migtrack *mt, int session_fd, int device_fd,
			     int data_fd, const char *name, uint32_t *id);

/* The device's migration data, once the VMM has that. */
int migtrack_source_set_data(struct migtrack *mt, int session_fd, uint32_t id,
			     int data_fd);

/* Memory of a source of type ram, as a device finds it. Bytes. */
struct migtrack_dma_range {
	uint64_t iova;
	uint64_t length;
	uint64_t offset;		/* in what the source tracks */
	uint32_t source_id;
	uint32_t reserved32;		/* 0 */
};

/*
 * What a VFIO device writes by DMA, set in the bitmaps of its memory's sources by
 * each sync; dma_log of the source says what became of it. Only while nobody
 * migrates the guest: a device has one log, and its VMM's migration fails while
 * somebody else uses that.
 */
int migtrack_dma_log_start(struct migtrack *mt, int session_fd, uint32_t id,
			   const struct migtrack_dma_range *ranges, size_t n);
int migtrack_dma_log_stop(struct migtrack *mt, int session_fd, uint32_t id);

/* With the flag stale or gone the sizes are not looked at: the last ones stay. */
int migtrack_source_report(struct migtrack *mt, int session_fd, uint32_t id,
			   const struct migtrack_report *report);
int migtrack_source_del(struct migtrack *mt, int session_fd, uint32_t id);
int migtrack_source_get(struct migtrack *mt, uint64_t session_id, uint32_t id,
			struct migtrack_source *source);
int migtrack_source_dump(struct migtrack *mt, uint64_t session_id,
			 migtrack_source_fn *fn, void *data);

/* Starts a sync and returns; migtrack_sync_wait() waits for its end. */
int migtrack_sync(struct migtrack *mt, int session_fd,
		  enum migtrack_sync_kind kind);

/*
 * Wait until a sync has ended since the last call (the descriptor's own count:
 * one waiter). timeout_ms as for poll(2). Returns 0, -ETIMEDOUT, -EINTR,
 * -ENODEV (the session ended). The sync's own result is in the header.
 */
int migtrack_sync_wait(int session_fd, int timeout_ms);

/* The mapped header page; migtrack_header_read() copies it consistently. */
int migtrack_header_map(int session_fd, struct migtrack_map_header **header);
void migtrack_header_unmap(struct migtrack_map_header *header);
void migtrack_header_read(const struct migtrack_map_header *header,
			  struct migtrack_map_header *copy);

/* A source's bitmap, mapped; bit 0 is the first page of the range. */
int migtrack_bitmap_map(int session_fd, const struct migtrack_source_map *map,
			unsigned long **bitmap);
void migtrack_bitmap_unmap(const struct migtrack_source_map *map,
			   unsigned long *bitmap);

/*
 * Events. A handle that subscribed is used for nothing else.
 * migtrack_event_read() returns 0, -EAGAIN (migtrack_subscribe() makes the
 * descriptor non-blocking: read until -EAGAIN, then poll),
 * -ENOBUFS (events were lost: dump to catch up), or another negative errno.
 * Several events can arrive at once; it hands out one at a time.
 */
int migtrack_subscribe(struct migtrack *mt);
int migtrack_fd(const struct migtrack *mt);
int migtrack_event_read(struct migtrack *mt, struct migtrack_event *event);

#ifdef __cplusplus
}
#endif

#endif /* LIBMIGTRACK_H */
