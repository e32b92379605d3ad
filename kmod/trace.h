/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM migtrack

#if !defined(_MIGTRACK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MIGTRACK_TRACE_H

#include <linux/bitmap.h>
#include <linux/netlink.h>
#include <linux/tracepoint.h>

#include "session.h"
#include "source.h"
#include "tracker.h"

#ifndef _MIGTRACK_TRACE_KINDS
#define _MIGTRACK_TRACE_KINDS
#define migtrack_show_kind(kind)					\
	__print_symbolic(kind,						\
			 { MIGTRACK_SYNC_KIND_SETUP, "setup" },		\
			 { MIGTRACK_SYNC_KIND_ITERATION, "iteration" },	\
			 { MIGTRACK_SYNC_KIND_HELPER, "helper" },	\
			 { MIGTRACK_SYNC_KIND_FINAL, "final" })
#endif

DECLARE_EVENT_CLASS(migtrack_session,
	TP_PROTO(const struct migtrack_session *session),
	TP_ARGS(session),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, kind)
	),
	TP_fast_assign(
		__entry->id = session->id;
		__entry->kind = session->sync_kind;
	),
	TP_printk("session=%llu kind=%s", __entry->id,
		  migtrack_show_kind(__entry->kind))
);

DEFINE_EVENT(migtrack_session, migtrack_session_del,
	TP_PROTO(const struct migtrack_session *session),
	TP_ARGS(session)
);

DEFINE_EVENT(migtrack_session, migtrack_sync_start,
	TP_PROTO(const struct migtrack_session *session),
	TP_ARGS(session)
);

TRACE_EVENT(migtrack_session_new,
	TP_PROTO(const struct migtrack_session *session),
	TP_ARGS(session),
	TP_STRUCT__entry(
		__field(u64, id)
	),
	TP_fast_assign(
		__entry->id = session->id;
	),
	TP_printk("session=%llu", __entry->id)
);

TRACE_EVENT(migtrack_sync_end,
	TP_PROTO(const struct migtrack_session *session,
		 const struct migtrack_snapshot *snap),
	TP_ARGS(session, snap),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, iteration)
		__field(u64, duration)
		__field(u32, kind)
		__field(u32, error)
		__field(u32, sources)
	),
	TP_fast_assign(
		__entry->id = session->id;
		__entry->iteration = snap->iteration;
		__entry->duration = snap->duration;
		__entry->kind = snap->kind;
		__entry->error = snap->error;
		__entry->sources = snap->nsources;
	),
	TP_printk("session=%llu kind=%s iteration=%llu sources=%u ns=%llu error=%u",
		  __entry->id, migtrack_show_kind(__entry->kind),
		  __entry->iteration, __entry->sources, __entry->duration,
		  __entry->error)
);

TRACE_EVENT(migtrack_source_add,
	TP_PROTO(const struct migtrack_session *session,
		 const struct migtrack_source *source),
	TP_ARGS(session, source),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, id)
		__field(u32, type)
		__field(u64, offset)
		__field(u64, length)
	),
	TP_fast_assign(
		__entry->session = session->id;
		__entry->id = source->id;
		__entry->type = source->type;
		__entry->offset = source->offset;
		__entry->length = source->length;
	),
	TP_printk("session=%llu source=%u type=%u offset=%llu length=%llu",
		  __entry->session, __entry->id, __entry->type,
		  __entry->offset, __entry->length)
);

DECLARE_EVENT_CLASS(migtrack_source,
	TP_PROTO(const struct migtrack_source *source),
	TP_ARGS(source),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, id)
	),
	TP_fast_assign(
		__entry->session = source->session->id;
		__entry->id = source->id;
	),
	TP_printk("session=%llu source=%u", __entry->session, __entry->id)
);

DEFINE_EVENT(migtrack_source, migtrack_source_gone,
	TP_PROTO(const struct migtrack_source *source),
	TP_ARGS(source)
);

/* The end of each migtrack_source_add. */
DEFINE_EVENT(migtrack_source, migtrack_source_free,
	TP_PROTO(const struct migtrack_source *source),
	TP_ARGS(source)
);

TRACE_EVENT(migtrack_source_report,
	TP_PROTO(const struct migtrack_source *source,
		 const struct migtrack_source_stats *stats),
	TP_ARGS(source, stats),
	TP_STRUCT__entry(
		__field(u64, session)
		__field(u32, id)
		__field(u32, flags)
		__field(u64, precopy)
		__field(u64, postcopy)
		__field(u64, stopcopy)
	),
	TP_fast_assign(
		__entry->session = source->session->id;
		__entry->id = source->id;
		__entry->flags = stats->flags;
		__entry->precopy = stats->bytes.precopy;
		__entry->postcopy = stats->bytes.postcopy;
		__entry->stopcopy = stats->bytes.stopcopy;
	),
	TP_printk("session=%llu source=%u precopy=%llu postcopy=%llu stopcopy=%llu flags=0x%x",
		  __entry->session, __entry->id, __entry->precopy,
		  __entry->postcopy, __entry->stopcopy, __entry->flags)
);

DECLARE_EVENT_CLASS(migtrack_tracker,
	TP_PROTO(const struct migtrack_tracker *tracker),
	TP_ARGS(tracker),
	TP_STRUCT__entry(
		__field(const void *, tracker)
		__field(u64, pages)
	),
	TP_fast_assign(
		__entry->tracker = tracker;
		__entry->pages = tracker->npages;
	),
	TP_printk("tracker=%p pages=%llu", __entry->tracker, __entry->pages)
);

DEFINE_EVENT(migtrack_tracker, migtrack_tracker_new,
	TP_PROTO(const struct migtrack_tracker *tracker),
	TP_ARGS(tracker)
);

DEFINE_EVENT(migtrack_tracker, migtrack_tracker_free,
	TP_PROTO(const struct migtrack_tracker *tracker),
	TP_ARGS(tracker)
);

TRACE_EVENT(migtrack_mm_adopt,
	TP_PROTO(const struct migtrack_tracker *tracker, const struct mm_struct *mm,
		 int error),
	TP_ARGS(tracker, mm, error),
	TP_STRUCT__entry(
		__field(const void *, tracker)
		__field(const void *, mm)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->tracker = tracker;
		__entry->mm = mm;
		__entry->error = error;
	),
	TP_printk("tracker=%p mm=%p error=%d", __entry->tracker, __entry->mm,
		  __entry->error)
);

DECLARE_EVENT_CLASS(migtrack_mm,
	TP_PROTO(const struct migtrack_tracker *tracker, const struct mm_struct *mm),
	TP_ARGS(tracker, mm),
	TP_STRUCT__entry(
		__field(const void *, tracker)
		__field(const void *, mm)
	),
	TP_fast_assign(
		__entry->tracker = tracker;
		__entry->mm = mm;
	),
	TP_printk("tracker=%p mm=%p", __entry->tracker, __entry->mm)
);

DEFINE_EVENT(migtrack_mm, migtrack_mm_watch,
	TP_PROTO(const struct migtrack_tracker *tracker, const struct mm_struct *mm),
	TP_ARGS(tracker, mm)
);

DEFINE_EVENT(migtrack_mm, migtrack_mm_release,
	TP_PROTO(const struct migtrack_tracker *tracker, const struct mm_struct *mm),
	TP_ARGS(tracker, mm)
);

/* The end of each migtrack_mm_watch. */
DEFINE_EVENT(migtrack_mm, migtrack_mm_free,
	TP_PROTO(const struct migtrack_tracker *tracker, const struct mm_struct *mm),
	TP_ARGS(tracker, mm)
);

TRACE_EVENT(migtrack_chunk,
	TP_PROTO(const struct migtrack_tracker *tracker, pgoff_t first,
		 const unsigned long *found, unsigned long writable,
		 unsigned long protected, bool whole),
	TP_ARGS(tracker, first, found, writable, protected, whole),
	TP_STRUCT__entry(
		__field(const void *, tracker)
		__field(unsigned long, first)
		__field(unsigned int, found)
		__field(unsigned int, writable)
		__field(unsigned int, protected)
		__field(bool, whole)
	),
	TP_fast_assign(
		__entry->tracker = tracker;
		__entry->first = first;
		__entry->found = bitmap_weight(found, MIGTRACK_CHUNK_PAGES);
		__entry->writable = writable;
		__entry->protected = protected;
		__entry->whole = whole;
	),
	TP_printk("tracker=%p page=%lu found=%u writable=%u protected=%u whole=%d",
		  __entry->tracker, __entry->first, __entry->found,
		  __entry->writable, __entry->protected, __entry->whole)
);

/* A request that came past the policies: how it ended, and why it was refused. */
DECLARE_EVENT_CLASS(migtrack_nl,
	TP_PROTO(u8 cmd, int error, const struct netlink_ext_ack *extack),
	TP_ARGS(cmd, error, extack),
	TP_STRUCT__entry(
		__field(u32, cmd)
		__field(int, error)
		__field(u32, missing)
		__string(text, extack && extack->_msg ? extack->_msg : "")
	),
	TP_fast_assign(
		__entry->cmd = cmd;
		__entry->error = error;
		__entry->missing = extack ? extack->miss_type : 0;
		__assign_str(text);
	),
	TP_printk("cmd=%u error=%d missing=%u text=\"%s\"", __entry->cmd,
		  __entry->error, __entry->missing, __get_str(text))
);

/* Only if the descriptor is refused. */
DEFINE_EVENT(migtrack_nl, migtrack_nl_pre_doit,
	TP_PROTO(u8 cmd, int error, const struct netlink_ext_ack *extack),
	TP_ARGS(cmd, error, extack)
);

DEFINE_EVENT(migtrack_nl, migtrack_nl_doit,
	TP_PROTO(u8 cmd, int error, const struct netlink_ext_ack *extack),
	TP_ARGS(cmd, error, extack)
);

DEFINE_EVENT(migtrack_nl, migtrack_nl_dumpit,
	TP_PROTO(u8 cmd, int error, const struct netlink_ext_ack *extack),
	TP_ARGS(cmd, error, extack)
);

#endif /* _MIGTRACK_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
