# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
# Sourced by the tests of migctl migrate, which run real guests in the
# hypervisor VM. MIGCTL names the program, MIGTRACK_KO the module.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guest=$here/../guest/guest
qmp=$here/../guest/qmp
migctl=$(type -P "${MIGCTL:-migctl}")
dir=$(mktemp -d /run/e2e-XXXXXX)
started=()
declare -A started_as
# Those that are to end.
declare -A ends
n=0
failed=0

# For what happens sooner or later, in seconds: on a busy machine it is later.
PATIENCE=60

# Longest pause of a guest that goes on by itself (rule 19), in milliseconds.
RESUMED_MS=1000

cleanup() {
	local name

	jobs -p | xargs -r kill 2>/dev/null
	for name in "${started[@]}"; do
		if [ $failed != 0 ]; then
			show_last_words "$name"
			say_died "$name"
		fi
		"$guest" stop "$name"
	done
	rm -rf "$dir"
}

# often FEW MANY: how often something is done, or for how long
often() {
	if [ "${FULL:-0}" = 1 ]; then echo "$2"
	else echo "$1"; fi
}

# plan N: what every test starts with
plan() {
	if [ "$(id -u)" != 0 ] || [ -z "$migctl" ] || [ ! -e /dev/kvm ] ||
	   ! type -P qemu-system-x86_64 > /dev/null; then
		echo "1..0 # SKIP needs root, migctl, QEMU and KVM"
		exit 4
	fi
	if [ ! -d /sys/module/migtrack ]; then
		if [ -n "${MIGTRACK_KO:-}" ]; then insmod "$MIGTRACK_KO"
		else modprobe migtrack; fi ||
			{ echo "Bail out! the module does not load"; exit 1; }
	fi
	trap cleanup EXIT
	echo "TAP version 13"
	echo "1..$1"
}

result() {
	local status=$1

	shift
	[ "$status" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $((++n)) $*"
}

# check NAME COMMAND...: one test
check() {
	local name=$1

	shift
	"$@"
	result $? "$name"
}

say() {
	echo "# $*"
}

show() {
	[ ! -e "$1" ] || sed 's/^/# /' "$1"
}

# Of a QEMU: with a log of its own, its standard error goes there.
show_last_words() {
	local file

	for file in "/run/$1.err" "/run/$1.log"; do
		[ -s "$file" ] || continue
		say "$file:"
		show "$file"
	done
}

# A guest that was never moved, and has reset itself, as a triple fault does, or that
# KVM could not run: its QEMU has ended, or stands, and nobody had told it to.
say_died() {
	local log=/run/$1.log

	[ -n "${started_as[$1]:-}" ] && [ -z "${ends[$1]:-}" ] || return 0
	grep -qs 'new_state .*(internal-error)' "$log" ||
		{ qemu_gone "$1" && grep -qs 'new_state .*(shutdown)' "$log" &&
		  ! grep -qE 'qemu_system_shutdown_request|terminating on signal' "$log"; } ||
		return 0
	say "the guest $1 has ended by itself; its last words:"
	tail -n 20 "/run/$1.serial" | sed 's/^/#   /'
}

# unfit REASON: the hypervisor gave the guest too little of its CPU for what is tested
unfit() {
	say "not the case to be tested: $1"
}

# start NAME ..., await NAME ...: see guest
start() {
	started+=("$1")
	started_as[$1]=$(printf '%q ' "$@")
	"$guest" start "$@" || say "QEMU $1 does not start"
}

await() {
	started+=("$1")
	"$guest" await "$@" || say "QEMU $1 does not start"
}

# booted NAME: it ticks. One that dies while it boots, in a nested VM, is no
# matter of these tests: it is started again, and that is said.
booted() {
	local try

	for try in 1 2 3; do
		"$guest" wait "$1" 240 '^tick 10' && return
		say "$1 did not boot (attempt $try)"
		"$guest" stop "$1"
		eval "start ${started_as[$1]}"
	done
	echo "Bail out! the guest $1 does not boot"
	failed=1
	exit 1
}

# The receiver's exit code; it has ended, or has nothing to wait for.
receiver_ended() {
	until_true "$PATIENCE" receiver_gone || kill "$receiver"
	wait "$receiver"
}

receiver_gone() {
	! kill -0 "$receiver" 2>/dev/null
}

now_ms() {
	local t=${EPOCHREALTIME/[.,]/}

	echo $((t / 1000))
}

# lines_since FILE MS: of those that now_ms has written there, so many are not older
lines_since() {
	awk -v from="$2" '$1 >= from { n++ } END { print n + 0 }' "$1"
}

# until_true SECONDS COMMAND...
until_true() {
	local end=$(($(now_ms) + $1 * 1000))

	shift
	until "$@"; do
		[ "$(now_ms)" -lt $end ] || return 1
		sleep 0.05
	done
}

# The number of its last whole tick, 0 if there is none.
last_tick() {
	awk '/^tick [0-9]+\r$/ { n = $2 + 0 } END { print n + 0 }' "/run/$1.serial"
}

ticked_beyond() {
	[ "$(last_tick "$1")" -gt "$2" ]
}

# ticks NAME...: all of them tick on within a while
ticks() {
	local name

	for name; do
		until_true "$PATIENCE" ticked_beyond "$name" "$(last_tick "$name")" && continue
		say "$name ticks no more:"
		tail -n 3 "/run/$name.serial" | sed 's/^/#   /'
		return 1
	done
}

# It never ran: nothing at all on its console, not even half a tick.
silent() {
	[ ! -s "/run/$1.serial" ] && return
	say "$1 has run:"
	show "/run/$1.serial"
	return 1
}

# What all of the guest's hosts heard of it, one after the other.
ticks_continue() {
	# shellcheck disable=SC2069
	"$here/../guest/ticks" "$@" 2>&1 > /dev/null
}

# ask NAME COMMAND [ARGUMENTS]: what its QEMU says
ask() {
	local name=$1

	shift
	"$qmp" "/run/$name.observer" "$@" 2>&1
}

state() {
	"$qmp" "/run/$1.observer" query-status | sed 's/.*"status": "\([^"]*\)".*/\1/'
}

# in_state NAME STATE...
in_state() {
	local name=$1 now

	shift
	now=$(state "$name")
	[[ " $* " == *" $now "* ]] && return
	say "$name is in state $now, not $*"
	return 1
}

settings() {
	"$qmp" "/run/$1.observer" settings
}

# same_settings NAME FILE: as they were written there by settings
same_settings() {
	settings "$1" > "$dir/settings.now" || { say "$1 can't be asked"; return 1; }
	diff "$2" "$dir/settings.now" > "$dir/diff" && return
	say "migration settings of $1 have changed:"
	show "$dir/diff"
	return 1
}

# ended NAME: its QEMU, within a while
ended() {
	until_true "$PATIENCE" qemu_gone "$1" && return
	say "the QEMU of $1 has not ended"
	return 1
}

qemu_gone() {
	! kill -0 "$(cat "/run/$1.pid" 2>/dev/null)" 2>/dev/null
}

no_session() {
	local left

	left=$("$migctl" list -j) && [ -z "$left" ] && return
	say "sessions are left: $left"
	return 1
}

# receive NAME ADDRESS OPTIONS...: in the background, as $receiver; what it says
# goes to $dir/NAME.receive. It runs in network namespace $far if that is set.
receive() {
	local name=$1 address=$2

	shift 2
	# shellcheck disable=SC2086
	${far:+ip netns exec $far} "$migctl" receive --qmp "/run/$name.qmp" \
		--listen "$address" "$@" > "$dir/$name.receive" 2>&1 &
	receiver=$!
	until_true "$PATIENCE" grep -q 'waits for a guest' "$dir/$name.receive" && return
	say "migctl receive does not listen:"
	show "$dir/$name.receive"
	return 1
}

# migrate NAME ADDRESS OPTIONS...: its exit code in $status, output in $dir/out
# and $dir/err
migrate() {
	local name=$1 address=$2

	shift 2
	timeout 600 "$migctl" migrate -j --qmp "/run/$name.qmp" --to "$address" \
		"$@" > "$dir/out" 2> "$dir/err"
	status=$?
}

# The same in the background, as $migrator.
migrate_start() {
	local name=$1 address=$2

	shift 2
	rm -f "$dir/out" "$dir/err"
	"$migctl" migrate -j --qmp "/run/$name.qmp" --to "$address" "$@" \
		> "$dir/out" 2> "$dir/err" &
	migrator=$!
}

# move SOURCE DESTINATION MIGRATE-OPTIONS...
move() {
	local from=$1 to=$2

	shift 2
	receive "$to" "unix:$dir/socket"
	migrate "$from" "unix:$dir/socket" "$@"
}

# Of the one that is under way.
session_id() {
	"$migctl" list -j | sed -n 's/.*"session_id":\([0-9]*\).*/\1/p' | tail -n 1
}

# Its first iteration has ended, or it has.
under_way() {
	until_true 120 has_iterated
	grep -q '"type":"iteration"' "$dir/out"
}

has_iterated() {
	grep -q '"type":"iteration"' "$dir/out" 2>/dev/null ||
		! kill -0 "$migrator" 2>/dev/null
}

# exited CODE [PATTERN]: what migctl migrate did, with $status; PATTERN is in
# its message
exited() {
	if [ "$status" = "$1" ] && { [ -z "${2:-}" ] ||
	   grep -qE -- "$2" "$dir/out" "$dir/err"; }; then
		return
	fi
	say "migctl migrate: exit code $status, wanted $1${2:+ and '$2'}"
	tail -n 4 "$dir/out" | sed 's/^/# /'
	show "$dir/err"
	show "$dir/${destination:-none}.receive"
	return 1
}

# field NAME: a number or word of the summary, or of the last line that has it
field() {
	sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p" "$dir/out" | tail -n 1
}

ms() {
	local ns

	ns=$(field "$1")
	echo $((${ns:-0} / 1000000))
}

say_message() {
	sed -n 's/.*"message":"\([^"]*\)".*/# it says: \1/p' "$dir/out" "$dir/err" | tail -n 1
}

# What the summary says, for whoever reads the log.
say_times() {
	local sent

	sent=$(field sent_bytes)
	say "$1: $(ms total_ns) ms, $((${sent:-0} >> 20)) MiB, $(field iterations) iterations;" \
		"downtime $(ms downtime_ns) ms: stop $(ms downtime_stop_ns), sync $(ms downtime_sync_ns)," \
		"copy $(ms downtime_copy_ns), devices $(ms downtime_devices_ns), resume $(ms downtime_resume_ns)"
}

# at_least A B, at_most A B: numbers
at_least() {
	[ "$1" -ge "$2" ] && return
	say "$1 is less than $2"
	return 1
}

at_most() {
	[ "$1" -le "$2" ] && return
	say "$1 is more than $2"
	return 1
}

# moved NAME SOURCE DESTINATION HOST...: the tests of a migration that worked;
# the HOSTs are those that ran the guest before SOURCE
moved() {
	local name=$1 from=$2 to=$3 received

	shift 3
	destination=$to
	check "$name: migctl migrate is content" exited 0 '"result":"completed"'
	receiver_ended
	received=$?
	[ $received = 0 ] || show "$dir/$to.receive"
	result $received "$name: migctl receive is content"
	say_times "$name"
	check "$name: its downtime is a part of its time" \
		at_most "$(ms downtime_ns)" "$(ms total_ns)"
	check "$name: every page is equal" grep -q '"verified":true' "$dir/out"
	check "$name: it ticks at the destination" ticks "$to"
	check "$name: no tick is lost or there twice, no page wrong" \
		ticks_continue "$@" "$from" "$to"
	check "$name: the source is paused" in_state "$from" postmigrate paused
	check "$name: the destination runs" in_state "$to" running
}
MOVED=8

# unmoved NAME SOURCE DESTINATION SETTINGS: those of one that did not, whatever
# the reason
unmoved() {
	local name=$1 from=$2 to=$3

	check "$name: it ticks at the source" ticks "$from"
	check "$name: no tick is lost, no page wrong" ticks_continue "$from"
	check "$name: the settings are as before" same_settings "$from" "$4"
	check "$name: the destination has ended" ended "$to"
	check "$name: and never ran" silent "$to"
	check "$name: no session is left" no_session
}
UNMOVED=6
