#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A migration over a slow network, and over one that is cut. The other host is
# a network namespace. MIGCTL, MIGTRACK_KO, GUEST: see migctl_migrate.sh.

# shellcheck source-path=SCRIPTDIR source=../../guest/migrate.sh
. "${GUEST:-/src/tools/testing/guest}/migrate.sh"

plan $((MOVED + 2 + UNMOVED + 1))

far=far
address=192.0.2.2:4711
rate=8000000
limit_ms=400

ip netns add $far
ip link add near0 type veth peer name far0 netns $far
ip addr add 192.0.2.1/24 dev near0
ip link set near0 up
ip -n $far addr add 192.0.2.2/24 dev far0
ip -n $far link set far0 up
tc qdisc add dev near0 root tbf rate $((rate * 8))bit burst 64k latency 50ms

options=(-m 128M -a "verify=1 rate=2 set=16")
start source "${options[@]}"
await there "${options[@]}"
booted source

# Cut first: the guest stays, and can be moved afterwards.
settings source > "$dir/settings"
destination=cut
await cut "${options[@]}"
receive cut $address --insecure
cut_receiver=$receiver
migrate_start source $address --insecure --max-bandwidth 4M
sleep 4
ip link set near0 down
begun=$(now_ms)
wait "$migrator"
status=$?
say "noticed after $(($(now_ms) - begun)) ms"
check "link cut: exit code 9" exited 9
unmoved "link cut" source cut "$dir/settings"
wait "$cut_receiver"
ip link set near0 up

receive there $address --insecure
migrate source $address --insecure --downtime ${limit_ms}ms
moved "8 MB/s" source there
# Of the first pass, the longest one; later ones are too short for much.
measured=$(sed -n '/"bandwidth_source":"measured"/s/.*"bandwidth_bytes_per_second":\([0-9]*\).*/\1/p' "$dir/out")
say "bandwidth measured, of $rate bytes/s:" $measured
measured=${measured%%$'\n'*}
check "8 MB/s: measured within 30 %" \
	eval "at_least ${measured:-0} $((rate * 7 / 10)) && at_most ${measured:-0} $((rate * 13 / 10))"
# The guest writes until it has stopped: somewhat more than what was decided on.
check "8 MB/s: the last copy takes about what was allowed" \
	at_most "$(ms downtime_copy_ns)" $((limit_ms * 5 / 4))

exit $failed
