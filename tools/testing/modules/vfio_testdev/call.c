// SPDX-License-Identifier: GPL-2.0-only
/* What each call of a VMM goes through first: it may be slow, it may fail. */

#include <linux/jiffies.h>
#include <linux/ktime.h>

#include "testdev.h"

/* Who sleeps in a call looks again how long it is to take. */
void testdev_wake(struct testdev *dev)
{
	spin_lock(&dev->knobs.lock);
	dev->knobs.generation++;
	spin_unlock(&dev->knobs.lock);
	wake_up_all(&dev->delays);
}

/*
 * Without a lock, so that only this call is slow. A signal ends it. Never shorter than it was
 * asked for, as jiffies alone can be: they are behind where a tick came late.
 */
static int testdev_delay(struct testdev *dev, enum testdev_call call)
{
	struct testdev_knobs *knobs = &dev->knobs;
	ktime_t start = ktime_get();
	unsigned int generation;
	s64 left;
	long ret;

	for (;;) {
		spin_lock(&knobs->lock);
		left = knobs->call[call].delay_ms * NSEC_PER_MSEC;
		generation = knobs->generation;
		spin_unlock(&knobs->lock);

		left -= ktime_to_ns(ktime_sub(ktime_get(), start));
		if (READ_ONCE(dev->gone) || left <= 0)
			return 0;
		ret = wait_event_interruptible_timeout(dev->delays, READ_ONCE(dev->gone) ||
						       READ_ONCE(knobs->generation) != generation,
						       nsecs_to_jiffies(left) + 1);
		if (ret < 0)
			return -EINTR;
	}
}

int testdev_call(struct testdev *dev, enum testdev_call call)
{
	struct testdev_call_knob *knob = &dev->knobs.call[call];
	unsigned int errno;
	int ret;

	spin_lock(&dev->knobs.lock);
	knob->count++;
	spin_unlock(&dev->knobs.lock);

	ret = testdev_delay(dev, call);
	if (ret)
		return ret;

	spin_lock(&dev->knobs.lock);
	errno = knob->errno;
	if (errno && knob->times && !--knob->times)
		knob->errno = 0;
	spin_unlock(&dev->knobs.lock);
	return -(int)errno;
}
