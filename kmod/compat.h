/* SPDX-License-Identifier: GPL-2.0-only */
/* All that differs between the kernels that migtrack supports. */
#ifndef _MIGTRACK_COMPAT_H
#define _MIGTRACK_COMPAT_H

#include <linux/mm_types.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/user_namespace.h>
#include <net/genetlink.h>

#ifdef MIGTRACK_HAVE_EXEC_STATE
#include <linux/sched/exec_state.h>
#endif

/*
 * The user namespace that a process was exec'ed in, referenced; a capability
 * over the process is one in there. It moved from the mm to the task.
 */
static inline struct user_namespace *migtrack_user_ns(struct task_struct *task,
						      struct mm_struct *mm)
{
	struct user_namespace *ns;

#ifdef MIGTRACK_HAVE_EXEC_STATE
	rcu_read_lock();
	ns = get_user_ns(rcu_dereference(task->exec_state)->user_ns);
	rcu_read_unlock();
#else
	ns = get_user_ns(mm->user_ns);
#endif
	return ns;
}

/*
 * 6.12 lets any attribute pass that comes with a command that takes none; later
 * kernels do not let it get here.
 */
static inline int migtrack_refuse_attrs(const struct nlmsghdr *nlh,
					struct netlink_ext_ack *extack)
{
	if (!nlmsg_attrlen(nlh, GENL_HDRLEN))
		return 0;
	NL_SET_ERR_MSG(extack, "this command takes no attributes");
	return -EINVAL;
}

#endif /* _MIGTRACK_COMPAT_H */
