#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every text with which the module refuses something is reached by a test: the
# kernel traces what it says, the tests are run, and refusals.txt, which is made
# of the module's sources, has all that there is to be said.
set -u

cd "$(dirname "$0")" || exit 1
# shellcheck source-path=SCRIPTDIR source=shell_lib.sh
. ./shell_lib.sh
trace=/sys/kernel/tracing/instances/migtrack-refusals
programs=(refuse reported abi vfio vfio_dma_log)

if [ "$(id -u)" != 0 ] || ! mkdir $trace || ! [ -e $trace/events/netlink/netlink_extack ]; then
	rmdir $trace 2>/dev/null
	echo "1..0 # SKIP needs root and the kernel's netlink trace events"
	exit 4
fi
log=$(mktemp)
trap 'echo 0 > $trace/events/netlink/netlink_extack/enable; rmdir $trace; rm -f "$log"' EXIT
echo 1 > $trace/events/netlink/netlink_extack/enable

# What only a kernel with IOMMUFD says, or one without.
if grep -qE ' iova_bitmap_set($|[[:space:]])' /proc/kallsyms; then
	never=("this kernel can't report a device's DMA log: it was built without CONFIG_IOMMUFD and CONFIG_IOMMUFD_DRIVER")
else
	never=('the source asked for the DMA log before; stop it first' 'the device is gone')
fi
mapfile -t texts < <(grep -vxF -f <(printf '%s\n' "${never[@]}") refusals.txt)
echo "TAP version 13"
echo "1..$((${#programs[@]} + ${#texts[@]}))"

for program in "${programs[@]}"; do
	"./$program" > "$log" 2>&1
	status=$?
	[ $status = 0 ] || sed 's/^#* */# /' "$log"
	result $status "$program"
done
sed 's/.*netlink_extack: msg=//' $trace/trace > "$log"
for text in "${texts[@]}"; do
	grep -qxF -- "$text" "$log"
	result $? "reached: $text"
done
exit $failed
