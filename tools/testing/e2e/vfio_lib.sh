# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Sourced by the tests whose guests have the VFIO test device, beside lib.sh.
# MIGTRACK_TEST_MODULES is where the device's module is.

MDEVS=/sys/bus/mdev/devices
TYPES=/sys/class/vfio_testdev/vfio_testdev/mdev_supported_types
declare -A uuid

vfio_load() {
	modprobe -aq mdev vfio_iommu_type1
	if [ ! -d $TYPES ] &&
	   ! insmod "$MIGTRACK_TEST_MODULES/vfio_testdev/vfio_testdev.ko"; then
		echo "Bail out! the device's module does not load"
		exit 1
	fi
}

# create GUEST: its device. As the kernels of the lab report no device's log, QEMU
# uses the container's.
create() {
	uuid[$1]=$(cat /proc/sys/kernel/random/uuid)
	echo "${uuid[$1]}" > "$TYPES/vfio_testdev-nolog/create"
}

# knob GUEST NAME [VALUE]
knob() {
	local file=$MDEVS/${uuid[$1]}/testdev/$2

	if [ $# = 3 ]; then echo "$3" > "$file"
	else cat "$file"; fi
}

vfio_option() {
	printf '%s\n' -device "vfio-pci,sysfsdev=$MDEVS/${uuid[$1]},enable-migration=on"
}
