// SPDX-License-Identifier: GPL-2.0-only
/*
 * A notifier in the address space of who writes 1 to "watch": where it is told that
 * an invalidation begins, it sleeps for "ms" milliseconds. Notifiers that came later
 * have been told by then, and nothing has been taken away yet. Only the thread "tid"
 * sleeps; "inside" counts how often. 0 in "watch" ends it. Who writes 1 to "lock" has
 * its mmap_lock taken, for as long, from outside of any notifier.
 */

#include <linux/delay.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

static unsigned int ms = 100;
module_param(ms, uint, 0600);
MODULE_PARM_DESC(ms, "how long to sleep, in milliseconds");

static int tid;
module_param(tid, int, 0600);
MODULE_PARM_DESC(tid, "the thread that sleeps, 0 for none");

static unsigned int inside;
module_param(inside, uint, 0400);
MODULE_PARM_DESC(inside, "how often it has begun to");

static DEFINE_MUTEX(sleeper_lock);
/* Under sleeper_lock: NULL, or where sleeper_notifier is; by mm_count. */
static struct mm_struct *sleeper_mm;

static int sleeper_range_start(struct mmu_notifier *mn,
			       const struct mmu_notifier_range *range)
{
	if (!mmu_notifier_range_blockable(range) || current->pid != READ_ONCE(tid))
		return 0;
	WRITE_ONCE(inside, inside + 1);
	msleep(READ_ONCE(ms));
	return 0;
}

static const struct mmu_notifier_ops sleeper_ops = {
	.invalidate_range_start	= sleeper_range_start,
};

static struct mmu_notifier sleeper_notifier = {
	.ops = &sleeper_ops,
};

static void sleeper_end(void)
{
	if (!sleeper_mm)
		return;
	mmu_notifier_unregister(&sleeper_notifier, sleeper_mm);
	mmdrop(sleeper_mm);
	sleeper_mm = NULL;
}

static int sleeper_watch(const char *value, const struct kernel_param *kp)
{
	bool on;
	int err;

	err = kstrtobool(value, &on);
	if (err)
		return err;

	mutex_lock(&sleeper_lock);
	sleeper_end();
	if (on)
		err = mmu_notifier_register(&sleeper_notifier, current->mm);
	if (on && !err) {
		sleeper_mm = current->mm;
		mmgrab(sleeper_mm);
	}
	mutex_unlock(&sleeper_lock);
	return err;
}

static const struct kernel_param_ops sleeper_watch_param = {
	.set = sleeper_watch,
};

module_param_cb(watch, &sleeper_watch_param, NULL, 0200);
MODULE_PARM_DESC(watch, "1: watch the memory of who writes this, 0: end it");

/* The mm, until the work has ended. */
static struct mm_struct *sleeper_locked;

static void sleeper_lock_work(struct work_struct *work)
{
	struct mm_struct *mm = sleeper_locked;

	mmap_write_lock(mm);
	WRITE_ONCE(inside, inside + 1);
	msleep(READ_ONCE(ms));
	mmap_write_unlock(mm);
	sleeper_locked = NULL;
	mmput(mm);
}

static DECLARE_WORK(sleeper_work, sleeper_lock_work);

static int sleeper_take(const char *value, const struct kernel_param *kp)
{
	flush_work(&sleeper_work);
	mmget(current->mm);
	sleeper_locked = current->mm;
	queue_work(system_unbound_wq, &sleeper_work);
	return 0;
}

static const struct kernel_param_ops sleeper_take_param = {
	.set = sleeper_take,
};

module_param_cb(lock, &sleeper_take_param, NULL, 0200);
MODULE_PARM_DESC(lock, "1: take the mmap_lock of who writes this, and sleep");

static int __init sleeper_init(void)
{
	return 0;
}
module_init(sleeper_init);

static void __exit sleeper_exit(void)
{
	flush_work(&sleeper_work);
	sleeper_end();
}
module_exit(sleeper_exit);

MODULE_DESCRIPTION("Sleeps in a notifier, for tests");
MODULE_LICENSE("GPL");
