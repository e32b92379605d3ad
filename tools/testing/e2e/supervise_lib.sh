# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by the tests of migctl supervise, beside lib.sh: QEMU moves the guest.

# incoming NAME ADDRESS: it listens there, and runs the guest that comes
incoming() {
	ask "$1" migrate-incoming "{\"uri\": \"$2\"}" > "$dir/said" &&
		ask "$1" cont >> "$dir/said" && return
	show "$dir/said"
	return 1
}

# supervise NAME OPTIONS...: its exit code in $status, output in $dir/out and
# $dir/err
supervise() {
	local name=$1

	shift
	timeout 150 "$migctl" supervise -j --qmp "/run/$name.qmp" "$@" \
		> "$dir/out" 2> "$dir/err"
	status=$?
}

# The same in the background, as $migrator.
supervise_start() {
	local name=$1

	shift
	rm -f "$dir/out" "$dir/err"
	"$migctl" supervise -j --qmp "/run/$name.qmp" "$@" > "$dir/out" 2> "$dir/err" &
	migrator=$!
}

# over: it has ended
over() {
	wait "$migrator"
	status=$?
}

say_supervised() {
	local sent

	sent=$(field sent_bytes)
	say "$1: $(ms total_ns) ms, $((${sent:-0} >> 20)) MiB, $(field iterations) iterations," \
		"$(field passes) passes; downtime $(ms downtime_ns) ms: stop $(ms downtime_stop_ns)," \
		"check $(ms downtime_check_ns), copy $(ms downtime_copy_ns); QEMU says $(ms downtime_vmm_ns)," \
		"expected $(ms expected_downtime_ns)"
}

# in_history RESULT: a run that ended so
in_history() {
	"$migctl" history -j > "$dir/history" && grep -q "\"result\":\"$1\"" "$dir/history" && return
	"$migctl" history | sed 's/^/# /'
	return 1
}

# What the last iterations were, for whoever reads the log.
say_iterations() {
	sed -n 's/.*"iteration":\([0-9]*\).*"elapsed_ns":\([0-9]*\).*"remaining_bytes":\([0-9]*\).*"bandwidth_bytes_per_second":\([0-9]*\).*"expected_downtime_ns":\([0-9]*\).*"reason":"\([^"]*\)".*/\1 \2 \3 \4 \5 \6/p' \
		"$dir/out" | tail -n "$1" | awk '{ printf "# iteration %d at %d ms: %d KiB left, %d KiB/s, %d ms expected: %s %s\n",
			$1, $2 / 1e6, $3 / 1024, $4 / 1024, $5 / 1e6, $6, $7 }'
}

# supervised NAME SOURCE DESTINATION HOST...: the tests of a migration that worked;
# the HOSTs are those that ran the guest before SOURCE
supervised() {
	local name=$1 from=$2 to=$3

	shift 3
	check "$name: migctl supervise is content" exited 0 '"result":"completed"'
	say_supervised "$name"
	say_iterations 6
	check "$name: it ticks at the destination" ticks "$to"
	check "$name: no tick is lost or there twice, no page wrong" \
		ticks_continue "$@" "$from" "$to"
	check "$name: the source is paused" in_state "$from" postmigrate
	check "$name: its settings are as before" same_settings "$from" "$dir/settings"
	check "$name: no session is left" no_session
}
SUPERVISED=6

# stayed NAME SOURCE: those of one that did not
stayed() {
	local name=$1 from=$2

	check "$name: it ticks at the source" ticks "$from"
	check "$name: no tick is lost, no page wrong" ticks_continue "$from"
	check "$name: the settings are as before" same_settings "$from" "$dir/settings"
	check "$name: no session is left" no_session
}
STAYED=4
