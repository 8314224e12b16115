#!/usr/bin/env bash
# Makes the image of the test hosts, once per recipe: a Debian tree (containers use it as it is),
# the same tree as a read-only EROFS disk, a kernel and an initrd (virtual machines). Prints its
# folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'EOT'
Usage: vm-tests/image/build.sh [--yes]

Cached under $CARGO_TARGET_DIR/tools when that is set, else $XDG_CACHE_HOME/tepui, by the hash of
the recipe. Needs root, and Debian's registry the first time.
EOT
}

yes=no
for word in "$@"; do
  case $word in
    --yes) yes=yes ;;
    --help | -h) usage; exit 0 ;;
    *) echo "build.sh: unknown option '$word'" >&2; exit 2 ;;
  esac
done
# shellcheck source=../../.ci/install.sh
. "$here/../../.ci/install.sh"
need_vm_tools "$yes"
if [ "$(id -u)" -ne 0 ]; then
  echo "build.sh: the image is made by root; run it with sudo" >&2
  exit 1
fi

# The programs under test are linked against the builder's C library, so hosts get its release.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}") || suite=
suite=${suite:-bookworm}
arch=$(dpkg --print-architecture)

if [ -n "${CARGO_TARGET_DIR:-}" ]; then
  cache=$(realpath -m "$CARGO_TARGET_DIR")/tools/vm-image
else
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/tepui/vm-image
fi
key=$(
  cd "$here"
  { echo "$suite $arch"; find . -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum; } | sha256sum | cut -c1-16
)
image=$cache/$key
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -e "$image/complete" ]; then
  touch "$image/complete"
  echo "$image"
  exit 0
fi

work=$cache/making
rm -rf "$work"
mkdir -p "$work/kernel"
trap 'rm -rf "$work"' EXIT
started=$SECONDS
echo "vm-tests: making the image of the test hosts (about a minute, once per recipe)" >&2

# What the hosts have: what systemd needs, what the daemons and their tasks need, and what cases ask
# questions with.
packages=systemd,systemd-sysv,dbus,udev,kmod,libpam-systemd,iproute2,iptables,nftables,curl,procps
packages+=,iputils-ping,busybox-static,netcat-openbsd,python3-minimal,libpython3-stdlib,strace,e2fsprogs
packages+=,xfsprogs
# What our runtime of containers is measured beside.
packages+=,crun,runc

# The kernel is only unpacked: its package would make an initrd of its own inside the tree.
# shellcheck disable=SC2016 # $1 is the hook's
fetch_kernel='set -e; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; cd '"'$work/kernel'"'
  package=$(apt-cache depends linux-image-cloud-'"$arch"' |
    sed -n "s/.*Depends: \(linux-image-[0-9].*\)/\1/p" | head -n1)
  apt-get -q download -o APT::Sandbox::User=root "$package" >&2'

mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --customize-hook="$fetch_kernel" "$suite" "$work/rootfs" >&2

dpkg-deb -x "$work"/kernel/*.deb "$work/kernel/tree"
"$here/tune.sh" "$work/rootfs" "$work/kernel/tree"
"$here/initrd.sh" "$work/rootfs" "$work/initrd.cpio"
python3 "$here/vmlinux.py" "$work"/kernel/tree/boot/vmlinuz-* "$work/vmlinux"
mkfs.erofs --quiet -zlz4 "$work/base.erofs" "$work/rootfs" >/dev/null

# Clones share this empty file system: each gets a sparse copy.
truncate -s 2G "$work/blank.img"
mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 "$work/blank.img"
rm -rf "$work/kernel"
touch "$work/complete"

# Images that nobody used for two days go.
find "$cache" -mindepth 2 -maxdepth 2 -name complete -mtime +1 -printf '%h\0' | xargs -0r rm -rf
mv "$work" "$image"
trap - EXIT
echo "vm-tests: image made in $((SECONDS - started)) s: $(du -sh "$image" | cut -f1)" >&2
echo "$image"
