// SPDX-License-Identifier: GPL-2.0-only
/* migtrack: what is still to be moved of a virtual machine. */

#include <linux/module.h>
#include <net/genetlink.h>

#include <linux/migtrack.h>

#include "main.h"
#include "netlink-gen.h"
#include "netns.h"

unsigned int migtrack_max_sessions = 64;
module_param_named(max_sessions, migtrack_max_sessions, uint, 0644);
MODULE_PARM_DESC(max_sessions, "Sessions that a network namespace may have (default 64)");

unsigned int migtrack_max_sources = 32;
module_param_named(max_sources, migtrack_max_sources, uint, 0644);
MODULE_PARM_DESC(max_sources, "Sources that a session may have (default 32, at most 64)");

struct workqueue_struct *migtrack_wq;
/* Of its own: an adoption waits for as long as its process likes, others must not. */
struct workqueue_struct *migtrack_adopt_wq;

static int __init migtrack_init(void)
{
	int err;

	migtrack_wq = alloc_workqueue("migtrack", WQ_UNBOUND, 0);
	if (!migtrack_wq)
		return -ENOMEM;
	migtrack_adopt_wq = alloc_workqueue("migtrack_adopt", WQ_UNBOUND, 0);
	if (!migtrack_adopt_wq) {
		err = -ENOMEM;
		goto err_destroy_wq;
	}

	err = migtrack_netns_init();
	if (err)
		goto err_destroy_adopt_wq;

	err = genl_register_family(&migtrack_nl_family);
	if (err)
		goto err_netns_exit;

	return 0;

err_netns_exit:
	migtrack_netns_exit();
err_destroy_adopt_wq:
	destroy_workqueue(migtrack_adopt_wq);
err_destroy_wq:
	destroy_workqueue(migtrack_wq);
	return err;
}

/*
 * Each session's descriptor holds the module, so that none is left here; what
 * may be left is their end, in work items and RCU callbacks.
 */
static void __exit migtrack_exit(void)
{
	genl_unregister_family(&migtrack_nl_family);
	migtrack_netns_exit();
	/*
	 * What runs may queue once more: a watch that dies retires its source.
	 * After that, all that frees by RCU has been handed over to it. Trackers that
	 * end are waited for with the queue.
	 */
	flush_workqueue(migtrack_wq);
	flush_workqueue(migtrack_wq);
	rcu_barrier();
	destroy_workqueue(migtrack_wq);
	/* Each adoption was waited for by the end of its watch. */
	destroy_workqueue(migtrack_adopt_wq);
}

module_init(migtrack_init);
module_exit(migtrack_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Live-migration tracker: dirty guest memory and what is left to move");
MODULE_ALIAS_GENL_FAMILY(MIGTRACK_FAMILY_NAME);
