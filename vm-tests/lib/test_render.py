"""Sentences about NixOS configurations on other hosts; what needs nix is in nixos-modules/tests."""

import tempfile
import unittest
from pathlib import Path
from typing import Any

from .render import (
    BadConfiguration,
    Places,
    build,
    complaint,
    firewall_text,
    slice_file,
    sysusers_text,
    unit_text,
)

LISTS = ("documentation", "wants", "requires", "bindsTo", "partOf", "conflicts", "after", "before")
HOST = Places({"tepui": "/usr/local"})


def unit(**settings: Any) -> dict[str, Any]:
    base: dict[str, Any] = {name: [] for name in LISTS}
    base |= {"description": "", "unitConfig": {}, "serviceConfig": {}, "environment": {}}
    return base | {"wantedBy": [], "requiredBy": []} | settings


class Rendering(unittest.TestCase):
    def test_a_list_is_a_line_for_each_element(self) -> None:
        text = unit_text(unit(serviceConfig={"B": [1, 2], "A": True, "C": ""}), HOST)
        self.assertEqual(text, "[Service]\nA=yes\nB=1\nB=2\nC=\n")

    def test_environment_is_quoted(self) -> None:
        text = unit_text(unit(environment={"RUST_LOG": 'a="b c"'}), HOST)
        self.assertEqual(text, '[Service]\nEnvironment="RUST_LOG=a=\\"b c\\""\n')

    def test_a_slice_of_systemds_own_is_added_to_and_not_replaced(self) -> None:
        unit = {"description": "", "unitConfig": {}, "sliceConfig": {"MemoryMin": "1M"}}
        bounds = "[Slice]\nMemoryMin=1M\n"
        added = slice_file("system", unit | {"overrideStrategy": "asDropin"})
        self.assertEqual(added, ("system.slice.d/tepui.conf", bounds))
        ours = slice_file("tepui", unit | {"overrideStrategy": "asDropinIfExists"})
        self.assertEqual(ours, ("tepui.slice", bounds))

    def test_packages_are_where_the_host_has_them(self) -> None:
        start = {"ExecStart": "/stand-in/pkg/tepui/bin/tepui-agentd --config x"}
        text = unit_text(unit(serviceConfig=start), HOST)
        self.assertIn("ExecStart=/usr/local/bin/tepui-agentd --config x\n", text)
        with self.assertRaisesRegex(BadConfiguration, "no package tepui"):
            unit_text(unit(serviceConfig=start), Places({}))

    def test_the_firewall_refuses_what_is_not_allowed(self) -> None:
        text = firewall_text({
            "trustedInterfaces": ["eth9"], "allowedTCPPorts": [5050], "allowedUDPPorts": [],
            "allowedTCPPortRanges": [{"from": 1, "to": 2}], "allowedUDPPortRanges": [],
        })  # fmt: skip
        self.assertIn(
            'iifname "eth9" accept\n    tcp dport { 5050, 1-2 } accept\n    reject\n', text
        )
        self.assertNotIn("udp dport", text)

    def test_users_are_those_of_sysusers(self) -> None:
        text = sysusers_text({"groups": {"web": {}}, "users": {"ann": {"uid": 1001}}})
        self.assertEqual(text, 'g web -\nu ann 1001 "" /home/ann /bin/sh\n')

    def test_a_recipe_is_followed_with_the_programs_under_test(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "store"
            plain = {"path": "/stand-in/store/1-plain", "text": "hello", "inputs": []}
            recipe = {
                "path": "/stand-in/store/2-made", "inputs": [plain],
                "environment": {"plain": plain["path"]},
                "script": 'echo /stand-in/pkg/tepui "$(cat "$plain")" >"$out"',
            }  # fmt: skip
            made = build(recipe, store, Places({"tepui": "/here"}))
            self.assertEqual(made.read_text(), "/here hello\n")
            failing = recipe | {"path": "/stand-in/store/3-bad", "script": "echo why >&2; exit 1"}
            with self.assertRaisesRegex(BadConfiguration, "^why$"):
                build(failing, store, HOST)

    def test_of_what_nix_says_the_reason_is_told(self) -> None:
        said = "warning: w\nerror: Failed assertions:\n- one\n- two\n\n       at /a.nix:1:2:\n"
        self.assertEqual(complaint(said), "Failed assertions:\n- one\n- two")


if __name__ == "__main__":
    unittest.main()
