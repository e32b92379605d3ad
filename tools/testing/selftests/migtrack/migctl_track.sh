#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# migctl as an operator uses it, on a process that writes a known set of pages
# and on a real QEMU. MIGCTL names the program, MIGTRACK_KO the module.

# shellcheck source-path=SCRIPTDIR source=shell_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/shell_lib.sh"

migctl=$(type -P "${MIGCTL:-migctl}")
dir=$(mktemp -d /dev/shm/migctl-track-XXXXXX)
ram=$dir/ram

cleanup() {
	jobs -p | xargs -r kill 2>/dev/null
	rm -rf "$dir"
}

# run NAME EXIT-CODE MIGCTL-ARGUMENTS...: output to $dir/out
run() {
	local name=$1 code=$2 status

	shift 2
	timeout $((300 * ${MIGTRACK_SLOW:-1})) "$migctl" "$@" > "$dir/out" 2> "$dir/err"
	status=$?
	[ $status = "$code" ] && { result 0 "$name"; return; }
	echo "# migctl $*: exit $status, wanted $code"
	sed 's/^/# /' "$dir/err"
	result 1 "$name"
}

says() {
	local name=$1 pattern

	shift
	for pattern; do
		grep -qE -- "$pattern" "$dir/out" && continue
		echo "# no line '$pattern' in:"
		sed 's/^/# /' "$dir/out"
		result 1 "$name"
		return
	done
	result 0 "$name"
}

# Each sample's metric has its help and type before it, and a number behind it.
reads_as_metrics() {
	python3 - "$dir/out" <<-'END'
		import re, sys
		typed = set()
		for line in open(sys.argv[1]):
		    if match := re.fullmatch(r'# TYPE ([a-z_]+) gauge\n', line):
		        typed.add(match[1])
		    elif re.fullmatch(r'# HELP [a-z_]+ \S.*\n', line):
		        continue
		    else:
		        match = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9]+(\.[0-9]+)?\n', line)
		        if not match or match[1] not in typed:
		            sys.exit(f'# no metric: {line}')
		sys.exit(not typed)
	END
	result $? "$1"
}

# Writes 100 pages from page 1000 on, all the time; the file is descriptor 9.
write_pages() {
	rm -f "$dir/ready"
	python3 - "$dir/ready" 9<> "$ram" <<-'END' &
		import mmap, sys, time
		memory = mmap.mmap(9, 0)
		memory[:] = b'x' * len(memory)
		count = 0
		while True:
		    count = (count + 1) % 256
		    for page in range(1000, 1100):
		        memory[page * 4096] = count
		    open(sys.argv[1], 'w').close()
		    time.sleep(0.02)
	END
	writer=$!
	until [ -e "$dir/ready" ]; do sleep 0.1; done
}

has_seen() {
	[ "$(wc -l < "$dir/events")" = "$1" ]
}

if [ "$(id -u)" != 0 ] || [ -z "$migctl" ]; then
	echo "1..0 # SKIP needs root and migctl"
	exit 4
fi
load || { echo "Bail out! the module does not load"; exit 1; }
trap cleanup EXIT
truncate -s 16M "$ram"
write_pages

echo "TAP version 13"
echo "1..40"

run "track by path" 0 track --pid $writer --ram "$ram" -i 1s -n 3 -j
holds "an object per interval" \
	'[i["iteration"] for i in of("interval")] == [2, 3, 4]'
holds "exactly the written pages are found" \
	'[i["dirty_pages"] for i in of("interval")] == [100] * 3'
holds "pages and bytes agree" \
	'all(i["dirty_bytes"] == 409600 for i in of("interval"))'
holds "the working set is what was written" \
	'of("summary")[0]["working_set_bytes"] == 409600'
holds "the summary adds up" \
	'(s := of("summary")[0]) and s["intervals"] == 3 and s["dirty_bytes"] == 3 * 409600 and s["length_bytes"] == 16 << 20 and 2.9e9 < s["elapsed_ns"] < 60e9 and "exact" in s["flags"]'
holds "the memory is named" \
	'(m := of("memory")[0]) and m["tracked"] and m["path"].endswith("/ram")'

run "track by descriptor" 0 track --pid $writer --ram fd:9 -i 1 -n 1 -j
holds "it is the same memory" 'of("interval")[0]["dirty_pages"] == 100'

run "track two ranges" 0 track --pid $writer -i 1s -n 2 -j \
	--ram "$ram,length=2M" --ram "$ram,offset=4000K,length=200K"
holds "only their pages are found" \
	'[i["dirty_pages"] for i in of("interval")] == [50] * 2 and len(of("memory")) == 2'

# Four, the last of which is shorter, less those that a busy machine is too late for.
run "track for people" 0 track --pid $writer --ram "$ram" -i 300ms -d 1s
says "a head, lines and a summary" '^ITERATION +DIRTY PAGES' \
	'^ +[2-5] +100 ' '^intervals +[1-4]$' '^working set +400.0 KiB$'

# A private mapping in another process is in the way: said and explained.
python3 - "$ram" "$dir/barrier" <<-'END' &
	import mmap, sys, time
	fd = open(sys.argv[1], 'r+b')
	memory = mmap.mmap(fd.fileno(), 0, mmap.MAP_PRIVATE)
	open(sys.argv[2], 'w').close()
	time.sleep(60)
END
until [ -e "$dir/barrier" ]; do sleep 0.1; done
run "track beside a private mapping" 0 track --pid $writer --ram "$ram" -i 300ms -n 2
says "the flag is explained once" '^flags +barrier' '^barrier: .*too high'
kill $!

"$migctl" monitor -j -n 4 > "$dir/events" &
monitor=$!
sooner_or_later subscribed $monitor
"$migctl" track --pid $writer --ram "$ram" -i 300ms > "$dir/log" &
track=$!
# By then it has seen what it is to see, and has ended.
sooner_or_later has_seen 4
run "list" 0 list
says "the session and its process" "SESSION" " $writer python3"
run "list for programs" 0 list -j
holds "one session with its process" \
	"len(rows) == 1 and rows[0]['pids'] == [$writer] and rows[0]['iteration'] > 1"
session=$(sed -n 's/.*"session_id":\([0-9]*\).*/\1/p' "$dir/out")
run "show" 0 show "$session"
says "session and source" "^session +$session$" "^  pid +$writer$" "^  length +16.0 MiB$"
run "metrics" 0 show --prometheus
says "of the session" \
	"^migtrack_session_remaining_bytes\\{session=\"$session\",kind=\"precopy\"\\} [1-9]" \
	"^migtrack_session_iteration\\{session=\"$session\"\\} [1-9]" \
	"^migtrack_session_sync_age_seconds\\{session=\"$session\"\\} [0-9]\\."
reads_as_metrics "every line is one that Prometheus reads"
run "metrics of a session that is not there" 5 show --prometheus 999999
kill -INT $track
wait $track
status=$?
mv "$dir/log" "$dir/out"
[ $status = 0 ]
result $? "Ctrl-C ends it without an error"
says "and with a summary" '^intervals +[1-9]'
wait $monitor
mv "$dir/events" "$dir/out"
holds "monitor saw it begin and iterate" \
	'[r["event"] for r in rows] == ["session-new", "source-change", "session-iteration", "session-iteration"]'

# Stopped while more events come than its socket holds.
"$migctl" monitor -j > "$dir/events" &
monitor=$!
sooner_or_later subscribed $monitor
kill -STOP $monitor
run "track every millisecond" 0 track --pid $writer --ram "$ram" -i 1ms -n 1500
kill -CONT $monitor
sooner_or_later grep -q '"type":"lost"' "$dir/events"
sleep 2
kill -TERM $monitor
wait $monitor
mv "$dir/events" "$dir/out"
holds "a monitor that lost events says so" 'of("lost") and of("event")'

"$migctl" track --pid $writer --ram "$ram" -i 300ms -j > "$dir/log" 2>/dev/null &
track=$!
sooner_or_later grep -q '"type":"interval"' "$dir/log"
kill -9 $writer
wait $writer 2>/dev/null
wait $track
status=$?
mv "$dir/log" "$dir/out"
[ $status = 5 ]
result $? "the process exits meanwhile: exit code 5"
holds "with a summary, then the error" \
	'[r["type"] for r in rows[-2:]] == ["summary", "error"] and of("summary")[0]["intervals"] > 0 and rows[-1]["error"]["code"] == "gone"'
# One that does not come about is in the history, and the last run.
run "a QEMU that is not there" 7 supervise --qmp "$dir/nobody" --to tcp:127.0.0.1:1
run "history" 0 history -j -n 1
holds "it has that, and why" \
	'rows[0]["result"] == "not-started" and rows[0]["exit"] == 7 and "nobody" in rows[0]["why"]'
"$migctl" show --prometheus > "$dir/out"
says "and so have the metrics" \
	'^migtrack_last_run_info\{command="supervise",result="not-started"\} 1$'

run "no session is left" 0 list -j
holds "none at all" 'rows == []'

if ! type -P qemu-system-x86_64 > /dev/null; then
	echo "ok 39 track a QEMU # SKIP no QEMU"
	echo "ok 40 all kinds of back ends # SKIP no QEMU"
	exit $failed
fi
qemu-system-x86_64 -accel tcg -S -display none -nodefaults -m 16M \
	-machine q35,memory-backend=m0 \
	-object "memory-backend-file,id=m0,size=16M,share=on,mem-path=$dir/m0" \
	-object memory-backend-memfd,id=m1,size=4M \
	-object memory-backend-memfd,id=m2,size=8M \
	-object "memory-backend-file,id=m3,size=4M,share=on,mem-path=$dir" \
	-object "memory-backend-file,id=m4,size=4M,share=off,mem-path=$dir/m4" \
	-object memory-backend-ram,id=m5,size=4M \
	-qmp "unix:$dir/qmp,server=on,wait=off" &
until [ -S "$dir/qmp" ]; do sleep 0.1; done
sleep 1
run "track a QEMU" 0 track --qmp "$dir/qmp" -i 300ms -n 1 -j
holds "all kinds of back ends" \
	'{m["id"]: m["tracked"] for m in of("memory")} == {"m0": True, "m1": True, "m2": True, "m3": True, "m4": False, "m5": False} and all(m["tracked"] or m["reason"] and m["advice"] for m in of("memory"))'

exit $failed
