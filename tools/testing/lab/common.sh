# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What lab and create share; the caller has set "here".

say() {
	printf 'lab: %s\n' "$*" >&2
}

# What runs as root here, or as root of a user namespace: with mounts and
# processes of its own, which end with it.
in_namespace() {
	local -a cmd=(unshare --mount --pid --fork --kill-child)

	if [ "$(id -u)" != 0 ]; then
		cmd+=(--map-root-user --map-auto)
	fi
	# shellcheck disable=SC2154
	"${cmd[@]}" bash "$here/namespace" "$@"
}
