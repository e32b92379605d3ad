/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VFIO device for tests: an mdev that is presented as a PCI device, with the
 * migration states, data stream and DMA log of a real one, and knobs to make it
 * misbehave. See Documentation/vfio-testdev.rst.
 */
#ifndef TESTDEV_H
#define TESTDEV_H

#include <linux/atomic.h>
#include <linux/eventfd.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "vfio_testdev_regs.h"

#define TESTDEV_REGS		(TESTDEV_SCRATCH_END / sizeof(u32))
#define TESTDEV_CONFIG_SIZE	256
/* Values that one knob reports in turn. */
#define TESTDEV_VALUES		16
/* Bytes that the stream makes or checks at a time. */
#define TESTDEV_CHUNK		PAGE_SIZE

/* Calls that a VMM makes, which can be slow and can fail. */
enum testdev_call {
	TESTDEV_GET_DATA_SIZE,
	TESTDEV_PRECOPY_INFO,
	TESTDEV_READ,
	TESTDEV_WRITE,
	TESTDEV_SET_STATE,
	TESTDEV_GET_STATE,
	TESTDEV_RESET,
	TESTDEV_LOG_START,
	TESTDEV_LOG_STOP,
	TESTDEV_LOG_REPORT,
	TESTDEV_CALLS
};

/* Numbers that it reports, which can be wrong. */
enum testdev_report {
	TESTDEV_REPORT_DATA_SIZE,
	TESTDEV_REPORT_INITIAL,
	TESTDEV_REPORT_DIRTY,
	TESTDEV_REPORT_STATE,
	TESTDEV_REPORTS
};

enum testdev_value_kind {
	TESTDEV_VALUE_REAL,
	TESTDEV_VALUE_RANDOM,
	TESTDEV_VALUE_NUMBER,
};

struct testdev_value {
	enum testdev_value_kind kind;
	u64 number;
};

/**
 * struct testdev_values - what a knob has reported, one after the other
 * @value:	the values
 * @n:		how many of them there are; 0 is the truth
 * @next:	the one that comes next
 */
struct testdev_values {
	struct testdev_value value[TESTDEV_VALUES];
	unsigned int n;
	unsigned int next;
};

/**
 * struct testdev_call_knob - how one of the calls behaves
 * @errno:	what it fails with, 0 if it does not
 * @times:	how often it still fails, 0 for always
 * @delay_ms:	how long it takes
 * @count:	how often it was made
 */
struct testdev_call_knob {
	unsigned int errno;
	unsigned int times;
	unsigned int delay_ms;
	u64 count;
};

/**
 * struct testdev_sizes - of a saved state, in bytes of the stream
 * @initial:	there from the start of PRE_COPY, beside the stream's header
 * @stop:	only in STOP_COPY, beside the stream's trailer
 * @dirty_rate:	how many become dirty in a second of PRE_COPY
 * @dirty_max:	how many can be dirty at once
 */
struct testdev_sizes {
	u64 initial;
	u64 stop;
	u64 dirty_rate;
	u64 dirty_max;
};

/**
 * struct testdev_knobs - what sysfs sets, at any time
 * @lock:	guards the rest; innermost
 * @sizes:	of the state
 * @seed:	of the next stream's payload, 0 for a random one
 * @report:	what is reported instead of the truth
 * @call:	how calls behave
 * @error_state: whether a state change that fails by a knob leaves the device in
 *		ERROR
 * @generation:	changes when delays do, so that who sleeps looks again
 */
struct testdev_knobs {
	spinlock_t lock; /* see above */
	struct testdev_sizes sizes;
	u64 seed;
	struct testdev_values report[TESTDEV_REPORTS];
	struct testdev_call_knob call[TESTDEV_CALLS];
	bool error_state;
	unsigned int generation;
};

/**
 * struct testdev_log - which pages the device has written
 * @active:	between log start and log stop
 * @shift:	of the pages that it tells apart
 * @ranges:	what it watches, sorted
 * @n_ranges:	how many these are
 * @chunks:	bitmaps of TESTDEV_LOG_BITS pages, where there are any, by page number
 *
 * All of it is guarded by testdev_dma.lock.
 */
struct testdev_log {
	bool active;
	unsigned int shift;
	struct testdev_range *ranges;
	unsigned int n_ranges;
	struct xarray chunks;
};

struct testdev_range {
	u64 first;
	u64 last;
};

/**
 * struct testdev_dma - the device as a writer of the VMM's memory
 * @lock:	guards all of it but @unmap and @pinning. Held over each batch of
 *		writes, which fault: outside the container's lock and mmap_lock
 * @work:	writes a batch, queues itself while @allowed and enabled; it runs
 *		only while the device is open
 * @allowed:	by the migration state, PCI_COMMAND_MASTER and being open
 * @control:	registers' copies, TESTDEV_REG_DMA_*
 * @rate:	likewise
 * @bytes:	likewise
 * @limit:	likewise
 * @iova:	likewise
 * @length:	likewise
 * @written:	number of the last write
 * @errors:	how many failed
 * @start:	since when @done counts
 * @done:	writes since then
 * @buffer:	a page for what is written
 * @log:	what was written
 * @unmap:	woken when @pinning goes back to 0; see testdev_dma_unmap()
 * @pinning:	number of pages that are or may be pinned right now
 * @no_pin_before: in jiffies
 */
struct testdev_dma {
	struct mutex lock; /* see above */
	struct delayed_work work;
	bool allowed;
	u32 control;
	u32 rate;
	u32 bytes;
	u32 limit;
	u64 iova;
	u64 length;
	u64 written;
	u32 errors;
	ktime_t start;
	u64 done;
	u64 *buffer;
	struct testdev_log log;
	wait_queue_head_t unmap;
	atomic_t pinning;
	unsigned long no_pin_before;
};

struct testdev_stream;

/**
 * struct testdev - one mdev
 * @vdev:	what VFIO sees of it. The mdev's driver data and each stream hold a
 *		reference; the last one frees it, which may be after the mdev has gone
 * @lock:	guards @state, @stream, @open, @config, @regs, @irq. Outside
 *		testdev_stream.lock and testdev_dma.lock, never held over a copy from
 *		or to the user
 * @state:	migration state
 * @stream:	of this data transfer session, or NULL; it holds a reference
 * @open:	between open_device and close_device
 * @config:	PCI config space
 * @regs:	BAR 0
 * @irq:	what is signalled when the device is to be given back, or NULL
 * @gone:	the mdev is being removed: nobody sleeps any more
 * @delays:	where slow calls sleep
 * @knobs:	what sysfs sets
 * @dma:	the device as a writer
 *
 * Locks from the outside in: @lock, testdev_stream.lock, testdev_dma.lock,
 * testdev_knobs.lock.
 */
struct testdev {
	struct vfio_device vdev;
	struct mutex lock; /* see above */
	enum vfio_device_mig_state state;
	struct testdev_stream *stream;
	bool open;
	u8 config[TESTDEV_CONFIG_SIZE];
	u32 regs[TESTDEV_REGS];
	struct eventfd_ctx *irq;
	bool gone;
	wait_queue_head_t delays;
	struct testdev_knobs knobs;
	struct testdev_dma dma;
};

/**
 * struct testdev_type - of an mdev: what cannot change while it exists
 * @type:	what mdev knows of it
 * @migration:	VFIO_MIGRATION_*, 0 if it cannot migrate
 * @log:	whether it has a DMA log
 */
struct testdev_type {
	struct mdev_type type;
	unsigned int migration;
	bool log;
};

static inline struct testdev *to_testdev(struct vfio_device *vdev)
{
	return container_of(vdev, struct testdev, vdev);
}

/* main.c */
extern struct workqueue_struct *testdev_wq;

/* device.c */
extern const struct vfio_device_ops testdev_ops;
void testdev_reset(struct testdev *dev);

/* config.c */
void testdev_config_reset(struct testdev *dev);
void testdev_config_read(struct testdev *dev, unsigned int offset, u8 *buf, size_t len);
void testdev_config_write(struct testdev *dev, unsigned int offset, const u8 *buf, size_t len);

/* regs.c */
void testdev_regs_reset(struct testdev *dev);
void testdev_regs_read(struct testdev *dev, unsigned int offset, u8 *buf, size_t len);
void testdev_regs_write(struct testdev *dev, unsigned int offset, const u8 *buf, size_t len);
void testdev_regs_set(struct testdev *dev, unsigned int reg, u32 value);
void testdev_regs_save(struct testdev *dev, u32 *regs);
void testdev_regs_load(struct testdev *dev, const u32 *regs);

/* migration.c */
extern const struct vfio_migration_ops testdev_migration_ops;
bool testdev_state_runs(enum vfio_device_mig_state state);
bool testdev_state_writes(enum vfio_device_mig_state state);
const char *testdev_state_name(enum vfio_device_mig_state state);

/* stream.c */
struct file *testdev_stream_save(struct testdev *dev);
struct file *testdev_stream_load(struct testdev *dev);
void testdev_stream_stop(struct testdev *dev);
int testdev_stream_finish(struct testdev *dev);
void testdev_stream_end(struct testdev *dev);
u64 testdev_stream_size(struct testdev *dev);
int testdev_stream_reinit(struct testdev *dev, u64 bytes);

/* prng.c */
u64 testdev_mix(u64 x);
void testdev_prng(u64 seed, u64 position, u8 *buf, size_t len);

/* call.c */
int testdev_call(struct testdev *dev, enum testdev_call call);
void testdev_wake(struct testdev *dev);

/* knobs.c */
void testdev_knobs_init(struct testdev *dev);
struct testdev_sizes testdev_sizes(struct testdev *dev);
u64 testdev_seed(struct testdev *dev);
u64 testdev_reported(struct testdev *dev, enum testdev_report report, u64 real);
int testdev_values_parse(struct testdev_values *values, const char *buf);
ssize_t testdev_values_print(const struct testdev_values *values, char *buf);

/* sysfs.c */
extern const struct attribute_group *testdev_groups[];

/* dma.c */
int testdev_dma_init(struct testdev *dev);
void testdev_dma_destroy(struct testdev *dev);
void testdev_dma_update(struct testdev *dev);
void testdev_dma_quiesce(struct testdev *dev);
void testdev_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length);

/* log.c */
extern const struct vfio_log_ops testdev_log_ops;
int testdev_log_prepare(struct testdev *dev, u64 iova, u64 length);
void testdev_log_record(struct testdev *dev, u64 iova, u64 length);
void testdev_log_end(struct testdev *dev);
ssize_t testdev_log_print(struct testdev *dev, char *buf);

#endif
