# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
# Sourced by the tests that are shell scripts: results as TAP, the module, and what
# migctl prints, which they have in $dir/out.

n=0
failed=0

load() {
	[ -d /sys/module/migtrack ] ||
		if [ -n "${MIGTRACK_KO:-}" ]; then insmod "$MIGTRACK_KO"
		else modprobe migtrack; fi
}

result() {
	local status=$1

	shift
	[ "$status" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $((++n)) $*"
}

# sooner_or_later COMMAND...: until it is so, but not for ever
sooner_or_later() {
	local i

	for ((i = 0; i < 600 * ${MIGTRACK_SLOW:-1}; i++)); do
		"$@" && return
		sleep 0.1
	done
	echo "# it did not come to that: $*"
	return 1
}

# A process is in a multicast group of generic netlink: it misses no event any more.
subscribed() {
	awk -v pid="$1" '$2 == 16 && $3 == pid && $4 !~ /^0+$/ { found = 1 }
		END { exit !found }' /proc/net/netlink
}

# holds NAME PYTHON: an expression over the JSON objects in $dir/out, by type
holds() {
	python3 - "$dir/out" "$2" <<-'END'
		import json, sys
		rows = [json.loads(line) for line in open(sys.argv[1])]
		def of(name):
		    return [row for row in rows if row['type'] == name]
		good = eval(sys.argv[2])
		if not good:
		    print('# does not hold:', sys.argv[2])
		    for row in rows:
		        print('#', row)
		sys.exit(not good)
	END
	result $? "$1"
}
