# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The lab's kernels: Debian's, and below /kernel the one that recipe-kernel built.
# Both places have an etc/lab-kernels, with short name and version.

# find_kernel NAME: sets "version", and "at", below which its boot/ and
# lib/modules/ are.
find_kernel() {
	local list names=

	for at in '' /kernel; do
		list=$at/etc/lab-kernels
		[ -e "$list" ] || continue
		version=$(awk -v k="$1" '$1 == k { print $2 }' "$list")
		[ -z "$version" ] || return 0
		names+=" $(cut -d' ' -f1 "$list" | paste -sd' ')"
	done
	echo "no kernel $1 in the lab; it has:$names (make debug-kernel adds 6.12-debug)" >&2
	return 1
}
