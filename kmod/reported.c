// SPDX-License-Identifier: GPL-2.0-only
/* Source type reported: the session's owner publishes the numbers. */

#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>
#include <net/netlink.h>

#include "main.h"
#include "reported.h"
#include "session.h"
#include "trace.h"

static struct migtrack_reported *to_reported(struct migtrack_source *source)
{
	return container_of(source, struct migtrack_reported, source);
}

/* ---- the source's ops ---- */

/* There is nobody to ask: migtrack_reported_latest() says all there is. */
static int migtrack_reported_sync(struct migtrack_source *source,
				  enum migtrack_sync_kind kind, const bool *cancel)
{
	return 0;
}

static void migtrack_reported_latest(struct migtrack_source *source,
				     struct migtrack_source_stats *stats)
{
	*stats = to_reported(source)->now;
}

/* No report comes any more that could queue it again. */
static void migtrack_reported_stop(struct migtrack_source *source)
{
	cancel_delayed_work_sync(&to_reported(source)->age_work);
}

static void migtrack_reported_free(struct migtrack_source *source)
{
	kfree(to_reported(source));
}

static const struct migtrack_source_ops migtrack_reported_ops = {
	.sync	= migtrack_reported_sync,
	.latest	= migtrack_reported_latest,
	.stop	= migtrack_reported_stop,
	.free	= migtrack_reported_free,
};

/* ---- age ---- */

static void migtrack_reported_queue(struct migtrack_reported *reported, u64 ns)
{
	unsigned long delay = min_t(u64, nsecs_to_jiffies64(ns) + 1, MAX_JIFFY_OFFSET);

	mod_delayed_work(migtrack_wq, &reported->age_work, delay);
}

static void migtrack_reported_age(struct migtrack_reported *reported)
{
	u64 age = ktime_get_ns() - reported->now.time;

	if (reported->now.flags & MIGTRACK_COUNTER_FLAGS_STALE)
		return;
	/* A report came meanwhile, or the jiffies were behind when it was queued. */
	if (age < reported->source.max_age) {
		migtrack_reported_queue(reported, reported->source.max_age - age);
		return;
	}
	reported->now.flags &= ~MIGTRACK_COUNTER_FLAGS_EXACT;
	reported->now.flags |= MIGTRACK_COUNTER_FLAGS_STALE;
	/* Without memory the next sync or report publishes it. */
	migtrack_session_changed(reported->source.session, &reported->source);
}

static void migtrack_reported_age_work(struct work_struct *work)
{
	struct migtrack_reported *reported =
		container_of(to_delayed_work(work), struct migtrack_reported, age_work);
	struct migtrack_session *session = reported->source.session;

	mutex_lock(&session->lock);
	if (session->net && session->sources[reported->source.id] == &reported->source)
		migtrack_reported_age(reported);
	mutex_unlock(&session->lock);
}

/* ---- reports ---- */

static void migtrack_reported_take_bytes(struct migtrack_reported *reported,
					 const struct migtrack_counters *bytes)
{
	struct migtrack_source_stats *now = &reported->now;
	const struct migtrack_source *source = &reported->source;
	struct migtrack_counters good = now->bytes;
	unsigned int bad;

	bad = !migtrack_size_take(&good.precopy, bytes->precopy) +
	      !migtrack_size_take(&good.postcopy, bytes->postcopy) +
	      !migtrack_size_take(&good.stopcopy, bytes->stopcopy);
	if (bad) {
		now->clamps += bad;
		now->flags |= MIGTRACK_COUNTER_FLAGS_CLAMPED;
		pr_warn_ratelimited("migtrack: session %llu source %u: impossible size reported (precopy %llu postcopy %llu stopcopy %llu)\n",
				    source->session->id, source->id, bytes->precopy,
				    bytes->postcopy, bytes->stopcopy);
	}
	if (bad && !reported->known) {
		now->flags |= MIGTRACK_COUNTER_FLAGS_UNKNOWN | MIGTRACK_COUNTER_FLAGS_STALE;
		return;
	}
	reported->known = true;
	now->bytes = good;
}

static void migtrack_reported_set(struct migtrack_reported *reported,
				  const struct migtrack_report *report)
{
	struct migtrack_source_stats *now = &reported->now;
	u32 kept = MIGTRACK_COUNTER_FLAGS_CLAMPED | MIGTRACK_COUNTER_FLAGS_UNKNOWN;

	if (report->sized) {
		now->flags = report->flags;
		migtrack_reported_take_bytes(reported, &report->bytes);
		now->dirty_rate = report->dirty_rate;
		now->time = ktime_get_ns();
	} else {
		now->flags = report->flags | (now->flags & kept);
	}
	/* An old size that stands for a bad one is nothing to decide by. */
	if (now->flags & (MIGTRACK_COUNTER_FLAGS_STALE | MIGTRACK_COUNTER_FLAGS_GONE |
			  MIGTRACK_COUNTER_FLAGS_CLAMPED))
		now->flags &= ~MIGTRACK_COUNTER_FLAGS_EXACT;
}

static int migtrack_reported_check(const struct migtrack_report *report,
				   struct netlink_ext_ack *extack)
{
	u32 absent = MIGTRACK_COUNTER_FLAGS_STALE | MIGTRACK_COUNTER_FLAGS_GONE;

	if (report->flags & ~(absent | MIGTRACK_COUNTER_FLAGS_EXACT)) {
		NL_SET_ERR_MSG(extack, "only the flags exact, stale and gone can be reported");
		return -EINVAL;
	}
	if (!report->sized && !(report->flags & absent)) {
		NL_SET_ERR_MSG(extack,
			       "a report needs precopy, postcopy or stopcopy, or the flag stale or gone");
		return -EINVAL;
	}
	return 0;
}

/**
 * migtrack_reported_report - publish what an owner says about a source
 * @session: the session
 * @id: of the source
 * @report: what it says
 * @extack: says why not
 *
 * Goes on while a sync runs, which publishes the latest report when it ends.
 *
 * Return: 0; -EINVAL, -ENOENT, -ENODEV or -ENOMEM.
 */
int migtrack_reported_report(struct migtrack_session *session, u32 id,
			     const struct migtrack_report *report,
			     struct netlink_ext_ack *extack)
{
	struct migtrack_reported *reported;
	struct migtrack_source *source;
	struct migtrack_source_stats old;
	bool known;
	int err;

	err = migtrack_reported_check(report, extack);
	if (err)
		return err;

	mutex_lock(&session->lock);
	source = migtrack_session_source(session, id, extack);
	if (IS_ERR(source)) {
		err = PTR_ERR(source);
		goto out;
	}
	if (source->type != MIGTRACK_SOURCE_TYPE_REPORTED) {
		NL_SET_ERR_MSG(extack, "the kernel itself asks that source");
		err = -EINVAL;
		goto out;
	}

	reported = to_reported(source);
	old = reported->now;
	known = reported->known;
	migtrack_reported_set(reported, report);
	err = migtrack_session_changed(session, source);
	if (err) {
		reported->now = old;
		reported->known = known;
		goto out;
	}
	trace_migtrack_source_report(source, &reported->now);
	if (report->sized)
		migtrack_reported_queue(reported, reported->source.max_age);
out:
	mutex_unlock(&session->lock);
	return err;
}

/**
 * migtrack_reported_new - make a source whose owner publishes its numbers
 * @max_age: ns without a report after which it is stale
 *
 * Its size is unknown before the first report.
 *
 * Return: the source, or an ERR_PTR.
 */
struct migtrack_source *migtrack_reported_new(u64 max_age)
{
	struct migtrack_reported *reported;

	reported = kzalloc(sizeof(*reported), GFP_KERNEL_ACCOUNT);
	if (!reported)
		return ERR_PTR(-ENOMEM);
	migtrack_source_init(&reported->source, &migtrack_reported_ops,
			     MIGTRACK_SOURCE_TYPE_REPORTED);
	reported->source.max_age = max_age;
	reported->now.bytes.stopcopy = MIGTRACK_UNKNOWN_BYTES;
	reported->now.flags = MIGTRACK_COUNTER_FLAGS_UNKNOWN | MIGTRACK_COUNTER_FLAGS_STALE;
	INIT_DELAYED_WORK(&reported->age_work, migtrack_reported_age_work);
	return &reported->source;
}
