// SPDX-License-Identifier: GPL-2.0-only
/*
 * Holds a page of whoever writes its address to "address", by a plain reference and
 * not by a pin, as NFS or vhost-scsi do; 0 lets go of it. A number that is written to
 * "write" is then written to the page, which no page table tells of.
 */

#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>

static DEFINE_MUTEX(hold_lock);
/* Under hold_lock. */
static struct page *hold_page;

static void hold_drop(void)
{
	if (hold_page)
		put_page(hold_page);
	hold_page = NULL;
}

static int hold_set_address(const char *value, const struct kernel_param *kp)
{
	unsigned long address;
	int err;

	err = kstrtoul(value, 0, &address);
	if (err)
		return err;

	mutex_lock(&hold_lock);
	hold_drop();
	if (address && get_user_pages_fast(address, 1, FOLL_WRITE, &hold_page) != 1) {
		hold_page = NULL;
		err = -EFAULT;
	}
	mutex_unlock(&hold_lock);
	return err;
}

static int hold_set_write(const char *value, const struct kernel_param *kp)
{
	u64 number, *to;
	int err;

	err = kstrtou64(value, 0, &number);
	if (err)
		return err;

	mutex_lock(&hold_lock);
	if (hold_page) {
		to = kmap_local_page(hold_page);
		WRITE_ONCE(*to, number);
		kunmap_local(to);
		set_page_dirty_lock(hold_page);
	} else {
		err = -ENOENT;
	}
	mutex_unlock(&hold_lock);
	return err;
}

static const struct kernel_param_ops hold_address_ops = {
	.set = hold_set_address,
};

static const struct kernel_param_ops hold_write_ops = {
	.set = hold_set_write,
};

module_param_cb(address, &hold_address_ops, NULL, 0200);
MODULE_PARM_DESC(address, "the page that is held, in the writer's memory; 0: none");
module_param_cb(write, &hold_write_ops, NULL, 0200);
MODULE_PARM_DESC(write, "the number that is written to its start");

static int __init hold_init(void)
{
	return 0;
}
module_init(hold_init);

static void __exit hold_exit(void)
{
	hold_drop();
}
module_exit(hold_exit);

MODULE_DESCRIPTION("Holds a page and writes to it later, for tests");
MODULE_LICENSE("GPL");
