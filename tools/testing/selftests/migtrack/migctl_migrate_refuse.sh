#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What migctl migrate and receive refuse before a byte moves, each with its
# reason. MIGCTL, MIGTRACK_KO, GUEST: see migctl_migrate.sh.

# shellcheck source-path=SCRIPTDIR source=../../guest/migrate.sh
. "${GUEST:-/src/tools/testing/guest}/migrate.sh"

plan 19

# No guest is needed for it: QEMUs that have one, paused at its first instruction.
options=(-m 64M)
start plain "${options[@]}" -- -S
await good "${options[@]}"

# refuse_source NAME CODE PATTERN [OPTIONS-OF-GUEST...]: it is one of a kind
refuse_source() {
	local name=$1 code=$2 pattern=$3

	shift 3
	start odd "$@"
	refused odd "$name" "$code" "$pattern"
	"$guest" stop odd
}

# refused SOURCE NAME CODE PATTERN [MIGRATE-OPTIONS...]: nobody is asked
refused() {
	local from=$1 name=$2 code=$3 pattern=$4

	shift 4
	migrate "$from" "${address:-unix:$dir/nobody}" "$@"
	check "$name" exited "$code" "$pattern"
}

refuse_source "memfd back end" 6 'leaves only shared memory-backend-file' \
	"${options[@]}" -b memfd -- -S
refuse_source "private back end" 6 'private|not shared|share=on' \
	"${options[@]}" -b private -- -S
refuse_source "anonymous back end" 6 'ram0.*memory-backend-ram' \
	"${options[@]}" -b anon -- -S
refuse_source "no back end" 6 'anonymous' "${options[@]}" -b none -- -S
refuse_source "free-page-hint=on" 7 'free-page-hint' "${options[@]}" -- -S \
	-object iothread,id=io0 \
	-device virtio-balloon-pci,id=balloon0,free-page-hint=on,iothread=io0
refuse_source "a device that can't be migrated" 7 "can't migrate this guest: .*ivshmem" \
	"${options[@]}" -- -S -device ivshmem-plain,memdev=ram9,master=off \
	-object memory-backend-file,id=ram9,size=1M,share=on,mem-path=/dev/shm/odd.ram9
refused good "the destination's socket as the source" 7 'inmigrate'
address=192.0.2.1:9 refused plain "TCP without --insecure" 2 '.*--insecure'
refused plain "nobody listens" 9 'nobody|No such file|refused'

# QEMU's own, slow.
"$qmp" /run/plain.observer migrate-set-parameters '{"max-bandwidth": 1000}' > /dev/null
"$qmp" /run/plain.observer migrate '{"uri": "exec:cat > /dev/null"}' > /dev/null
refused plain "a migration is active already" 7 'under way already'
"$qmp" /run/plain.observer migrate_cancel > /dev/null
until_true 10 eval '"$qmp" /run/plain.observer query-migrate | grep -q cancelled' ||
	say "QEMU does not end its migration"

# refuse_destination NAME PATTERN OPTIONS-OF-GUEST...: told to both sides
refuse_destination() {
	local name=$1 pattern=$2

	shift 2
	await other "$@"
	receive other "unix:$dir/socket"
	refused_by "$name" "$pattern"
	"$guest" stop other
}

refused_by() {
	address=unix:$dir/socket refused plain "$1" 9 "$2"
	until_true 10 eval '! kill -0 $receiver 2>/dev/null' || kill $receiver
	wait "$receiver"
}

refuse_destination "another machine type" 'machine' -m 64M -M pc
refuse_destination "another number of CPUs" 'CPU' -m 64M -c 2
refuse_destination "another size of memory" '96.0 MiB at the destination, 64.0 MiB at the source' -m 96M
refuse_destination "a device more" 'block.*virtio-net' -m 64M -- -device virtio-net-pci
refuse_destination "other back ends" 'memory|block' -m 64M -b two

# receive_refused NAME CODE PATTERN: it does not even listen
receive_refused() {
	timeout 30 "$migctl" receive -j --qmp "/run/$4.qmp" --listen "${5:-unix:$dir/socket}" \
		> "$dir/out" 2> "$dir/err"
	status=$?
	check "$1" exited "$2" "$3"
}

start running "${options[@]}" -- -incoming defer
receive_refused "destination without -S" 7 'without -S' running
"$guest" stop running
receive_refused "a destination that runs a guest" 7 'does not wait for a guest' plain
receive_refused "listen on TCP without --insecure" 2 '.*--insecure' good 127.0.0.1:4711

receive good "unix:$dir/socket"
kill -9 "$(cat /run/good.pid)"
sleep 0.5
refused_by "the destination's QEMU is gone" 'QEMU|QMP|gone|closed'

exit $failed
