#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libmigtrack loses no memory and reads none that it should not, and its example
# agent, compiled as C and as C++, follows a session to its end.
# shellcheck disable=SC2317
set -u

cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
n=0

modprobe migtrack || exit 1

result() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n $2"
	else
		sed 's/^/# /' "$out"/*.log
		echo "not ok $n $2"
	fi
	rm -f "$out"/*
}

# The harness forks for each test; each process is looked at by itself.
under_valgrind() {
	MIGTRACK_SLOW=$((${MIGTRACK_SLOW:-1} * 20)) \
		valgrind --quiet --error-exitcode=99 --leak-check=full \
		--errors-for-leak-kinds=definite,indirect,possible \
		--log-file="$out/valgrind-%p.log" ./library > "$out/tap.log" 2>&1 &&
		! grep -q . "$out"/valgrind-*.log
}

# waits until a file has a line that matches
said() {
	local i

	for ((i = 0; i < 600 * ${MIGTRACK_SLOW:-1}; i++)); do
		grep -q "$2" "$1" 2> /dev/null && return
		sleep 0.1
	done
	return 1
}

# The owner says its session's number, and goes on when it reads a line.
agent_follows() {
	local agent=$1 id code=0 owner

	mkfifo "$out/go"
	./library_owner > "$out/owner.log" 2>&1 < "$out/go" &
	owner=$!
	exec 3> "$out/go"
	said "$out/owner.log" '^session' || return 1
	id=$(sed -n 's/^session //p' "$out/owner.log")
	"$agent" "$id" > "$out/agent.out" 2> "$out/agent.log" &
	said "$out/agent.log" 'following' || return 1
	echo >&3
	exec 3>&-
	wait $! || code=$?
	wait $owner || return 1
	cat "$out/agent.out" >> "$out/agent.log"
	echo "exit code $code" >> "$out/agent.log"
	[ $code = 1 ] &&
		[ "$(grep -c '^iteration' "$out/agent.out")" = 3 ] &&
		grep -qx 'iteration 2: 12288 bytes left, less than before' "$out/agent.out" &&
		grep -qx 'iteration 3: 8192 bytes left, less than before' "$out/agent.out" &&
		grep -qx 'iteration 4: 40960 bytes left, slow the guest down' "$out/agent.out"
}

echo 1..4
under_valgrind
result $? "valgrind has nothing to say"
for agent in ./agent_c ./agent_cxx ./agent_static; do
	agent_follows $agent
	result $? "$agent follows a session"
done
