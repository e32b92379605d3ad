/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel's log says. */
#ifndef MIGTRACK_TEST_KERNEL_LOG_H
#define MIGTRACK_TEST_KERNEL_LOG_H

/* printk's: so many of one place in so many seconds, and then no more. */
#define KERNEL_LOG_SECONDS	5
#define KERNEL_LOG_BURST	10

/* Lines with @text in them. */
unsigned int kernel_log_count(const char *text);

#endif /* MIGTRACK_TEST_KERNEL_LOG_H */
