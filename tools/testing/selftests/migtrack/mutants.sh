#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The tests notice a tracker that is wrong: for each step of its algorithm, one
# that leaves it out fails a test that the whole one passes. MIGTRACK_KO names a
# module built with MIGTRACK_MUTANTS: mutants.sh [STEP...], all if none is named.
set -u

cd "$(dirname "$0")" || exit 1
without=/sys/module/migtrack/parameters/without
log=$(mktemp)
# What hides for a moment only may take more than one try.
TRIES=10
# The exit code of a program whose tests were all skipped.
SKIPPED=4

# STEP PROGRAM OPTIONS: the tests of which one is to fail
mutants=(
	"others		events	-t backend_unmaps"
	"adoption	events	-t backend_exits"
	"unproven	slow_event	-t writes_before_it_is_adopted"
	"untracked	events	-t mapping_born_during_a_sync"
	"release	slow_event	-t ends_during_an_event"
	"forked		events_map	-t child_writes_and_exits"
	"present	window	-t a_page_is_put_there_protected"
	"marks		events	-t hole_punched"
	"keep		window	-t an_invalidation_outlives_syncs"
	"punch		window	-t a_hole_outlives_syncs"
	"protection	events	-t backend_only_reads_now"
	"count		writers_kvm	-t misses_nothing"
	"seq		window	-t an_event_between_walk_and_protection"
	"carry		held"
	"flush		late_flush"
	"echo		late_flush	-v reclaim"
	"atomic		exact	-t taken_while_it_syncs"
	"algorithm	exact	-t equals_kvms_dirty_log"
)

# Those that were asked for.
chosen=()
for mutant in "${mutants[@]}"; do
	read -r step _ <<< "$mutant"
	[ $# != 0 ] && [[ " $* " != *" $step "* ]] || chosen+=("$mutant")
done
if [ $# != 0 ] && [ ${#chosen[@]} != $# ]; then
	echo "Bail out! no such step among: $*"
	exit 2
fi

rmmod migtrack 2>/dev/null
if ! insmod "${MIGTRACK_KO:-}" || [ ! -e $without ]; then
	echo "1..0 # SKIP needs MIGTRACK_KO, a module built with MIGTRACK_MUTANTS=1"
	exit 4
fi
trap 'rmmod migtrack; rm -f "$log"' EXIT

# fails PROGRAM OPTIONS: it ran to its end, and was not content
fails() {
	# shellcheck disable=SC2086
	"./$1" $2 > "$log" 2>&1 && return 1
	grep -q '^not ok' "$log"
}

noticed() {
	local try

	for ((try = 1; try <= TRIES; try++)); do
		fails "$@" && return
	done
	return 1
}

# It is content, and had something to be content with: a busy machine may be too slow.
passes() {
	local status try

	for ((try = 1; try <= TRIES; try++)); do
		"./$1" > "$log" 2>&1
		status=$?
		[ $status = 0 ] || [ $status = $SKIPPED ] || return
		[ $status = $SKIPPED ] || grep -q '# SKIP' "$log" || return 0
	done
	return 1
}

echo "TAP version 13"
echo "1..$((${#chosen[@]} + 1))"
n=0
failed=0
# The one that the runner has not run: it takes more CPUs.
if passes late_flush; then
	echo "ok $((++n)) without none: late_flush passes"
	grep 'rounds' "$log"
else
	failed=1
	echo "not ok $((++n)) without none: late_flush passes"
	sed 's/^#* */# /' "$log"
fi
for mutant in "${chosen[@]}"; do
	read -r step program options <<< "$mutant"
	echo "$step" > $without
	if noticed "$program" "$options"; then
		echo "ok $((++n)) without $step: $program ${options#-t } fails"
		grep -E 'Expected|missed' "$log" | sed 's/^#* */# /' | head -n 2
	else
		failed=1
		echo "not ok $((++n)) without $step: $program ${options#-t } fails"
		sed 's/^#* */# /' "$log"
	fi
done
exit $failed
