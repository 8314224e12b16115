# Installs what is missing on a host, after saying what. Sourced by ./run and ./test.
# shellcheck shell=bash

# as_root COMMAND...: as it is for root, else with sudo, asked for unless the first argument of the
# caller said yes.
install_packages() { # install_packages yes|no PACKAGE...
  local yes=$1 sudo=()
  shift
  echo "install: missing here: $*" >&2
  if ! command -v apt-get >/dev/null; then
    echo "install: this host has no apt-get; on NixOS run: nix-shell -p $(nix_names "$@")" >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "install: become root and run: apt-get install $*" >&2
      exit 1
    fi
    sudo=(sudo)
    if [ "$yes" != yes ]; then
      if [ ! -t 0 ]; then
        echo "install: run again with --yes, or install these: $*" >&2
        exit 1
      fi
      read -r -p "install: run 'sudo apt-get install $*'? [y/N] " answer
      [ "$answer" = y ] || [ "$answer" = Y ] || exit 1
    fi
  fi
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

nix_names() {
  local name
  for name in "$@"; do
    case $name in
      gcc | libc6-dev) printf 'gcc ' ;;
      netcat-openbsd) printf 'netcat-openbsd ' ;;
      libelf-dev) printf 'elfutils ' ;;
      zlib1g-dev) printf 'zlib ' ;;
      libseccomp-dev) printf 'libseccomp ' ;;
      protobuf-compiler | libprotobuf-dev) printf 'protobuf ' ;;
      python3*) printf 'python3 ' ;;
      qemu-system-x86) printf 'qemu ' ;;
      systemd-container) printf 'systemd ' ;;
      *) printf '%s ' "$name" ;;
    esac
  done
}

# missing COMMAND PACKAGE: names the package when the command is not there.
missing() {
  command -v "$1" >/dev/null || printf '%s\n' "$2"
}

# Whether protoc finds the types that come with it.
protoc_knows_own_types() {
  local folder known=0
  folder=$(mktemp -d)
  echo 'syntax = "proto3"; import "google/protobuf/descriptor.proto";' >"$folder/probe.proto"
  protoc -I "$folder" -o /dev/null "$folder/probe.proto" 2>/dev/null || known=1
  rm -r "$folder"
  return "$known"
}

need_build_tools() { # need_build_tools yes|no
  if ! command -v cargo >/dev/null; then
    echo "install: no Rust toolchain; see https://rustup.rs, or: apt-get install rustup" >&2
    exit 1
  fi
  local packages
  packages=$(missing cc gcc; [ -e /usr/include/stdio.h ] || command -v nix >/dev/null || echo libc6-dev)
  # The BPF programs are compiled by clang; libbpf needs libelf and zlib.
  packages+=" $(missing clang clang; missing pkg-config pkg-config)"
  pkg-config --exists libelf 2>/dev/null || packages+=" libelf-dev"
  pkg-config --exists zlib 2>/dev/null || packages+=" zlib1g-dev"
  # etcd's messages are compiled by protoc; they name types that Debian keeps apart from it.
  packages+=" $(missing protoc protobuf-compiler)"
  protoc_knows_own_types || packages+=" libprotobuf-dev"
  # The filters of containers are built by libseccomp.
  pkg-config --exists libseccomp 2>/dev/null || packages+=" libseccomp-dev"
  packages=$(xargs <<<"$packages")
  # shellcheck disable=SC2086 # a list of names
  [ -z "$packages" ] || install_packages "$1" $packages
}

# The stores that several control planes share: tests of control-plane/ensemble and store.
need_store_tools() { # need_store_tools yes|no
  local packages
  packages=$(
    missing etcd etcd-server
    missing java default-jre-headless
    [ -e /usr/share/java/zookeeper.jar ] || echo zookeeper
  )
  # shellcheck disable=SC2086
  [ -z "$packages" ] || install_packages "$1" $packages
}

# A registry on loopback, and what fills it: tests of agentd/images.
need_image_tools() { # need_image_tools yes|no
  local packages
  packages=$(
    missing docker-registry docker-registry
    missing skopeo skopeo
    missing umoci umoci
    missing htpasswd apache2-utils
    missing mmdebstrap mmdebstrap
    missing busybox busybox-static
    missing nft nftables
    missing ip iproute2
    # Networks of containers by plugins.
    [ -e /usr/lib/cni/ptp ] || echo containernetworking-plugins
  )
  # shellcheck disable=SC2086
  [ -z "$packages" ] || install_packages "$1" $packages
}

need_smoke_tools() { # need_smoke_tools yes|no
  local packages
  packages=$(missing python3 python3; missing nc netcat-openbsd; missing openssl openssl)
  # shellcheck disable=SC2086
  [ -z "$packages" ] || install_packages "$1" $packages
}

# Modules for NixOS are evaluated without nixpkgs.
need_nix_tools() { # need_nix_tools yes|no
  local packages
  packages=$(missing nix-instantiate nix-bin; missing python3 python3)
  # shellcheck disable=SC2086
  [ -z "$packages" ] || install_packages "$1" $packages
}

# What checks rules and dashboards, and what the case `monitoring` runs.
need_monitoring_tools() { # need_monitoring_tools yes|no
  local packages
  packages=$(missing promtool prometheus; missing prometheus prometheus; missing python3 python3)
  packages=$(xargs -n1 <<<"$packages" | sort -u | xargs)
  # shellcheck disable=SC2086
  [ -z "$packages" ] || install_packages "$1" $packages
}

# What the test hosts of vm-tests/ are made of and run in.
need_vm_tools() { # need_vm_tools yes|no
  local packages
  packages=$(
    missing python3 python3
    missing mmdebstrap mmdebstrap
    missing mkfs.erofs erofs-utils
    missing mkfs.ext4 e2fsprogs
    missing cpio cpio
    missing dpkg-deb dpkg
    missing lz4 lz4
    missing strip binutils
    missing systemd-nspawn systemd-container
    missing qemu-system-x86_64 qemu-system-x86
    missing ip iproute2
    missing nft nftables
    missing nsenter util-linux
    missing nix-instantiate nix-bin
  )
  # shellcheck disable=SC2086
  [ -z "$packages" ] || install_packages "$1" $packages
}
