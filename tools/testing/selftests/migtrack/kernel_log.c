// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel's log says: see kernel_log.h. */

#include <stdio.h>
#include <string.h>

#include "kernel_log.h"

unsigned int kernel_log_count(const char *text)
{
	char line[1024];
	unsigned int n = 0;
	FILE *f = popen("dmesg", "r");

	while (f && fgets(line, sizeof(line), f))
		n += !!strstr(line, text);
	if (f)
		pclose(f);
	return n;
}
