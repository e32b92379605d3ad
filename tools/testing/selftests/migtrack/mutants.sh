#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The tests notice a tracker that is wrong: for each step of its algorithm, one
# that leaves it out fails a test that the whole one passes. MIGTRACK_KO names a
# module built with MIGTRACK_MUTANTS: mutants.sh [STEP...], all if none is named, and
# then each test is also shown to pass with all steps of that module. With some, only
# what the runner has not run with the shipped one is: it takes more CPUs.
set -u

cd "$(dirname "$0")" || exit 1
without=/sys/module/migtrack/parameters/without
log=$(mktemp)
# What hides for a moment only may take more than one try.
TRIES=10
# The exit code of a program whose tests were all skipped.
SKIPPED=4

# STEP WHAT PROGRAM OPTIONS: the tests of which one is to fail, and what in it: a test
# that could not even begin has noticed nothing
mutants=(
	"others		missed		events	-t backend_unmaps"
	"adoption	missed		events	-t backend_exits"
	"unproven	missed		slow_event	-t writes_before_it_is_adopted"
	"untracked	lost		events	-t mapping_born_during_a_sync"
	"uncovered	missed		events	-t backend_drops_a_new_mappings_entries"
	"exit		missed		events	-t backend_exits"
	"unseen		missed		events	-t backend_exits_from_a_new_mapping"
	"release	unsettled	slow_event	-t ends_during_an_event"
	"forked		missed		events_map	-t child_writes_and_exits"
	"present	harvest_took	window	-t a_page_is_put_there_protected"
	"huge		missed		events_huge	-t collapsed_before_the_sync"
	"marks		missed		events	-t hole_punched"
	"keep		missed		window	-t an_invalidation_outlives_syncs"
	"punch		missed		window	-t a_hole_outlives_syncs"
	"protection	missed		events	-t backend_only_reads_now"
	"count		missed		writers_kvm	-t misses_nothing"
	"seq		missed		window	-t an_event_between_walk_and_protection"
	"carry		missed		held"
	"flush		missed		late_flush"
	"echo		missed		late_flush	-v reclaim"
	"atomic		taken		exact	-t taken_while_it_syncs"
	"algorithm	memcmp		exact	-t equals_kvms_dirty_log"
)

# is_shown MUTANT NAMED: its test is to pass with all steps, too
is_shown() {
	[ "$2" = 0 ] || [[ $1 == *late_flush* ]]
}

# Those that were asked for.
chosen=()
shown=0
for mutant in "${mutants[@]}"; do
	read -r step _ <<< "$mutant"
	[ $# != 0 ] && [[ " $* " != *" $step "* ]] && continue
	chosen+=("$mutant")
	! is_shown "$mutant" $# || ((shown++))
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

# fails WHAT PROGRAM OPTIONS: it ran to its end, and this is what it was not content with
fails() {
	# shellcheck disable=SC2086
	"./$2" $3 > "$log" 2>&1 && return 1
	grep -q "Expected .*$1" "$log"
}

# Sets try.
noticed() {
	for ((try = 1; try <= TRIES; try++)); do
		fails "$@" && return
	done
	return 1
}

# passes PROGRAM OPTIONS: it is content, and had something to be content with: a busy
# machine may be too slow. Sets try.
passes() {
	local status

	for ((try = 1; try <= TRIES; try++)); do
		# shellcheck disable=SC2086
		"./$1" $2 > "$log" 2>&1
		status=$?
		[ $status = 0 ] || [ $status = $SKIPPED ] || return
		[ $status = $SKIPPED ] || grep -q '# SKIP' "$log" || return 0
	done
	return 1
}

n=0
failed=0
begun=$SECONDS
# result STATUS TEXT: of what took since the last one
result() {
	if [ "$1" = 0 ]; then
		echo "ok $((++n)) $2, try $try, $((SECONDS - begun)) s"
		grep -E 'Expected|missed' "$log" | sed 's/^#* */# /' | head -n 2
	else
		failed=1
		echo "not ok $((++n)) $2"
		sed 's/^#* */# /' "$log"
	fi
	begun=$SECONDS
}

echo "TAP version 13"
echo "1..$((shown + ${#chosen[@]}))"
for mutant in "${chosen[@]}"; do
	read -r step what program options <<< "$mutant"
	if is_shown "$mutant" $#; then
		echo none > $without
		passes "$program" "$options"
		result $? "with all steps: $program ${options#-? } passes"
	fi
	echo "$step" > $without
	noticed "$what" "$program" "$options"
	result $? "without $step: $program ${options#-? } fails"
done
exit $failed
