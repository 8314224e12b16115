#!/usr/bin/env python3
"""What the modules make of configurations, without nixpkgs. See nixos-modules/README.md.

With --bin target/debug they run, with --bless too they write golden/ anew. For a package, which has
its plugins in a folder of their own, that is --plugins.
"""

import argparse
import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(REPOSITORY / "vm-tests"))

from lib import render  # noqa: E402
from lib.nix import value_of  # noqa: E402

LIBRARY = os.environ.get("TEPUI_NIXPKGS_LIB")
"""A folder with the real library, where there is one: nixpkgs/lib."""
ON_HOSTS = render.Places({
    "tepui": "/usr/local", "nftables": "/usr", "python3": "/usr", "coreutils": "/usr",
})  # fmt: skip

PLUGINS = {
    "priority": "libtepui_plugin_priority.so", "numa": "libnuma.so",
    "wrong-abi": "examples/libwrong_abi.so",
}  # fmt: skip
"""Plugins that the package has in these tests, and what cargo calls them."""
BROKEN = {"a plugin that was built for another daemon": "wrong-abi"}
"""Configurations with a plugin that is broken on purpose: no package that is shipped has it."""


def described(name: str, host: dict[str, Any]) -> str:
    """All that a host has of its configuration, as text to read and compare."""
    parts = [f"# {name}: made by test_modules.py --bless\n"]
    for path, entry in sorted(host["etc"].items()):
        made = entry.get("recipe", {})
        texts = [entry.get("text"), made.get("text"), *(one["text"] for one in inputs(made))]
        content = next((text for text in texts if text), made.get("script", "")).rstrip("\n") + "\n"
        how = f" (checked by: {check})" if (check := checker(made)) else ""
        parts.append(f"\n### /etc/{path}{how}\n{content}")
    for unit, config in sorted(host["units"].items()):
        path = "".join(f"# PATH has {one}\n" for one in config["path"])
        parts.append(f"\n### {unit}.service\n{path}{render.unit_text(config, ON_HOSTS)}")
    for slice_, config in sorted(host["slices"].items()):
        parts.append("\n### {}\n{}".format(*render.slice_file(slice_, config)))
    opened = any(value for key, value in host["firewall"].items() if key != "enable")
    there = {
        "firewall": opened,
        **{part: host[part]["enable"] for part in ("prometheus", "grafana")},
    }
    for part, shown in there.items():
        if shown:
            parts.append(f"\n### {part}\n{json.dumps(host[part], indent=2, sort_keys=True)}\n")
    return "".join(parts)


def inputs(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in recipe.get("inputs", []) if "text" in one]


def checker(recipe: dict[str, Any]) -> str:
    """The command that checks a file when it is built."""
    words = recipe.get("script", "").split()
    words = [word for word in words if render.PACKAGE in word and "/bin/" in word]
    return Path(words[0].removeprefix("why=$(")).name if words else ""


def wrong() -> dict[str, dict[str, Any]]:
    """The texts that wrong configurations must meet, by name."""
    return nix(
        f'builtins.mapAttrs (_: one: removeAttrs one [ "config" ]) (import {HERE}/wrong.nix)'
    )


def nix(expression: str) -> dict[str, Any]:
    """The value of an expression."""
    found: dict[str, Any] = value_of("-E", expression)
    return found


def config_of(name: str) -> str:
    return f"{{ host = (import {HERE}/wrong.nix).{json.dumps(name)}.config; }}"


class Modules(unittest.TestCase):
    binaries: ClassVar[Path]
    plugins: ClassVar[Path | None] = None
    bless: ClassVar[bool] = False

    def libraries(self) -> dict[str, Path]:
        """The plugins by their names: as cargo left them, or as the package has them."""
        if self.plugins is None:
            return {name: self.binaries / library for name, library in PLUGINS.items()}
        shipped = PLUGINS.keys() - BROKEN.values()
        return {name: self.plugins / f"{name}.so" for name in shipped}

    def build_all(self, host: dict[str, Any]) -> None:
        """Builds every file of a host, with the real daemons as those who check it."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "tepui").mkdir()
            (Path(folder) / "tepui/bin").symlink_to(self.binaries)
            plugins = Path(folder) / "tepui/lib/tepui/plugins"
            plugins.mkdir(parents=True)
            for name, library in self.libraries().items():
                self.assertTrue(library.is_file(), f"no plugin {name} at {library}")
                (plugins / f"{name}.so").symlink_to(library)
            building = render.Places({"tepui": f"{folder}/tepui"})
            for entry in host["etc"].values():
                if "recipe" in entry:
                    render.build(entry["recipe"], Path(folder) / "store", building)

    def test_right_configurations_give_the_golden_units(self) -> None:
        hosts = render.evaluate(HERE / "right.nix")
        for name, host in hosts.items():
            with self.subTest(name):
                golden = HERE / "golden" / f"{name}.txt"
                text = described(name, host)
                if self.bless:
                    golden.write_text(text)
                known = golden.read_text() if golden.is_file() else ""
                changes = difflib.unified_diff(
                    known.splitlines(), text.splitlines(), str(golden), "now", lineterm=""
                )
                self.assertEqual(text, known, "\n".join(changes))
        self.assertEqual(
            sorted(path.stem for path in (HERE / "golden").glob("*.txt")), sorted(hosts)
        )

    def test_right_settings_are_right_to_the_daemons(self) -> None:
        for name, host in render.evaluate(HERE / "right.nix").items():
            with self.subTest(name):
                if name != "plugged":
                    self.build_all(host)

    def test_wrong_configurations_are_refused_with_the_text_that_teaches(self) -> None:
        for name, expected in wrong().items():
            with self.subTest(name):
                if self.plugins and name in BROKEN:
                    self.skipTest(f"no package has a plugin {BROKEN[name]}, broken on purpose")
                if "says" in expected:
                    with self.assertRaises(render.BadConfiguration) as refused:
                        render.evaluate(config_of(name))
                else:
                    host = render.evaluate(config_of(name))["host"]
                    with self.assertRaises(render.BadConfiguration) as refused:
                        self.build_all(host)
                for words in expected.get("says", expected.get("buildSays")):
                    self.assertIn(words, str(refused.exception))

    def test_the_units_that_are_shipped_are_those_of_the_modules(self) -> None:
        done = subprocess.run(
            [sys.executable, str(HERE.parent / "units")], capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_a_package_gets_its_units_with_its_own_paths(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, str(HERE.parent / "units"), "--into", folder, "--prefix", "/usr"]
            subprocess.run(words, check=True)
            text = (Path(folder) / "tepui-agentd.service").read_text()
            self.assertIn("\nExecStart=/usr/bin/tepui-agentd --config /etc/tepui/", text)
            made = {path.name for path in Path(folder).rglob("*") if path.is_file()}
            self.assertEqual(
                made,
                {
                    "tepui-agentd.service", "tepui-apply.service", "tepui-control-plane.service",
                    "tepui.slice", "tepui.conf",
                },
            )  # fmt: skip

    def test_the_flake_offers_what_it_says_and_its_lock_is_of_its_inputs(self) -> None:
        flake = nix(f"import {HERE}/flake.nix {{ }}")
        self.assertEqual(
            flake["start"], "/flake/tepui/bin/tepui-agentd --config /etc/tepui/agentd.toml"
        )
        self.assertEqual(flake["packages"], ["default", "tepui"])
        self.assertIn("default", flake["modules"])
        for check in ("package", "clippy", "format", "dead-code", "modules", "package-inputs", "case-single", "case-plugin"):
            self.assertIn(check, flake["checks"])
            self.assertIn(f"{check}-unstable", flake["checks"])
        self.assertNotIn("case-marathon", flake["checks"], "its client is in PyPI alone")
        lock = json.loads((REPOSITORY / "flake.lock").read_text())
        nodes = lock["nodes"]
        self.assertEqual(sorted(nodes[lock["root"]]["inputs"]), sorted(flake["inputs"]))
        for name, url in flake["inputs"].items():
            of = nodes[name]["original"]
            self.assertEqual(f"{of['type']}:{of['owner']}/{of['repo']}/{of['ref']}", url)
            self.assertRegex(nodes[name]["locked"]["rev"], "^[0-9a-f]{40}$")

    def test_a_host_that_has_no_such_package_is_not_written(self) -> None:
        unit = render.evaluate(HERE / "right.nix")["alone"]["units"]["tepui-agentd"]
        with self.assertRaisesRegex(render.BadConfiguration, "no package tepui"):
            render.unit_text(unit, render.Places({"coreutils": "/usr"}))

    @unittest.skipUnless(shutil.which("promtool"), "no promtool here")
    def test_prometheus_takes_what_it_is_told_to_scrape(self) -> None:
        host = render.evaluate(HERE / "right.nix")["watcher"]
        with tempfile.TemporaryDirectory() as folder:
            tree, store = Path(folder), Path(folder) / "store"
            told = host["prometheus"] | {"ruleFiles": []}
            render.write_prometheus(tree, told, store, render.Places({}))
            words = ["promtool", "check", "config", f"{folder}/etc/prometheus/prometheus.yml"]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @unittest.skipUnless(LIBRARY, "TEPUI_NIXPKGS_LIB names no copy of nixpkgs' lib")
    def test_the_stand_in_library_says_what_nixpkgs_says(self) -> None:
        library = Path(LIBRARY or "")
        for nodes in (HERE / "right.nix", HERE.parent / "plain-host.nix"):
            self.assertEqual(
                render.evaluate(nodes), render.evaluate(nodes, library=library), nodes.name
            )
        for name, expected in wrong().items():
            if "says" in expected:
                with self.subTest(name), self.assertRaises(render.BadConfiguration) as refused:
                    render.evaluate(config_of(name), library=library)
                for words in expected["says"]:
                    self.assertIn(words, str(refused.exception))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--plugins", type=Path, help="a folder with plugins under their names")
    parser.add_argument("--bless", action="store_true")
    options, rest = parser.parse_known_args()
    Modules.binaries = options.bin.resolve()
    Modules.plugins = options.plugins and options.plugins.resolve()
    Modules.bless = options.bless
    unittest.main(argv=[sys.argv[0], *rest])
