/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/migtrack.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: make netlink */

#ifndef _UAPI_LINUX_MIGTRACK_H
#define _UAPI_LINUX_MIGTRACK_H

#define MIGTRACK_FAMILY_NAME	"migtrack"
#define MIGTRACK_FAMILY_VERSION	1

#define MIGTRACK_UNKNOWN_BYTES		107374182400
#define MIGTRACK_DEFAULT_MAX_AGE	10000000000
#define MIGTRACK_MAX_DMA_RANGES		64

/**
 * enum migtrack_source_type - What a source is.
 * @MIGTRACK_SOURCE_TYPE_RAM: Shared, file-backed guest memory, tracked by the
 *   kernel.
 * @MIGTRACK_SOURCE_TYPE_REPORTED: Something whose numbers the session's owner
 *   publishes by source-report, for example what a VMM says that it has to
 *   move.
 * @MIGTRACK_SOURCE_TYPE_VFIO: A VFIO device with migration support, asked by
 *   the kernel. Needs the module migtrack_vfio.
 */
enum migtrack_source_type {
	MIGTRACK_SOURCE_TYPE_RAM = 1,
	MIGTRACK_SOURCE_TYPE_REPORTED,
	MIGTRACK_SOURCE_TYPE_VFIO,
};

/**
 * enum migtrack_sync_kind - What a sync is for. Only an iteration counts and
 *   sends an event.
 * @MIGTRACK_SYNC_KIND_SETUP: Arms every source; all of its memory is to be
 *   moved. Sets the iteration to 1. Silent.
 * @MIGTRACK_SYNC_KIND_ITERATION: Exact query of every source, publish,
 *   iteration + 1, session-iteration-ntf.
 * @MIGTRACK_SYNC_KIND_HELPER: Exact query and publish. Does not count, silent.
 * @MIGTRACK_SYNC_KIND_FINAL: The last one, with the guest stopped. Does not
 *   count, silent.
 */
enum migtrack_sync_kind {
	MIGTRACK_SYNC_KIND_SETUP = 1,
	MIGTRACK_SYNC_KIND_ITERATION,
	MIGTRACK_SYNC_KIND_HELPER,
	MIGTRACK_SYNC_KIND_FINAL,
};

/**
 * enum migtrack_counter_flags - What a reader has to know about the numbers
 *   beside them.
 * @MIGTRACK_COUNTER_FLAGS_EXACT: The numbers come from a sync that asked the
 *   source.
 * @MIGTRACK_COUNTER_FLAGS_CLAMPED: The source reported an impossible size,
 *   above 2^63 - 1; its last good one stands for it.
 * @MIGTRACK_COUNTER_FLAGS_STALE: The source could not be asked, or was not
 *   heard of for its max-age; the last known value is shown.
 * @MIGTRACK_COUNTER_FLAGS_GONE: The process, file or device that was tracked
 *   no longer exists.
 * @MIGTRACK_COUNTER_FLAGS_BARRIER: A mapping of the file exists that can't be
 *   write-protected (private, or opened read-only); memory near it is reported
 *   whole at each sync.
 * @MIGTRACK_COUNTER_FLAGS_HUGE: Huge page table entries were found in the
 *   tracked memory.
 * @MIGTRACK_COUNTER_FLAGS_HELD: Pages are held by references beyond their
 *   mappings (long-term pins, I/O under way) and are reported at each sync
 *   until they are let go.
 * @MIGTRACK_COUNTER_FLAGS_UNKNOWN: The source never had a possible size, or
 *   the last sync could not find it out. unknown-bytes stands for it, to
 *   decide by; who shows what remains shows unknown instead.
 * @MIGTRACK_COUNTER_FLAGS_REINIT: The device has new initial data
 *   (VFIO_PRECOPY_INFO_REINIT); it is not ready to switch over until
 *   precopy-initial is 0 again.
 */
enum migtrack_counter_flags {
	MIGTRACK_COUNTER_FLAGS_EXACT = 1,
	MIGTRACK_COUNTER_FLAGS_CLAMPED = 2,
	MIGTRACK_COUNTER_FLAGS_STALE = 4,
	MIGTRACK_COUNTER_FLAGS_GONE = 8,
	MIGTRACK_COUNTER_FLAGS_BARRIER = 16,
	MIGTRACK_COUNTER_FLAGS_HUGE = 32,
	MIGTRACK_COUNTER_FLAGS_HELD = 64,
	MIGTRACK_COUNTER_FLAGS_UNKNOWN = 128,
	MIGTRACK_COUNTER_FLAGS_REINIT = 256,
};

/**
 * enum migtrack_device_state - The migration state of a VFIO device, as in
 *   enum vfio_device_mig_state.
 * @MIGTRACK_DEVICE_STATE_ERROR: The device failed; only a reset helps.
 * @MIGTRACK_DEVICE_STATE_STOP: It neither runs nor is it saved.
 * @MIGTRACK_DEVICE_STATE_RUNNING: It runs.
 * @MIGTRACK_DEVICE_STATE_STOP_COPY: It is stopped, and its state is read.
 * @MIGTRACK_DEVICE_STATE_RESUMING: It is stopped, and its state is written.
 * @MIGTRACK_DEVICE_STATE_RUNNING_P2P: It runs, and starts no DMA to other
 *   devices.
 * @MIGTRACK_DEVICE_STATE_PRE_COPY: It runs, and its state is read.
 * @MIGTRACK_DEVICE_STATE_PRE_COPY_P2P: As pre-copy, and it starts no DMA to
 *   other devices.
 */
enum migtrack_device_state {
	MIGTRACK_DEVICE_STATE_ERROR,
	MIGTRACK_DEVICE_STATE_STOP,
	MIGTRACK_DEVICE_STATE_RUNNING,
	MIGTRACK_DEVICE_STATE_STOP_COPY,
	MIGTRACK_DEVICE_STATE_RESUMING,
	MIGTRACK_DEVICE_STATE_RUNNING_P2P,
	MIGTRACK_DEVICE_STATE_PRE_COPY,
	MIGTRACK_DEVICE_STATE_PRE_COPY_P2P,
};

/**
 * enum migtrack_device_features - What a VFIO device can do for a migration.
 * @MIGTRACK_DEVICE_FEATURES_STOP_COPY: Its state can be moved while it is
 *   stopped.
 * @MIGTRACK_DEVICE_FEATURES_P2P: It can be kept from DMA to other devices
 *   before it is stopped.
 * @MIGTRACK_DEVICE_FEATURES_PRE_COPY: Part of its state can be moved while it
 *   runs.
 * @MIGTRACK_DEVICE_FEATURES_DIRTY_LOG: It can tell what memory it writes by
 *   DMA.
 * @MIGTRACK_DEVICE_FEATURES_REINIT: It can tell of new initial data
 *   (VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2).
 */
enum migtrack_device_features {
	MIGTRACK_DEVICE_FEATURES_STOP_COPY = 1,
	MIGTRACK_DEVICE_FEATURES_P2P = 2,
	MIGTRACK_DEVICE_FEATURES_PRE_COPY = 4,
	MIGTRACK_DEVICE_FEATURES_DIRTY_LOG = 8,
	MIGTRACK_DEVICE_FEATURES_REINIT = 16,
};

/**
 * enum migtrack_dma_log - What became of a log that dma-log-start asked for.
 * @MIGTRACK_DMA_LOG_STARTING: The device has not answered yet.
 * @MIGTRACK_DMA_LOG_ON: The last sync read it. The first one after the start
 *   reports all that the map covers, as what was written before is not known.
 * @MIGTRACK_DMA_LOG_UNREAD: It is on, and the last sync could not read it: all
 *   that the map covers was reported.
 * @MIGTRACK_DMA_LOG_IN_USE: Somebody else has the device's log: the VMM, which
 *   migrates it, or another session. What the device writes is not tracked.
 * @MIGTRACK_DMA_LOG_FAILED: The device could not start it; dma-log-error says
 *   why. What the device writes is not tracked.
 */
enum migtrack_dma_log {
	MIGTRACK_DMA_LOG_STARTING = 1,
	MIGTRACK_DMA_LOG_ON,
	MIGTRACK_DMA_LOG_UNREAD,
	MIGTRACK_DMA_LOG_IN_USE,
	MIGTRACK_DMA_LOG_FAILED,
};

/**
 * enum migtrack_phase - Where a migration stands, as its controller says. It
 *   moves forward only, phases may be left out; the last three end it.
 * @MIGTRACK_PHASE_NONE: No migration; the session only tracks.
 * @MIGTRACK_PHASE_SETUP: The two sides are being checked and prepared.
 * @MIGTRACK_PHASE_PRECOPY: The guest runs while it is moved.
 * @MIGTRACK_PHASE_SWITCHOVER: The guest is being stopped, or has been; the
 *   rest is moved.
 * @MIGTRACK_PHASE_HANDOVER: All is moved; the destination is told to run the
 *   guest.
 * @MIGTRACK_PHASE_IN_DOUBT: The destination was told, and did not answer. The
 *   guest stays stopped here.
 * @MIGTRACK_PHASE_VERIFY: The guest runs at the destination; both memories are
 *   compared.
 * @MIGTRACK_PHASE_COMPLETED: The guest runs at the destination.
 * @MIGTRACK_PHASE_CANCELLED: Called off; the guest runs on here.
 * @MIGTRACK_PHASE_FAILED: It failed; before the handover, the guest runs on
 *   here.
 */
enum migtrack_phase {
	MIGTRACK_PHASE_NONE,
	MIGTRACK_PHASE_SETUP,
	MIGTRACK_PHASE_PRECOPY,
	MIGTRACK_PHASE_SWITCHOVER,
	MIGTRACK_PHASE_HANDOVER,
	MIGTRACK_PHASE_IN_DOUBT,
	MIGTRACK_PHASE_VERIFY,
	MIGTRACK_PHASE_COMPLETED,
	MIGTRACK_PHASE_CANCELLED,
	MIGTRACK_PHASE_FAILED,
};

/**
 * enum migtrack_bandwidth_source - Where the bandwidth that a controller
 *   decides by comes from.
 * @MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN: Nothing was measured yet.
 * @MIGTRACK_BANDWIDTH_SOURCE_MEASURED: Measured while there was more to send.
 * @MIGTRACK_BANDWIDTH_SOURCE_KEPT: The last iteration gave no sample; the one
 *   before stands.
 * @MIGTRACK_BANDWIDTH_SOURCE_USER: The user gave it.
 */
enum migtrack_bandwidth_source {
	MIGTRACK_BANDWIDTH_SOURCE_UNKNOWN,
	MIGTRACK_BANDWIDTH_SOURCE_MEASURED,
	MIGTRACK_BANDWIDTH_SOURCE_KEPT,
	MIGTRACK_BANDWIDTH_SOURCE_USER,
};

/**
 * enum migtrack_verdict - What a controller decided last.
 * @MIGTRACK_VERDICT_NONE: Nothing yet.
 * @MIGTRACK_VERDICT_MOVE: To go on moving what was found.
 * @MIGTRACK_VERDICT_ITERATE: To ask all sources again.
 * @MIGTRACK_VERDICT_SWITCHOVER: To stop the guest and move the rest.
 * @MIGTRACK_VERDICT_GIVE_UP: To let the guest run on here.
 */
enum migtrack_verdict {
	MIGTRACK_VERDICT_NONE,
	MIGTRACK_VERDICT_MOVE,
	MIGTRACK_VERDICT_ITERATE,
	MIGTRACK_VERDICT_SWITCHOVER,
	MIGTRACK_VERDICT_GIVE_UP,
};

/**
 * enum migtrack_reason - Why a controller decided as it did. From wait-minimum
 *   to no-time, and unknown-size, it does not converge as it is.
 * @MIGTRACK_REASON_NONE: Nothing was said.
 * @MIGTRACK_REASON_MORE_TO_MOVE: What is left does not fit, and can be moved.
 * @MIGTRACK_REASON_TOO_SOON: The last iteration is too young.
 * @MIGTRACK_REASON_ESTIMATE_FITS: It is estimated to fit.
 * @MIGTRACK_REASON_ALL_MOVED: All that can be moved while the guest runs is
 *   moved.
 * @MIGTRACK_REASON_MAX_ITERATION: The iteration has taken long enough.
 * @MIGTRACK_REASON_FITS: What is left fits into the downtime limit.
 * @MIGTRACK_REASON_NOT_READY: It fits, and a source or the destination is not
 *   ready.
 * @MIGTRACK_REASON_TOO_MUCH: What is left does not fit into the downtime
 *   limit.
 * @MIGTRACK_REASON_NO_BANDWIDTH: There is no bandwidth to decide by.
 * @MIGTRACK_REASON_UNKNOWN_SIZE: A source does not say how much it has to
 *   move.
 * @MIGTRACK_REASON_TIMEOUT: The time is over.
 * @MIGTRACK_REASON_REINIT: A device began anew when it was stopped.
 * @MIGTRACK_REASON_PROGRESS: What is left gets less.
 * @MIGTRACK_REASON_WAIT_MINIMUM: It stalls, and less may be left a moment
 *   later.
 * @MIGTRACK_REASON_COOL_DOWN: It stalls, and what was done against it has yet
 *   to show.
 * @MIGTRACK_REASON_STALL: What is left gets no less.
 * @MIGTRACK_REASON_STOP_ONLY: What can be moved only while the guest is
 *   stopped does not fit.
 * @MIGTRACK_REASON_MAX_DOWNTIME: It takes a longer downtime than the
 *   controller may allow.
 * @MIGTRACK_REASON_NO_TIME: It takes longer than the time that is left.
 * @MIGTRACK_REASON_POSTCOPY_OFF: The session is not set up for post-copy.
 * @MIGTRACK_REASON_POSTCOPY_SOURCE: A source can't do post-copy.
 */
enum migtrack_reason {
	MIGTRACK_REASON_NONE,
	MIGTRACK_REASON_MORE_TO_MOVE,
	MIGTRACK_REASON_TOO_SOON,
	MIGTRACK_REASON_ESTIMATE_FITS,
	MIGTRACK_REASON_ALL_MOVED,
	MIGTRACK_REASON_MAX_ITERATION,
	MIGTRACK_REASON_FITS,
	MIGTRACK_REASON_NOT_READY,
	MIGTRACK_REASON_TOO_MUCH,
	MIGTRACK_REASON_NO_BANDWIDTH,
	MIGTRACK_REASON_UNKNOWN_SIZE,
	MIGTRACK_REASON_TIMEOUT,
	MIGTRACK_REASON_REINIT,
	MIGTRACK_REASON_PROGRESS,
	MIGTRACK_REASON_WAIT_MINIMUM,
	MIGTRACK_REASON_COOL_DOWN,
	MIGTRACK_REASON_STALL,
	MIGTRACK_REASON_STOP_ONLY,
	MIGTRACK_REASON_MAX_DOWNTIME,
	MIGTRACK_REASON_NO_TIME,
	MIGTRACK_REASON_POSTCOPY_OFF,
	MIGTRACK_REASON_POSTCOPY_SOURCE,
};

enum {
	MIGTRACK_A_SESSION_ID = 1,
	MIGTRACK_A_SESSION_FD,
	MIGTRACK_A_SESSION_ITERATION,
	MIGTRACK_A_SESSION_PRECOPY,
	MIGTRACK_A_SESSION_POSTCOPY,
	MIGTRACK_A_SESSION_STOPCOPY,
	MIGTRACK_A_SESSION_TOTAL,
	MIGTRACK_A_SESSION_FLAGS,
	MIGTRACK_A_SESSION_SOURCES,
	MIGTRACK_A_SESSION_SYNCS,
	MIGTRACK_A_SESSION_SYNC_KIND,
	MIGTRACK_A_SESSION_SYNC_TIME,
	MIGTRACK_A_SESSION_SYNC_DURATION,
	MIGTRACK_A_SESSION_SYNC_ERROR,
	MIGTRACK_A_SESSION_DIRTY_PAGES,
	MIGTRACK_A_SESSION_DIRTY_RATE,
	MIGTRACK_A_SESSION_MEMORY,
	MIGTRACK_A_SESSION_EVENT_SEQ,
	MIGTRACK_A_SESSION_PHASE,
	MIGTRACK_A_SESSION_DOWNTIME_LIMIT,
	MIGTRACK_A_SESSION_BANDWIDTH,
	MIGTRACK_A_SESSION_BANDWIDTH_SOURCE,
	MIGTRACK_A_SESSION_EXPECTED_DOWNTIME,
	MIGTRACK_A_SESSION_VERDICT,
	MIGTRACK_A_SESSION_REASON,

	__MIGTRACK_A_SESSION_MAX,
	MIGTRACK_A_SESSION_MAX = (__MIGTRACK_A_SESSION_MAX - 1)
};

enum {
	MIGTRACK_A_SOURCE_SESSION_ID = 1,
	MIGTRACK_A_SOURCE_SESSION_FD,
	MIGTRACK_A_SOURCE_ID,
	MIGTRACK_A_SOURCE_TYPE,
	MIGTRACK_A_SOURCE_PID,
	MIGTRACK_A_SOURCE_MEM_FD,
	MIGTRACK_A_SOURCE_OFFSET,
	MIGTRACK_A_SOURCE_LENGTH,
	MIGTRACK_A_SOURCE_MAP_OFFSET,
	MIGTRACK_A_SOURCE_MAP_LENGTH,
	MIGTRACK_A_SOURCE_PAGE_SIZE,
	MIGTRACK_A_SOURCE_PRECOPY,
	MIGTRACK_A_SOURCE_POSTCOPY,
	MIGTRACK_A_SOURCE_STOPCOPY,
	MIGTRACK_A_SOURCE_TOTAL,
	MIGTRACK_A_SOURCE_FLAGS,
	MIGTRACK_A_SOURCE_DIRTY_PAGES,
	MIGTRACK_A_SOURCE_DIRTY_RATE,
	MIGTRACK_A_SOURCE_HELD_PAGES,
	MIGTRACK_A_SOURCE_WHOLE_CHUNKS,
	MIGTRACK_A_SOURCE_PROTECTED_PAGES,
	MIGTRACK_A_SOURCE_PROTECT_CALLS,
	MIGTRACK_A_SOURCE_PROCESSES,
	MIGTRACK_A_SOURCE_MEMORY,
	MIGTRACK_A_SOURCE_EVENT_SEQ,
	MIGTRACK_A_SOURCE_MAX_AGE,
	MIGTRACK_A_SOURCE_TIME,
	MIGTRACK_A_SOURCE_CLAMPS,
	MIGTRACK_A_SOURCE_DEVICE_FD,
	MIGTRACK_A_SOURCE_DATA_FD,
	MIGTRACK_A_SOURCE_NAME,
	MIGTRACK_A_SOURCE_DEVICE_STATE,
	MIGTRACK_A_SOURCE_DEVICE_FEATURES,
	MIGTRACK_A_SOURCE_PRECOPY_INITIAL,
	MIGTRACK_A_SOURCE_PRECOPY_DIRTY,
	MIGTRACK_A_SOURCE_STOPCOPY_SIZE,
	MIGTRACK_A_SOURCE_ERROR,
	MIGTRACK_A_SOURCE_DMA_MAP,
	MIGTRACK_A_SOURCE_DMA_LOG,
	MIGTRACK_A_SOURCE_DMA_LOG_ERROR,
	MIGTRACK_A_SOURCE_DMA_UNTRACKED,

	__MIGTRACK_A_SOURCE_MAX,
	MIGTRACK_A_SOURCE_MAX = (__MIGTRACK_A_SOURCE_MAX - 1)
};

enum {
	MIGTRACK_A_DMA_RANGE_IOVA = 1,
	MIGTRACK_A_DMA_RANGE_LENGTH,
	MIGTRACK_A_DMA_RANGE_SOURCE_ID,
	MIGTRACK_A_DMA_RANGE_OFFSET,

	__MIGTRACK_A_DMA_RANGE_MAX,
	MIGTRACK_A_DMA_RANGE_MAX = (__MIGTRACK_A_DMA_RANGE_MAX - 1)
};

enum {
	MIGTRACK_CMD_SESSION_NEW = 1,
	MIGTRACK_CMD_SESSION_DEL,
	MIGTRACK_CMD_SESSION_GET,
	MIGTRACK_CMD_SESSION_NEW_NTF,
	MIGTRACK_CMD_SESSION_ITERATION_NTF,
	MIGTRACK_CMD_SESSION_DEL_NTF,
	MIGTRACK_CMD_SOURCE_ADD,
	MIGTRACK_CMD_SOURCE_DEL,
	MIGTRACK_CMD_SOURCE_GET,
	MIGTRACK_CMD_SOURCE_CHANGE_NTF,
	MIGTRACK_CMD_SYNC,
	MIGTRACK_CMD_SESSION_SET,
	MIGTRACK_CMD_SESSION_CHANGE_NTF,
	MIGTRACK_CMD_SOURCE_REPORT,
	MIGTRACK_CMD_SOURCE_SET,
	MIGTRACK_CMD_DMA_LOG_START,
	MIGTRACK_CMD_DMA_LOG_STOP,

	__MIGTRACK_CMD_MAX,
	MIGTRACK_CMD_MAX = (__MIGTRACK_CMD_MAX - 1)
};

#define MIGTRACK_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_MIGTRACK_H */
