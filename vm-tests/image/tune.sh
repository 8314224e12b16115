#!/usr/bin/env bash
# Turns a Debian tree into a test host that boots in seconds: modules, fewer units, the guest's side
# of the driver. Arguments: the tree, the unpacked kernel package.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$1 kernel=$2
etc=$root/etc/systemd/system

version=$(basename "$kernel"/lib/modules/*)
modules=$root/usr/lib/modules/$version
mkdir -p "$modules"
cp "$kernel/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$modules/"
wanted=(
  'net/(netfilter|ipv4|ipv6|bridge|sched|802|llc)'
  'drivers/net/(veth|virtio_net|dummy|macvlan|tun|vxlan|net_failover|vrf|ipvlan|wireguard|ifb)'
  'net/core/failover' 'fs/(overlayfs|squashfs|erofs|fuse|autofs|configfs|nls|xfs|quota)' 'drivers/virtio'
  'drivers/block/(virtio|loop|null_blk)' 'drivers/char/(virtio|hw_random)' 'drivers/md/dm-'
  'drivers/acpi/button' 'lib/' 'crypto/'
)
(
  cd "$kernel/lib/modules/$version"
  pattern=$(IFS='|'; echo "${wanted[*]}")
  find kernel -name '*.ko*' | grep -E "$pattern" | cpio -pdm --quiet "$modules"
)
chroot "$root" depmod "$version"

# Most of a boot under emulation is spent in units that a test host does not need.
mask() {
  local unit
  for unit in "$@"; do ln -sf /dev/null "$etc/$unit"; done
}
mask getty@tty1.service getty.target getty-static.service serial-getty@ttyS0.service \
  serial-getty@hvc0.service console-getty.service apt-daily.timer apt-daily-upgrade.timer \
  dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  systemd-tmpfiles-clean.timer systemd-networkd.service systemd-timesyncd.service \
  systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-pstore.service \
  systemd-firstboot.service ldconfig.service systemd-hwdb-update.service \
  systemd-journal-catalog-update.service systemd-update-done.service \
  systemd-machine-id-commit.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
  sys-kernel-debug.mount dev-hugepages.mount dev-mqueue.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount systemd-random-seed.service systemd-boot-system-token.service \
  systemd-ask-password-wall.path systemd-ask-password-console.path kmod-static-nodes.service \
  modprobe@.service systemd-user-sessions.service systemd-rfkill.socket systemd-logind.service \
  systemd-logind-varlink.socket dbus-org.freedesktop.login1.service \
  systemd-journal-flush.service systemd-journald-audit.socket systemd-repart.service \
  systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-initctl.socket \
  cryptsetup.target veritysetup.target integritysetup.target remote-fs.target \
  systemd-sysusers.service systemd-modules-load.service sys-kernel-tracing.mount \
  systemd-remount-fs.service
rm -f "$root"/usr/lib/systemd/system-generators/* "$root"/usr/lib/systemd/user-generators/*
ln -sf /lib/systemd/system/multi-user.target "$etc/default.target"
mkdir -p "$root/etc/systemd/network" "$etc/systemd-udev-trigger.service.d" \
  "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d"
ln -sf /dev/null "$root/etc/systemd/network/99-default.link"
cat >"$etc/systemd-udev-trigger.service.d/few.conf" <<'EOT'
[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add --subsystem-match=block --subsystem-match=net
EOT
printf '[Journal]\nStorage=volatile\nForwardToConsole=no\nRateLimitBurst=0\n' \
  >"$root/etc/systemd/journald.conf.d/test.conf"
printf '[Manager]\nDefaultTimeoutStopSec=10s\nDefaultTimeoutStartSec=300s\nShowStatus=no\n' \
  >"$root/etc/systemd/system.conf.d/test.conf"

# The guest's side of the driver.
install -D -m 755 -t "$root/usr/lib/tepui-test" "$here"/{backdoor,early-identity,late-identity}
install -D -m 644 -t "$etc" "$here/backdoor.service" "$here/early-identity.service"
mkdir -p "$etc/multi-user.target.wants" "$etc/sysinit.target.wants"
ln -sf ../backdoor.service "$etc/multi-user.target.wants/"
ln -sf ../early-identity.service "$etc/sysinit.target.wants/"

# Where the programs under test are seen, as installed ones would be.
mkdir -p "$root/payload" "$root/persist"
for program in tepui tepui-control-plane tepui-agentd tepui-shim; do
  ln -sf "/payload/bin/$program" "$root/usr/local/bin/$program"
done

echo tepui-test >"$root/etc/hostname"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
rm -f "$root/etc/resolv.conf"
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
  "$root"/usr/lib/udev/hwdb.bin "$root"/usr/lib/udev/hwdb.d
