# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Sourced by tests in which something dies, beside lib.sh: what has become of a guest
# then. $source runs it, "${hosts[@]}" have run it so far, $dir/settings has the settings
# of $source's QEMU.

# The guest runs on at one of both: which?
winner() {
	local name

	for name in "$source" "$1"; do
		[ "$name" = "$source" ] || ! qemu_gone "$name" || continue
		[ "$(state "$name")" != running ] || echo "$name"
	done
}

no_migctl() {
	! pgrep -l '^migctl' > "$dir/left"
}

# nothing_left [KILLED]: of any migctl. What one that was KILLED had in /run/migtrack
# stays there.
nothing_left() {
	local left

	until_true "$PATIENCE" no_migctl || {
		say "processes are left:"
		show "$dir/left"
		return 1
	}
	left=$(find /run/migtrack ! -type d 2>/dev/null)
	if [ -n "$left" ]; then
		[ -n "${1:-}" ] || { say "files are left:" $left; return 1; }
		rm -f $left
	fi
	no_session
}

# n_fds NAME: sockets, pipes and files that its QEMU has open
n_fds() {
	find "/proc/$(cat "/run/$1.pid")/fd" -type l | wc -l
}

has_fds() {
	[ "$(n_fds "$1")" = "$2" ]
}

# same_fds NAME NUMBER
same_fds() {
	until_true "$PATIENCE" has_fds "$1" "$2" && return
	say "the QEMU of $1 had $2 descriptors open, and has $(n_fds "$1"):"
	find "/proc/$(cat "/run/$1.pid")/fd" -type l -printf '#   %f %l\n'
	return 1
}

has_winner() {
	[ -n "$(winner "$1")" ]
}

# The destination knows, if it knew of the migration at all. If it was migctl receive
# that died, nobody ends its QEMU, which waits.
given_up() {
	[ -z "${receiver_died:-}" ] || return 0
	grep -q '^Receiving from' "$dir/$1.receive" && { ended "$1"; return; }
	say "it had not connected yet"
	kill "$receiver"
}

# The session of a migration in doubt, if there is one.
in_doubt() {
	"$migctl" resolve -j | sed -n 's/.*"session_id":\([0-9]*\).*/\1/p' | tail -n 1
}

# resolved --here|--there: if it is in doubt
resolved() {
	local session

	session=$(in_doubt)
	[ -n "$session" ] || return 0
	"$migctl" resolve "$session" "$1" | sed 's/^/# in doubt: /'
	[ -z "$(in_doubt)" ]
}

# settled NAME: exactly one of both runs, its settings are in order, its ticks go on
settled() {
	local now

	until_true "$PATIENCE" has_winner "$1"
	now=$(winner "$1")
	case $now in
	"$source")
		until_true "$PATIENCE" same_settings "$source" "$dir/settings" > /dev/null
		same_settings "$source" "$dir/settings" && given_up "$1" && silent "$1" &&
			ticks "$source" && ticks_continue "${hosts[@]}" &&
			[ -z "$(in_doubt)" ] ;;
	"$1")
		say "it was handed over before"
		hosts+=("$1")
		ticks "$1" && ticks_continue "${hosts[@]}" &&
			same_settings "$1" "$dir/settings" &&
			in_state "$source" postmigrate paused && resolved --there ;;
	'')
		# Told to run there, maybe: nobody may resume it here by himself.
		[ -n "$(in_doubt)" ] || { say "nobody runs it, and there is no doubt"; return 1; }
		given_up "$1" && silent "$1" && resolved --here &&
			ticks "$source" && ticks_continue "${hosts[@]}" &&
			same_settings "$source" "$dir/settings" ;;
	*)
		say "both run: $now"
		return 1 ;;
	esac
}

# next_round NAME: the one of both that does not run it ends
next_round() {
	if [ "${hosts[-1]}" != "$source" ]; then
		"$guest" stop "$source"
		source=${hosts[-1]}
		settings "$source" > "$dir/settings"
	else
		"$guest" stop "$1"
	fi
}
