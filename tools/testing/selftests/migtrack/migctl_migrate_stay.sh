#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Migrations that do not come about: the guest runs on where it is, as if
# nothing had been. MIGCTL, MIGTRACK_KO, GUEST: see migctl_migrate.sh.

# shellcheck source-path=SCRIPTDIR source=../../guest/migrate.sh
. "${GUEST:-/src/tools/testing/guest}/migrate.sh"

plan $((5 * (UNMOVED + 1) + 1))

# Writes faster than it is moved here.
options=(-m 128M -a "verify=1 rate=16 set=32")
slow=(--downtime 1ms --max-bandwidth 12M)

start source "${options[@]}"
booted source
settings source > "$dir/settings"

# begin NAME: to one more destination, up to the first iteration's end
begin() {
	destination=$1
	await "$1" "${options[@]}"
	receive "$1" "unix:$dir/socket"
	migrate_start source "unix:$dir/socket" "${slow[@]}" --timeout 45s
	under_way || say "it did not get under way"
}

# over NAME DESTINATION CODE PATTERN: and how it ended
over() {
	wait "$migrator"
	status=$?
	check "$1: exit code $3, and why" exited "$3" "$4"
	unmoved "$1" source "$2" "$dir/settings"
	receiver_ended
}

destination=never
await never "${options[@]}"
receive never "unix:$dir/socket"
migrate source "unix:$dir/socket" "${slow[@]}" --timeout 16s
check "never converges: exit code 10, and why" exited 10 'not converged within'
say_message
unmoved "never converges" source never "$dir/settings"
receiver_ended

begin interrupt
kill -INT "$migrator"
over "Ctrl-C" interrupt 11 cancelled

begin cancel
session=$("$migctl" list -j | sed -n 's/.*"session_id":\([0-9]*\).*/\1/p')
"$migctl" cancel "$session" > "$dir/said"
result $? "migctl cancel finds it"
over "migctl cancel" cancel 11 cancelled

begin nobody
kill -9 "$receiver"
# Nobody is left to end that QEMU; it waits.
"$guest" stop nobody
over "migctl receive killed" nobody 9 ''

begin crash
kill -9 "$(cat /run/crash.pid)"
over "destination's QEMU killed" crash 9 "crash.qmp|QEMU|VMM"

exit $failed
