/* SPDX-License-Identifier: GPL-2.0-only */
/* What not all kernels that migtrack supports have of VFIO. */
#ifndef _MIGTRACK_VFIO_COMPAT_H
#define _MIGTRACK_VFIO_COMPAT_H

#include <linux/vfio.h>

#ifdef VFIO_PRECOPY_INFO_REINIT
/* The feature that lets precopy info have flags. */
#define MIGTRACK_VFIO_PRECOPY_INFO_V2	12
#define MIGTRACK_VFIO_REINIT		VFIO_PRECOPY_INFO_REINIT
#else
/* No device can have it: the number would be asked of its driver. */
#define MIGTRACK_VFIO_PRECOPY_INFO_V2	0
#define MIGTRACK_VFIO_REINIT		0
#endif

#endif /* _MIGTRACK_VFIO_COMPAT_H */
