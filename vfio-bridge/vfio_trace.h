/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM migtrack_vfio

#if !defined(_MIGTRACK_VFIO_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MIGTRACK_VFIO_TRACE_H

#include <linux/tracepoint.h>

#include "query.h"

#ifndef _MIGTRACK_VFIO_TRACE_ASKED
#define _MIGTRACK_VFIO_TRACE_ASKED
#define MIGTRACK_VFIO_ASKED_PROBE	BIT(0)
#define MIGTRACK_VFIO_ASKED_SIZES	BIT(1)
#define MIGTRACK_VFIO_ASKED_LOG_STOP	BIT(2)
#define MIGTRACK_VFIO_ASKED_LOG_START	BIT(3)
#define MIGTRACK_VFIO_ASKED_LOG_REPORT	BIT(4)

#define migtrack_vfio_asked(query)						\
	(((query)->probe ? MIGTRACK_VFIO_ASKED_PROBE : 0) |			\
	 ((query)->sizes ? MIGTRACK_VFIO_ASKED_SIZES : 0) |			\
	 ((query)->log.stop ? MIGTRACK_VFIO_ASKED_LOG_STOP : 0) |		\
	 ((query)->log.start ? MIGTRACK_VFIO_ASKED_LOG_START : 0) |		\
	 ((query)->log.report ? MIGTRACK_VFIO_ASKED_LOG_REPORT : 0))

#define migtrack_vfio_show_asked(asked)						\
	__print_flags(asked, "|",						\
		      { MIGTRACK_VFIO_ASKED_PROBE, "probe" },			\
		      { MIGTRACK_VFIO_ASKED_SIZES, "sizes" },			\
		      { MIGTRACK_VFIO_ASKED_LOG_STOP, "log-stop" },		\
		      { MIGTRACK_VFIO_ASKED_LOG_START, "log-start" },		\
		      { MIGTRACK_VFIO_ASKED_LOG_REPORT, "log-report" })
#endif

TRACE_EVENT(migtrack_vfio_ask,
	TP_PROTO(const struct migtrack_vfio_query *query),
	TP_ARGS(query),
	TP_STRUCT__entry(
		__field(const void *, device)
		__field(u32, asked)
	),
	TP_fast_assign(
		__entry->device = query->device;
		__entry->asked = migtrack_vfio_asked(query);
	),
	TP_printk("device=%p asked=%s", __entry->device,
		  migtrack_vfio_show_asked(__entry->asked))
);

/* Errors are negative, and 0 of what was not asked. */
TRACE_EVENT(migtrack_vfio_answer,
	TP_PROTO(const struct migtrack_vfio_query *query),
	TP_ARGS(query),
	TP_STRUCT__entry(
		__field(const void *, device)
		__field(u32, asked)
		__field(u64, duration)
		__field(int, error)
		__field(int, probe_error)
		__field(int, state_error)
		__field(int, size_error)
		__field(int, precopy_error)
		__field(int, log_error)
		__field(u32, state)
		__field(u64, size)
		__field(u64, initial)
		__field(u64, dirty)
		__field(u64, pages)
		__field(u64, untracked)
	),
	TP_fast_assign(
		__entry->device = query->device;
		__entry->asked = migtrack_vfio_asked(query);
		__entry->duration = query->duration;
		__entry->error = query->reply.err;
		__entry->probe_error = query->probe_err;
		__entry->state_error = query->reply.state_err;
		__entry->size_error = query->reply.size_err;
		__entry->precopy_error = query->reply.precopy_err;
		__entry->log_error = query->log.start_err ?: query->log.report_err;
		__entry->state = query->reply.state;
		__entry->size = query->reply.size;
		__entry->initial = query->reply.initial;
		__entry->dirty = query->reply.dirty;
		__entry->pages = query->log.pages;
		__entry->untracked = query->log.untracked;
	),
	TP_printk("device=%p asked=%s ns=%llu error=%d probe-error=%d state-error=%d size-error=%d precopy-error=%d log-error=%d state=%u size=%llu initial=%llu dirty=%llu pages=%llu untracked=%llu",
		  __entry->device, migtrack_vfio_show_asked(__entry->asked),
		  __entry->duration, __entry->error, __entry->probe_error,
		  __entry->state_error, __entry->size_error, __entry->precopy_error,
		  __entry->log_error, __entry->state, __entry->size, __entry->initial,
		  __entry->dirty, __entry->pages, __entry->untracked)
);

#endif /* _MIGTRACK_VFIO_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE vfio_trace
#include <trace/define_trace.h>
