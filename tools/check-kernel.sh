#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# check-kernel.sh KDIR: can migtrack's modules be built for, and work on, the
# kernel whose headers or build tree these are? Says all that stands against it.
set -u

kdir=${1:-}
failed=0

no() {
	echo "migtrack: $*" >&2
	failed=1
}

# How this distribution's package for a kernel's headers is called.
headers_package() {
	id=$(sed -n 's/^\(ID\|ID_LIKE\)=//p' "${OS_RELEASE:-/etc/os-release}" 2>/dev/null | tr -s '"\n' ' ')
	case " $id " in
	*" debian "* | *" ubuntu "*)
		echo "apt-get install linux-headers-$1" ;;
	*" fedora "* | *" rhel "* | *" centos "*)
		echo "dnf install kernel-devel-$1" ;;
	*" suse "* | *" opensuse "*)
		echo "zypper install kernel-default-devel" ;;
	*)
		echo "install the package with the headers of kernel $1" ;;
	esac
}

if [ -z "$kdir" ]; then
	echo "usage: check-kernel.sh KDIR" >&2
	exit 2
fi
if [ ! -e "$kdir/Makefile" ]; then
	no "no kernel headers in $kdir"
	case $kdir in
	/lib/modules/*/build)
		release=${kdir#/lib/modules/}
		no "$(headers_package "${release%/build}"); or give another kernel with make KDIR=..." ;;
	*)
		no "KDIR must be a kernel's build tree, such as /lib/modules/VERSION/build" ;;
	esac
	exit 1
fi

config=$kdir/include/config/auto.conf
[ -e "$config" ] || config=$kdir/.config
if [ ! -e "$config" ]; then
	no "$kdir is not configured: it has no include/config/auto.conf and no .config"
	exit 1
fi

# The release is what the kernel was built as, the Makefile what its source says.
release=$(cat "$kdir/include/config/kernel.release" 2>/dev/null)
if [ -z "$release" ]; then
	release=$(sed -n 's/^VERSION *= *//p; s/^PATCHLEVEL *= *//p' "$kdir/Makefile" |
		head -n 2 | paste -sd.)
fi
major=${release%%.*}
minor=${release#*.}
minor=${minor%%[!0-9]*}
case $major$minor in
'' | *[!0-9]*)
	no "cannot tell the version of the kernel in $kdir" ;;
*)
	if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 12 ]; }; then
		no "kernel $release is too old, 6.12 is the oldest that works"
	fi ;;
esac

# need OPTION WHY
need() {
	grep -qx "CONFIG_$1=y" "$config" || no "kernel $release has no CONFIG_$1=y: $2"
}

grep -qx CONFIG_X86_64=y "$config" || no "kernel $release is not for x86_64, the only architecture supported"
need MODULES "it loads no modules"
need MMU_NOTIFIER "the module could not see page table entries go (CONFIG_KVM selects it)"
need MAPPING_DIRTY_HELPERS "it cannot write-protect shared mappings for a module (CONFIG_DRM_VMWGFX selects it)"
need SHMEM "there is no tmpfs or memfd memory to track"
need NET "there is no generic netlink to control the module by"

exit $failed
