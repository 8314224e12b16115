#!/usr/bin/env bash
# Makes the initrd: busybox and the modules that the root disk needs. Arguments: the tree, the
# result.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$1 result=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{bin,dev,proc,sys,modules,base,disk,new}
cp "$root/bin/busybox" "$work/bin/"
for name in sh mount insmod mkdir switch_root cat sleep; do ln -s busybox "$work/bin/$name"; done
install -m 755 "$here/init" "$work/init"

# Names are kept in the order in which they must be inserted; what is built in is not listed.
modules=("$root"/usr/lib/modules/*)
for name in virtio_pci virtio_blk virtio_console virtio_net overlay erofs virtio_rng; do
  line=$(grep -E "/${name//_/[-_]}\.ko[^:]*:" "${modules[0]}/modules.dep") || continue
  # modules.dep lists a module's needs after it, the deepest last.
  for path in $(tr ' ' '\n' <<<"${line/:/}" | tac); do
    file=$(basename "$path")
    [ ! -e "$work/modules/$file" ] || continue
    cp "${modules[0]}/$path" "$work/modules/"
    echo "$file" >>"$work/modules/order"
  done
done
(cd "$work" && find . | cpio -o -H newc --quiet -R 0:0) >"$result"
