// SPDX-License-Identifier: GPL-2.0-only
/* migtrack_vfio: VFIO devices as sources of migtrack's counters. */

#include <linux/module.h>

#include "main.h"
#include "vfio_source.h"

unsigned int migtrack_vfio_answer_ms = 500;
module_param_named(answer_ms, migtrack_vfio_answer_ms, uint, 0644);
MODULE_PARM_DESC(answer_ms, "Milliseconds that a sync waits for a device (default 500)");

struct workqueue_struct *migtrack_vfio_wq;

static int __init migtrack_vfio_init(void)
{
	int err;

	/* A device that hangs keeps one worker, and no other device waits for it. */
	migtrack_vfio_wq = alloc_workqueue("migtrack_vfio", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!migtrack_vfio_wq)
		return -ENOMEM;

	err = migtrack_source_type_register(&migtrack_vfio_provider);
	if (err)
		destroy_workqueue(migtrack_vfio_wq);
	return err;
}

/*
 * Each source and each device that is held hold the module, so that none is left
 * here; what may be left are the ends of the work items that let go of them.
 */
static void __exit migtrack_vfio_exit(void)
{
	migtrack_source_type_unregister(&migtrack_vfio_provider);
	destroy_workqueue(migtrack_vfio_wq);
}

module_init(migtrack_vfio_init);
module_exit(migtrack_vfio_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO devices as sources of migtrack: what is left to move of their state");
MODULE_ALIAS("migtrack-source-vfio");
