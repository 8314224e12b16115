#!/usr/bin/env python3
"""What the package is built from and what it installs, without nixpkgs. See nixos-modules/README.md."""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

NATIVE, LINKED, STDENV, NAMED = "nativeBuildInputs", "buildInputs", "stdenv", "CLANG"
NEEDED = {
    "gcc": (STDENV, ""),
    "libc6-dev": (STDENV, ""),
    "clang": (NAMED, "llvmPackages"),
    "pkg-config": (NATIVE, "pkg-config"),
    "protobuf-compiler": (NATIVE, "protobuf"),
    "libprotobuf-dev": (NATIVE, "protobuf"),
    "libelf-dev": (LINKED, "elfutils"),
    "zlib1g-dev": (LINKED, "zlib"),
    "libseccomp-dev": (LINKED, "libseccomp"),
}
"""What builds need on Debian, and what of nixpkgs it is to package.nix, where."""
OURS = {"installShellFiles"}
"""What only the package needs."""

# need_build_tools on a host that has cargo and nothing else.
ASK = """
. .ci/install.sh
command() { test "$2" = cargo; }
missing() { printf '%s\\n' "$2"; }
pkg-config() { return 1; }
protoc_knows_own_types() { return 1; }
[() { return 1; }
install_packages() { shift; printf '%s\\n' "$@"; }
need_build_tools yes
"""


def package() -> dict[str, Any]:
    """What package.nix gives to the builder; each package is its name."""
    expression = f"""
      let
        lib = import {REPOSITORY}/vm-tests/nix/lib;
        make = import {HERE.parent}/package.nix;
        names = lib.mapAttrs (name: _: name) (builtins.functionArgs make);
      in
      {{ inherit (make (names // {{
        inherit lib;
        stdenv = {{ buildPlatform.canExecute = _: false; hostPlatform = {{ }}; }};
        rustPlatform.buildRustPackage = package: package;
        llvmPackages.clang-unwrapped = "llvmPackages";
      }})) nativeBuildInputs buildInputs CLANG cargoBuildFlags postInstall; }}
    """
    words = ["nix-instantiate", "--store", "dummy://", "--readonly-mode", "--eval", "--strict"]
    done = subprocess.run(
        [*words, "--json", "-E", expression],
        capture_output=True, text=True, check=False,
        env={**os.environ, "NIX_CONFIG": "build-users-group ="},
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Package(unittest.TestCase):
    def test_it_is_built_with_what_builds_on_debian_need(self) -> None:
        words = ["bash", "-uc", ASK]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        self.assertEqual(sorted(done.stdout.split()), sorted(NEEDED), "the table names others")
        made = package()
        self.assertTrue(made[NAMED].startswith("llvmPackages/"))
        for place in (NATIVE, LINKED):
            wanted = {name for where, name in NEEDED.values() if where == place}
            self.assertEqual(set(made[place]) - OURS, wanted, place)

    def test_it_has_the_plugins_that_are_shipped_under_their_names(self) -> None:
        made = package()
        shipped = ["binpack", "numa", "priority"]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "lib").mkdir()
            for name in shipped:
                self.assertIn(f"tepui-plugin-{name}", made["cargoBuildFlags"])
                text = (REPOSITORY / f"plugins/{name}/Cargo.toml").read_text()
                library = tomllib.loads(text)["lib"].get("name", f"tepui_plugin_{name}")
                # As cargo calls it, where nixpkgs puts it.
                (Path(folder) / f"lib/lib{library}.so").touch()
            words = ["bash", "-euc", made["postInstall"]]
            subprocess.run(words, env={**os.environ, "out": folder}, check=True)
            found = sorted(path.name for path in Path(folder, "lib/tepui/plugins").iterdir())
            self.assertEqual(found, [f"{name}.so" for name in shipped])


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
