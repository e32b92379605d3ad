// SPDX-License-Identifier: GPL-2.0-only
/*
 * A generic netlink family without commands. To come and to go it takes the locks
 * that all families share, and so waits for each command that is under way.
 */

#include <linux/module.h>
#include <net/genetlink.h>

static struct genl_family family = {
	.name		= "migtrack_test",
	.version	= 1,
	.module		= THIS_MODULE,
};

static int __init family_init(void)
{
	return genl_register_family(&family);
}
module_init(family_init);

static void __exit family_exit(void)
{
	genl_unregister_family(&family);
}
module_exit(family_exit);

MODULE_DESCRIPTION("A generic netlink family that comes and goes");
MODULE_LICENSE("GPL");
