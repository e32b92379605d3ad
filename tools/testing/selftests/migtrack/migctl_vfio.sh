#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# migctl on a real QEMU with VFIO devices: it finds them by itself, shows what they
# have to move, also while QEMU migrates, and leaves them free to go.

# shellcheck source-path=SCRIPTDIR source=shell_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/shell_lib.sh"

migctl=$(type -P "${MIGCTL:-migctl}")
dir=$(mktemp -d /dev/shm/migctl-vfio-XXXXXX)
types=/sys/class/mdev_bus/vfio_testdev/mdev_supported_types
mdevs=/sys/bus/mdev/devices
slow=${MIGTRACK_SLOW:-1}

# mdev TYPE: its name to stdout
mdev() {
	local uuid

	uuid=$(cat /proc/sys/kernel/random/uuid)
	echo "$uuid" > "$types/vfio_testdev-$1/create" && echo "$uuid"
}

# qmp COMMANDS...: to the second socket of the QEMU; prints what the last returns
qmp() {
	python3 - "$dir/qmp2" "$@" <<-'END'
		import json, socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(120)
		s.connect(sys.argv[1])
		f = s.makefile('rw')
		f.readline()
		for command in ['{"execute": "qmp_capabilities"}'] + sys.argv[2:]:
		    f.write(command + '\n')
		    f.flush()
		    while True:
		        reply = json.loads(f.readline())
		        if 'return' in reply or 'error' in reply:
		            break
		    if 'error' in reply:
		        sys.exit(f'{command}: {reply["error"]["desc"]}')
		print(json.dumps(reply['return']))
	END
}

# start MEMORY-OPTIONS MIGRATION UUID...: a QEMU whose guest has no system
start() {
	local memory=$1 migration=$2 i=0 uuid
	local -a devices=()

	shift 2
	[ -z "$groupless" ] || devices=(-object "iommufd,id=iommufd")
	for uuid; do
		devices+=(-device "vfio-pci,id=dev$((i++)),sysfsdev=$mdevs/$uuid,enable-migration=$migration${groupless:+,iommufd=iommufd}")
	done
	rm -f "$dir/qmp" "$dir/qmp2"
	qemu-system-x86_64 -machine q35,memory-backend=ram -accel kvm -m 64 -nodefaults \
		-display none -object "$memory" "${devices[@]}" \
		-qmp "unix:$dir/qmp,server=on,wait=off" \
		-qmp "unix:$dir/qmp2,server=on,wait=off" 2> "$dir/qemu" &
	qemu=$!
	for ((i = 0; i < 600 * slow; i++)); do
		[ -S "$dir/qmp2" ] && return
		kill -0 $qemu 2>/dev/null || break
		sleep 0.1
	done
	sed 's/^/# /' "$dir/qemu"
	return 1
}

# Its devices are saved then.
migrates() {
	qmp '{"execute": "query-migrate"}' | grep -q '"status": "active"'
}

stop() {
	kill -9 "$qemu" 2>/dev/null
	wait "$qemu" 2>/dev/null
}

cleanup() {
	stop
	for uuid in "${uuids[@]}"; do
		echo 1 > "$mdevs/$uuid/remove"
	done
	rm -rf "$dir"
}

track() {
	timeout $((300 * slow)) "$migctl" track --qmp "$dir/qmp" "$@" > "$dir/out" 2> "$dir/err" &&
		return
	sed 's/^/# /' "$dir/err" "$dir/out" "$dir/qemu"
	return 1
}

if [ "$(id -u)" != 0 ] || [ -z "$migctl" ] || ! type -P qemu-system-x86_64 > /dev/null; then
	echo "1..0 # SKIP needs root, migctl and QEMU"
	exit 4
fi
modprobe -aq mdev vfio vfio_iommu_type1
if ! [ -e $types ] && ! insmod "${MIGTRACK_TEST_MODULES:-}/vfio_testdev/vfio_testdev.ko"; then
	echo "1..0 # SKIP no device for tests"
	exit 4
fi
groupless=
[ -e /dev/vfio/vfio ] || groupless=yes
# What VFIO reports a device's log by.
reports=
! grep -qE ' iova_bitmap_set($|[[:space:]])' /proc/kallsyms || reports=yes
# QEMU can use no device's log on kernels without IOMMUFD, and then uses its own.
uuids=("$(mdev nolog)" "$(mdev full)" "$(mdev fixed)" "$(mdev nolog)")
second=${uuids[3]}
trap cleanup EXIT

echo "TAP version 13"
echo "1..34"
shared=memory-backend-file,id=ram,size=64M,share=on,mem-path=$dir/ram
private=memory-backend-ram,id=ram,size=64M
knobs=$mdevs/${uuids[0]}/testdev
mib=$((1 << 20))

"$migctl" check -j > "$dir/out"
holds "check opens devices that nobody uses" \
	"[c['detail'] for c in rows if c.get('name') == '${uuids[1]}'] == ['VFIO device, not in use: can migrate; P2P, precopy, dirty log']"
holds "and names one that can't migrate" \
	"[c['state'] for c in rows if c.get('name') == '${uuids[2]}'] == ['advice']"

# A host whose VFIO has no containers: the device's own file, if there is an iommufd.
mv /dev/vfio/vfio /dev/vfio/away 2>/dev/null
"$migctl" check -j > "$dir/out"
if [ -e /dev/iommu ]; then
	holds "without containers it opens the device's own file" \
		"[c['detail'] for c in rows if c.get('name') == '${uuids[1]}'] == ['VFIO device, not in use: can migrate; P2P, precopy, dirty log']"
else
	holds "without containers and iommufd a device can't be asked" \
		"[(c['state'], 'No such file' in c['detail']) for c in rows if c.get('name') == '${uuids[1]}'] == [('advice', True)]"
fi
# In use by one who has it by its own file.
hold=
who='not in use'
if [ -e /dev/iommu ]; then
	mkfifo "$dir/held"
	python3 - "${uuids[0]}" "$dir/held" <<-'END' &
		import fcntl, os, struct, sys
		sysfs = f'/sys/bus/mdev/devices/{sys.argv[1]}/vfio-dev'
		fd = os.open(f'/dev/vfio/devices/{os.listdir(sysfs)[0]}', os.O_RDWR)
		iommu = os.open('/dev/iommu', os.O_RDWR)
		fcntl.ioctl(fd, ord(';') << 8 | 118, struct.pack('IIiI', 16, 0, iommu, 0))
		open(sys.argv[2], 'w').close()
		open(sys.argv[2]).read()
	END
	hold=$!
	who="process $hold"
	cat "$dir/held"
	"$migctl" check -j > "$dir/out"
fi
holds "one that is in use is told once" \
	"[c['detail'].split(':')[0] for c in rows if c.get('name') == '${uuids[0]}'] == ['VFIO device, $who']"
[ -z "$hold" ] || : > "$dir/held"
[ -z "$hold" ] || wait "$hold"
mv /dev/vfio/away /dev/vfio/vfio 2>/dev/null

start "$shared" on "${uuids[0]}"
result $? "a QEMU with a device starts"
rmmod migtrack_vfio
[ ! -e /sys/module/migtrack_vfio ] && track -i 100ms -n 1 -j
result $? "the module is loaded when it is needed first"
holds "and the device is tracked at once" '[v["tracked"] for v in of("vfio")] == [True]'
echo $((1911 * mib)) > "$knobs/stop_bytes"
track -i 300ms -n 2 -j
result $? "track finds the device"
holds "by its name, and it is tracked" \
	"[v['name'] for v in of('vfio')] == ['${uuids[0]}'] and of('vfio')[0]['tracked']"
holds "a row of it with each interval" \
	'len(of("device")) == 3 and all(d["state"] == "running" for d in of("device"))'
holds "its stop-only state is counted" \
	"len(of('interval')) == 2 and all(1911 * $mib <= d['stopcopy_bytes'] < 1913 * $mib for d in of('device')) and all(i['remaining_bytes'] >= 1911 * $mib for i in of('interval'))"
"$migctl" check -j > "$dir/out"
holds "check tells what it can do, by the descriptor of its user" \
	"[c['detail'] for c in rows if c.get('name') == '${uuids[0]}'] == ['VFIO device, process $qemu: can migrate; P2P, precopy, no dirty log']"
track -i 300ms -n 1
grep -qE '^  DEVICE +STATE +PRECOPY +STOP-COPY +AGE +FLAGS$' "$dir/out" &&
	grep -qE "^  ${uuids[0]} +running +0 +1\.9 GiB +[0-9.]+ [mu]s +-$" "$dir/out"
status=$?
[ $status = 0 ] || sed 's/^/# /' "$dir/out"
result $status "and shown to people"

# QEMU migrates: the data descriptor turns up, and there is one of each.
echo 1000000 > "$knobs/dirty_rate"
echo 500000 > "$knobs/dirty_max"
qmp '{"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 1000000, "downtime-limit": 1}}' \
	'{"execute": "migrate", "arguments": {"uri": "exec:cat > /dev/null"}}' > /dev/null
result $? "QEMU migrates"
sooner_or_later migrates
track -i 500ms -n 4 -j
result $? "track goes on meanwhile"
holds "the device is in precopy, and its precopy part is known" \
	'(d := of("device")[-1])["state"] == "pre-copy" and d["precopy_initial_bytes"] is not None and d["flags"] == ["exact"]'
holds "the stop-only part is not in it" \
	"1910 * $mib <= of('device')[-1]['stopcopy_bytes'] < 1913 * $mib"
echo "# QEMU: $(qmp '{"execute": "query-migrate"}')"
qmp '{"execute": "migrate_cancel"}' > /dev/null

# The guest goes on; the device is unplugged while it is tracked. Without a system in
# the guest QEMU can't ask it, so the VMM is killed instead.
track -i 200ms -j > /dev/null &
tracker=$!
for ((i = 0; i < 100 * slow; i++)); do
	grep -q '"interval"' "$dir/out" && break
	sleep 0.1
done
begin=$(date +%s%3N)
stop
echo 1 > "$mdevs/${uuids[0]}/remove"
[ $(($(date +%s%3N) - begin)) -lt $((3000 * slow)) ]
result $? "with the VMM killed the device can be removed within 3 s"
wait $tracker
grep -q exited "$dir/err"
status=$?
[ $status = 0 ] || sed 's/^/# /' "$dir/err" "$dir/out"
result $status "track says that the process is gone"
unset 'uuids[0]'
uuids=("${uuids[@]}")

# Two devices that are both saved: nothing says whose data a descriptor is of.
first=$(mdev nolog)
uuids+=("$first")
start "$shared" on "$first" "$second"
result $? "a QEMU with two devices starts"
qmp '{"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 1000000, "downtime-limit": 1}}' \
	'{"execute": "migrate", "arguments": {"uri": "exec:cat > /dev/null"}}' > /dev/null
result $? "and migrates"
sooner_or_later migrates
track -i 300ms -n 2 -j
holds "data that can't be told apart is said to be unattributed, once" \
	'[(u["descriptors"], u["devices"]) for u in of("unattributed")] == [(2, 2)]'
holds "and no device is given another's" \
	'len(d := of("device")[-2:]) == 2 and all(r["state"] == "pre-copy" and r["precopy_initial_bytes"] is None and r["precopy_bytes"] == 0 and r["stopcopy_bytes"] > 0 for r in d)'
track -i 300ms -n 1 --dma-log -j
grep -q "QEMU migrates the guest (active)" "$dir/err" && grep -q "has one DMA log" "$dir/err"
result $? "a log is not taken from a QEMU that migrates"
qmp '{"execute": "migrate_cancel"}' > /dev/null
stop

# What devices write.
start "$shared" auto "${uuids[0]}"
result $? "a QEMU whose device has a DMA log starts"
track -i 300ms -n 2 --dma-log -j
result $? "track --dma-log"
if [ $reports ]; then
	holds "its log is read" \
		'len(l := of("dma_log")) == 3 and all(r["state"] == "on" for r in l[1:]) and l[-1]["dirty_bytes"] == 0'
else
	holds "a kernel that can't report it says why" \
		'[("CONFIG_IOMMUFD_DRIVER" in r["reason"], r["name"]) for r in of("dma_log_refused")] == [(True, "'"${uuids[0]}"'")]'
fi
stop
unset 'uuids[3]' 'uuids[2]'
for uuid in "$first" "$second"; do
	echo 1 > "$mdevs/$uuid/remove"
done

# Memory that can't be tracked, two devices, and one that can't migrate.
start "$private" auto "${uuids[@]}"
result $? "a QEMU with private memory and two devices starts"
track -i 300ms -n 2 -j
result $? "devices alone can be tracked"
holds "the memory is not" 'not of("memory")[0]["tracked"]'
holds "a device that can't migrate is named with the reason" \
	'sorted(v["tracked"] for v in of("vfio")) == [False, True] and any("migrate" in v.get("reason", "") for v in of("vfio"))'
holds "the other one has its rows" 'len(of("device")) == 3'
stop
wait
"$migctl" list -j > "$dir/out"
holds "no session is left" 'rows == []'
for ((i = 0; i < 300; i++)); do
	rmmod migtrack_vfio 2>/dev/null && break
	sleep 0.1
done
[ ! -e /sys/module/migtrack_vfio ]
result $? "nothing holds the module"
exit $failed
