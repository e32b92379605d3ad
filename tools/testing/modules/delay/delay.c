// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes a window in the kernel wide enough for a test: a task that begins the
 * function "symbol" is held up there for "ms" milliseconds, while it spins. Write
 * its process to "tgid"; 0 is nobody. "inside" counts the tasks that came there.
 */

#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

static char *symbol;
module_param(symbol, charp, 0400);
MODULE_PARM_DESC(symbol, "the function at whose start tasks are held up");

static unsigned int ms = 20;
module_param(ms, uint, 0600);
MODULE_PARM_DESC(ms, "for how long, in milliseconds");

static int tgid;
module_param(tgid, int, 0600);
MODULE_PARM_DESC(tgid, "the process whose tasks are held up, 0 for none");

static unsigned int inside;
module_param(inside, uint, 0400);
MODULE_PARM_DESC(inside, "how many tasks came there");

static int delay_handler(struct kprobe *p, struct pt_regs *regs)
{
	if (current->tgid == READ_ONCE(tgid)) {
		WRITE_ONCE(inside, inside + 1);
		mdelay(READ_ONCE(ms));
	}
	return 0;
}

static struct kprobe delay_probe = {
	.pre_handler = delay_handler,
};

static int __init delay_init(void)
{
	if (!symbol)
		return -EINVAL;
	delay_probe.symbol_name = symbol;
	return register_kprobe(&delay_probe);
}
module_init(delay_init);

static void __exit delay_exit(void)
{
	unregister_kprobe(&delay_probe);
}
module_exit(delay_exit);

MODULE_DESCRIPTION("Holds tasks up in a kernel function, for tests");
MODULE_LICENSE("GPL");
