/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_MAIN_H
#define _MIGTRACK_MAIN_H

#include <linux/workqueue.h>

/* Syncs, adoptions, and the end of sessions; unbound, as they take long. */
extern struct workqueue_struct *migtrack_wq;
extern struct workqueue_struct *migtrack_adopt_wq;

/* Module parameters, see main.c. */
extern unsigned int migtrack_max_sessions;
extern unsigned int migtrack_max_sources;

#endif /* _MIGTRACK_MAIN_H */
