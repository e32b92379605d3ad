# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# TAP for the lab's own tests: check NAME COMMAND..., and finish at the end.
tap_count=0
tap_failed=0

check() {
	local name=$1 output

	shift
	tap_count=$((tap_count + 1))
	if output=$("$@" 2>&1); then
		printf 'ok %d %s\n' $tap_count "$name"
	else
		printf 'not ok %d %s\n' $tap_count "$name"
		printf '%s\n' "$output" | sed 's/^/# /'
		tap_failed=$((tap_failed + 1))
	fi
}

# gives CODE PATTERN COMMAND...: it ends with that code and says that
gives() {
	local code=$1 pattern=$2 output status=0

	shift 2
	output=$("$@" 2>&1) || status=$?
	if [ $status != "$code" ]; then
		printf 'exit code %d, not %d\n%s\n' $status "$code" "$output"
		return 1
	fi
	if ! grep -qE -- "$pattern" <<< "$output"; then
		printf 'does not say "%s":\n%s\n' "$pattern" "$output"
		return 1
	fi
}

finish() {
	printf '1..%d\n' $tap_count
	[ $tap_failed = 0 ]
}
