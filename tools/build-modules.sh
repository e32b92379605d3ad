#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# build-modules.sh KDIR OUT [make arguments]: build the modules for a kernel
# in OUT, on a copy of their sources: kbuild writes beside them. A file that did
# not change is not copied again, so that only what is new is compiled.
set -eu

kdir=$1
out=$2
shift 2
top=$(cd "$(dirname "$0")/.." && pwd)

"$top/tools/check-kernel.sh" "$kdir"
mkdir -p "$out"
out=$(cd "$out" && pwd)

sources() {
	(cd "$1" && find . -path './Kbuild' -o \
		\( -path './kmod/*' -o -path './vfio-bridge/*' -o -path './uapi/*' \) \
		\( -name '*.[ch]' -o -name Kbuild \) ! -name '*.mod.c' -print)
}

sources "$out" | while read -r file; do
	[ -e "$top/$file" ] || rm -f "$out/$file" "$out/${file%.c}.o"
done
sources "$top" | while read -r file; do
	cmp -s "$top/$file" "$out/$file" && continue
	mkdir -p "$(dirname "$out/$file")"
	cp "$top/$file" "$out/$file"
done
cmp -s "$top/Kbuild" "$out/Kbuild" || cp "$top/Kbuild" "$out/Kbuild"

exec make -C "$kdir" M="$out" "$@" modules
