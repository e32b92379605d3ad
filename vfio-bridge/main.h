/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_VFIO_MAIN_H
#define _MIGTRACK_VFIO_MAIN_H

#include <linux/workqueue.h>

/* Questions to devices, which may take for ever, and the watch over their files. */
extern struct workqueue_struct *migtrack_vfio_wq;

/* Module parameter, see main.c. */
extern unsigned int migtrack_vfio_answer_ms;

#endif /* _MIGTRACK_VFIO_MAIN_H */
