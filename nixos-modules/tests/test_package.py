#!/usr/bin/env python3
"""What the package is built from and what it installs, without nixpkgs. See nixos-modules/README.md."""

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(REPOSITORY / "vm-tests"))

from lib.nix import value_of  # noqa: E402

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
SHIPPED = ["binpack", "numa", "priority"]
BUILT = [
    f"Modules.test_{name}"
    for name in (
        "right_settings_are_right_to_the_daemons",
        "wrong_configurations_are_refused_with_the_text_that_teaches",
    )
]
"""The tests that run programs and load plugins."""

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
    found: dict[str, Any] = value_of("-E", expression)
    return found


class Package(unittest.TestCase):
    binaries: ClassVar[Path | None] = None

    def test_it_is_built_with_what_builds_on_debian_need(self) -> None:
        words = ["bash", "-uc", ASK]
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        self.assertEqual(sorted(done.stdout.split()), sorted(NEEDED), "the table names others")
        made = package()
        self.assertTrue(made[NAMED].startswith("llvmPackages/"))
        for place in (NATIVE, LINKED):
            wanted = {name for where, name in NEEDED.values() if where == place}
            self.assertEqual(set(made[place]) - OURS, wanted, place)

    def install(self, out: Path, libraries: Path | None) -> Path:
        """Follows what the package does after nixpkgs put the libraries, as cargo calls them, into
        its lib; gives the folder of plugins."""
        made = package()
        (out / "lib").mkdir()
        for name in SHIPPED:
            self.assertIn(f"tepui-plugin-{name}", made["cargoBuildFlags"])
            text = (REPOSITORY / f"plugins/{name}/Cargo.toml").read_text()
            library = f"lib{tomllib.loads(text)['lib'].get('name', f'tepui_plugin_{name}')}.so"
            if libraries:
                (out / "lib" / library).symlink_to(libraries / library)
            else:
                (out / "lib" / library).touch()
        words = ["bash", "-euc", made["postInstall"]]
        subprocess.run(words, env={**os.environ, "out": str(out)}, check=True)
        return out / "lib/tepui/plugins"

    def test_it_has_the_plugins_that_are_shipped_under_their_names(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            plugins = self.install(Path(folder), None)
            found = sorted(path.name for path in plugins.iterdir())
            self.assertEqual(found, [f"{name}.so" for name in SHIPPED])

    def test_the_check_of_the_modules_finds_its_programs_and_plugins(self) -> None:
        if self.binaries is None:
            self.skipTest("--bin names no folder with programs: the check itself has the package")
        with tempfile.TemporaryDirectory() as folder:
            plugins = self.install(Path(folder), self.binaries)
            words = [sys.executable, str(HERE / "test_modules.py"), "--bin", str(self.binaries)]
            done = subprocess.run(
                [*words, "--plugins", str(plugins), *BUILT], capture_output=True, text=True, check=False
            )
            self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bin", type=Path, help="programs and plugins as cargo leaves them")
    options, rest = parser.parse_known_args()
    Package.binaries = options.bin and options.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest])
