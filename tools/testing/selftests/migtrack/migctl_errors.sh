#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What migctl refuses: each with its exit code, a message that says what is
# wrong, and an advice. MIGCTL names the program, MIGTRACK_KO the module.

# shellcheck source-path=SCRIPTDIR source=shell_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/shell_lib.sh"

migctl=$(type -P "${MIGCTL:-migctl}")
dir=$(mktemp -d /dev/shm/migctl-errors-XXXXXX)
chmod 755 "$dir"
autoload=$(cat /proc/sys/kernel/modprobe)

cleanup() {
	jobs -p | xargs -r kill 2>/dev/null
	echo "$autoload" > /proc/sys/kernel/modprobe
	[ ! -d "$dir/huge" ] || umount "$dir/huge"
	rm -rf "$dir" /root/migctl-errors
}

# refuse NAME EXIT-CODE PATTERN MIGCTL-ARGUMENTS...
refuse() {
	local name=$1 code=$2 pattern=$3 status

	shift 3
	timeout $((30 * ${MIGTRACK_SLOW:-1})) "${as[@]}" "$migctl" "$@" > "$dir/out" 2> "$dir/err"
	status=$?
	if [ $status = "$code" ] && grep -qE "^migctl: .*($pattern)" "$dir/err" &&
	   grep -q '^migctl: advice: .' "$dir/err"; then
		result 0 "$name"
	else
		echo "# migctl $*: exit $status, wanted $code and '$pattern'"
		sed 's/^/# /' "$dir/err"
		result 1 "$name"
	fi
}

# map FILE python-mmap-arguments: a process that maps it, until the end.
map() {
	local ready=$dir/ready

	rm -f "$ready"
	python3 - "$ready" "$@" <<-'END' &
		import mmap, os, signal, sys
		ready, path, flags, prot = sys.argv[1:]
		mode = os.O_RDWR if 'WRITE' in prot else os.O_RDONLY
		fd = os.open(path, mode)
		names = lambda text: sum(getattr(mmap, name) for name in text.split('+'))
		memory = mmap.mmap(fd, 0, names(flags), names(prot))
		open(ready, 'w').close()
		signal.pause()
	END
	mapper=$!
	until [ -e "$ready" ]; do sleep 0.1; done
}

# serve PYTHON: a UNIX socket at $dir/qmp; PYTHON gets the connection as c.
serve() {
	rm -f "$dir/qmp"
	python3 - "$dir/qmp" "$1" <<-'END' &
		import socket, sys, time
		s = socket.socket(socket.AF_UNIX)
		s.bind(sys.argv[1])
		s.listen(1)
		c, _ = s.accept()
		exec(sys.argv[2])
		time.sleep(60)
	END
	until [ -S "$dir/qmp" ]; do sleep 0.1; done
	sleep 0.2
}

if [ "$(id -u)" != 0 ] || [ -z "$migctl" ]; then
	echo "1..0 # SKIP needs root and migctl"
	exit 4
fi
load || { echo "Bail out! the module does not load"; exit 1; }
trap cleanup EXIT
as=()
ram=$dir/ram
truncate -s 4M "$ram" "$dir/other"
: > "$dir/empty"
rw=PROT_READ+PROT_WRITE

echo "TAP version 13"
echo "1..29"

refuse "interval of 0" 2 "too short" track --pid $$ --ram "$ram" --interval 0
refuse "neither guest nor memory named" 2 "which guest" track
refuse "unknown command" 2 "no command" trak
refuse "no downtime left for the copy" 2 "leaves nothing" \
	migrate --qmp "$dir/none" --to "unix:$dir/none" --downtime 100ms --fixed-cost 100ms
refuse "session that does not exist" 5 "no such session" show 999999

sleep 0 &
gone=$!
wait $gone
refuse "process that has exited" 5 "no such process|exit" \
	track --pid $gone --ram "$ram"
refuse "kernel thread" 5 "kernel thread|exiting" track --pid 2 --ram "$ram"

map "$dir/other" MAP_SHARED $rw
refuse "file that is not mapped there" 6 "does not map" \
	track --pid $mapper --ram "$ram"
refuse "range that is not mapped there" 2 "past the file's end" \
	track --pid $mapper --ram "$dir/other,offset=4M"
refuse "length past the end" 2 "past the file's end" \
	track --pid $mapper --ram "$dir/other,offset=2M,length=3M"
refuse "range that is not in whole pages" 2 "multiples of 4096" \
	track --pid $mapper --ram "$dir/other,offset=100"
refuse "directory" 6 "directory" track --pid $mapper --ram "$dir"
refuse "empty file" 6 "empty" track --pid $mapper --ram "$dir/empty"
refuse "file that does not exist" 6 "no such file" \
	track --pid $mapper --ram "$dir/none"
refuse "descriptor that does not exist" 6 "no such file" \
	track --pid $mapper --ram fd:999
truncate -s 4M /root/migctl-errors
refuse "file that is not on tmpfs" 6 "not on tmpfs" \
	track --pid $mapper --ram /root/migctl-errors
kill $mapper

map "$ram" MAP_PRIVATE $rw
refuse "private mapping" 6 "privately" track --pid $mapper --ram "$ram"
kill $mapper
map "$ram" MAP_SHARED PROT_READ
refuse "read-only mapping" 6 "read-only" track --pid $mapper --ram "$ram"
kill $mapper

mkdir "$dir/huge"
mount -t hugetlbfs none "$dir/huge"
truncate -s 4M "$dir/huge/ram"
refuse "huge pages (hugetlbfs)" 6 "huge pages" \
	track --pid $$ --ram "$dir/huge/ram"

refuse "QMP socket that does not exist" 7 "No such file" track --qmp "$dir/qmp"
refuse "QMP socket that is none" 7 "not a socket" track --qmp "$ram"
serve 'pass'
refuse "QMP socket that hangs" 7 "no QMP greeting" track --qmp "$dir/qmp"
kill $!
wait $! 2> /dev/null
refuse "QMP socket whose owner is gone" 7 "nobody listens" \
	track --qmp "$dir/qmp"
serve 'c.send(b"SSH-2.0-OpenSSH_9.9\r\n")'
refuse "QMP socket that talks garbage" 7 "not QMP" track --qmp "$dir/qmp"
kill $!

map "$ram" MAP_SHARED $rw
cp "$migctl" "$dir/migctl"
chmod 755 "$dir/migctl"
migctl=$dir/migctl
as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
refuse "no permission" 4 "permitted|denied|required" \
	track --pid $mapper --ram "$ram"
refuse "check says so" 8 "can't track guests: privileges" check
"${as[@]}" "$migctl" list > "$dir/out" 2>&1 && grep -q 'No sessions' "$dir/out"
result $? "list needs no permission"
as=()
kill $mapper

# The kernel would load it when its family is asked for.
echo > /proc/sys/kernel/modprobe
[ ! -d /sys/module/migtrack_vfio ] || rmmod migtrack_vfio
rmmod migtrack
refuse "module that is not loaded" 3 "not loaded" track --pid $$ --ram "$ram"
"$migctl" list -j 2>/dev/null | python3 -c '
import json, sys
error = json.load(sys.stdin)["error"]
sys.exit(error["code"] != "no-module" or error["exit"] != 3 or not error["advice"])'
result $? "errors are JSON objects with -j"
echo "$autoload" > /proc/sys/kernel/modprobe
load

exit $failed
