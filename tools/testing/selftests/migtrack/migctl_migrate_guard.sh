#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# migctl migrate is killed, at the worst instant and at any: the guest runs on.
# MIGCTL, MIGTRACK_KO, GUEST: see migctl_migrate.sh. ROUNDS is how often, SEED
# chooses the instants.

# shellcheck source-path=SCRIPTDIR source=../../guest/migrate.sh
. "${GUEST:-/src/tools/testing/guest}/migrate.sh"

rounds=${ROUNDS:-6}
RANDOM=${SEED:-$((RANDOM))}
seed=$RANDOM

plan $((UNMOVED + 2 + 2 * rounds))
say "SEED=$seed"
RANDOM=$seed

options=(-m 128M -a "verify=1 rate=2 set=16")
source=host0
hosts=(host0)
start host0 "${options[@]}"
booted host0
settings host0 > "$dir/settings"

await worst "${options[@]}"
receive worst "unix:$dir/socket"
migrate_start host0 "unix:$dir/socket" --verify=before
begun=$(now_ms)
read -r was is took when < <("$qmp" /run/host0.observer kill-at pre-switchover "$migrator")
say "state $was, then $is after ${took:-?} ms"
check "killed while the guest is stopped, at pre-switchover" test "$was" = finish-migrate
check "killed at pre-switchover: the guest runs within $RESUMED_MS ms" \
	eval "test '$is' = running && at_most '$took' $RESUMED_MS"
wait "$migrator" 2>/dev/null
until_true 5 same_settings host0 "$dir/settings" > /dev/null
unmoved "killed at pre-switchover" host0 worst "$dir/settings"
receiver_ended
# How long one takes up to the handover, about.
span=$((${when:-begun} - begun + 800))
say "the instants are within the first $span ms"

# The guest runs on at one of both: which?
winner() {
	local name

	for name in "$source" "$1"; do
		[ "$name" = "$source" ] || ! qemu_gone "$name" || continue
		[ "$(state "$name")" != running ] || echo "$name"
	done
}

# The destination knows, if it knew of the migration at all.
given_up() {
	grep -q '^Receiving from' "$dir/$1.receive" && { ended "$1"; return; }
	say "it had not connected yet"
	kill "$receiver"
}

# settled NAME: exactly one of both runs, its settings are in order, its ticks go on
settled() {
	local now

	until_true 3 eval '[ -n "$(winner "$1")" ]'
	now=$(winner "$1")
	case $now in
	"$source")
		until_true 3 same_settings "$source" "$dir/settings" > /dev/null
		same_settings "$source" "$dir/settings" && given_up "$1" && silent "$1" &&
			ticks "$source" && ticks_continue "${hosts[@]}" ;;
	"$1")
		say "it was handed over before"
		hosts+=("$1")
		ticks "$1" && ticks_continue "${hosts[@]}" &&
			in_state "$source" postmigrate paused ;;
	'')
		# Told to run there, maybe: nobody may resume it here by himself.
		say "in doubt: $(cat /run/migctl/* 2>/dev/null)"
		grep -qs 'handed-over\|in-doubt' /run/migctl/* && ended "$1" &&
			"$qmp" "/run/$source.observer" cont > /dev/null ;;
	*)
		say "both run: $now"
		return 1 ;;
	esac
}

for ((round = 1; round <= rounds; round++)); do
	name=host$round
	await $name "${options[@]}"
	receive $name "unix:$dir/socket"
	delay=$((RANDOM * span / 32768))
	migrate_start "$source" "unix:$dir/socket" --verify=before
	read -r was is took when < <("$qmp" "/run/$source.observer" kill-after $delay "$migrator")
	wait "$migrator" 2>/dev/null
	say "killed after $delay ms: state $was, then $is after ${took:-?} ms"
	check "killed at some instant ($round): the guest runs within $RESUMED_MS ms" \
		at_most "${took:-99999}" $RESUMED_MS
	check "killed at some instant ($round): once, whole, as before" settled $name
	receiver_ended
	if [ "${hosts[-1]}" != "$source" ]; then
		"$guest" stop "$source"
		source=${hosts[-1]}
		settings "$source" > "$dir/settings"
	else
		"$guest" stop $name
	fi
done

exit $failed
