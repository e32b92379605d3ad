// SPDX-License-Identifier: GPL-2.0-or-later
#include <fcntl.h>

#include "unit.h"
#include "vmm/vfio.h"

TEST(vfio_devices_are_told_by_their_links)
{
	CHECK(vfio_link_is_device("anon_inode:[vfio-device]"));
	CHECK(vfio_link_is_device("/dev/vfio/devices/vfio3"));
	CHECK(!vfio_link_is_device("/dev/vfio/vfio"));
	CHECK(!vfio_link_is_device("/dev/vfio/12"));
	CHECK(!vfio_link_is_device("anon_inode:[eventfd]"));
	CHECK(!vfio_link_is_device("/tmp/anon_inode:[vfio-device]"));
	CHECK(!vfio_link_is_device(""));
}

TEST(vfio_data_is_told_by_its_link_and_flags)
{
	CHECK(vfio_link_may_be_data("anon_inode:mlx5vf_mig", O_RDONLY));
	CHECK(vfio_link_may_be_data("anon_inode:mtty_mig",
				    O_RDONLY | O_CLOEXEC | O_NONBLOCK));
	/* That of a device that is loaded. */
	CHECK(!vfio_link_may_be_data("anon_inode:mlx5vf_mig", O_WRONLY));
	CHECK(!vfio_link_may_be_data("anon_inode:mlx5vf_mig", O_RDWR));
	CHECK(vfio_link_may_be_data("anon_inode:[some-driver]", O_RDONLY));
	CHECK(!vfio_link_may_be_data("anon_inode:[vfio-device]", O_RDONLY));
	CHECK(!vfio_link_may_be_data("anon_inode:[userfaultfd]", O_RDONLY));
	CHECK(!vfio_link_may_be_data("anon_inode:kvm_stats:0", O_RDONLY));
	CHECK(!vfio_link_may_be_data("anon_inode:inotify", O_RDONLY));
	CHECK(!vfio_link_may_be_data("/dev/null", O_RDONLY));
	CHECK(!vfio_link_may_be_data("socket:[12]", O_RDONLY));
}
