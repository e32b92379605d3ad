#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Regenerate what the kernel's ynl makes of the netlink spec:
#
#	regen.sh LINUX		write uapi/linux/migtrack.h, kmod/netlink-gen.[ch] and
#				Documentation/netlink/{migtrack.rst,numbers.txt}
#	regen.sh LINUX --check	only compare; 1 and a diff if one differs
#
# LINUX is a kernel tree (or the part of one that the lab unpacks from Debian's
# linux-source) with tools/net/ynl and Documentation/netlink. Needs Python 3
# with yaml and jsonschema.
set -eu

linux=$1
mode=${2:-write}
top=$(cd "$(dirname "$0")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# ynl wants a kernel tree around the spec and one fixed licence in it.
mkdir -p "$tmp/Documentation/netlink/specs"
: > "$tmp/MAINTAINERS"
cp "$linux"/Documentation/netlink/*.yaml "$tmp/Documentation/netlink/"
spec=$tmp/Documentation/netlink/specs/migtrack.yaml
ynl_spdx='((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)'
sed "1s|.*|# SPDX-License-Identifier: $ynl_spdx|" \
	"$top/Documentation/netlink/specs/migtrack.yaml" > "$spec"

status=0

# generate MODE PART FILE LICENCE
generate() {
	out=$tmp/$(basename "$3")
	python3 -B "$linux/tools/net/ynl/pyynl/ynl_gen_c.py" \
		--mode "$1" "--$2" --spec "$spec" -o "$out"
	sed -i -e "1s|$ynl_spdx|$4|" \
		-e 's|tools/net/ynl/ynl-regen.sh|make netlink|' \
		-e 's|<uapi/linux/migtrack.h>|<linux/migtrack.h>|' "$out"
	deliver "$out" "$3"
}

# deliver NEW FILE
deliver() {
	if [ "$mode" = --check ]; then
		diff -u "$top/$2" "$1" || status=1
	else
		cmp -s "$1" "$top/$2" || cp "$1" "$top/$2"
	fi
}

generate uapi header uapi/linux/migtrack.h 'GPL-2.0-only WITH Linux-syscall-note'
generate kernel source kmod/netlink-gen.c GPL-2.0-only
generate kernel header kmod/netlink-gen.h GPL-2.0-only

# The page for readers. The marks of lines are for the kernel's Sphinx.
page=$tmp/migtrack.rst
python3 -B "$linux/tools/net/ynl/pyynl/ynl_gen_rst.py" -i "$spec" -o "$page.raw"
{
	echo '.. SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note'
	echo '.. Generated from specs/migtrack.yaml by "make netlink".'
	grep -v -e '^\.\. LINENO' -e '^\.\. SPDX' -e '^\.\. NOTE' "$page.raw"
} | cat -s > "$page"
deliver "$page" Documentation/netlink/migtrack.rst

# It only grows: no number that was given once is another now, or nothing.
numbers=$tmp/numbers.txt
{
	echo '# SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note'
	echo '# Every number of the interface, by "make netlink". A line that is here stays.'
	python3 -B "$top/tools/netlink/list-numbers" "$linux/tools/net/ynl/pyynl" "$spec"
} > "$numbers"
if grep -vxFf "$numbers" "$top/Documentation/netlink/numbers.txt" >&2; then
	echo "regen.sh: the specification no longer has these numbers; it may only grow" >&2
	exit 1
fi
deliver "$numbers" Documentation/netlink/numbers.txt
exit $status
