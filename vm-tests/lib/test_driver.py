"""Sentences about the parts of the driver that need no host."""

import contextlib
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from . import payload, progress
from .case import Case
from .machine import Machine
from .payload import RELEASES, RESOURCES, UNITS, put_previous, toml, write_host
from .polling import PollingCondition
from .progress import TestFailure, retry


class Waiting(unittest.TestCase):
    def setUp(self) -> None:
        mock.patch.object(progress, "quiet", True).start()
        self.addCleanup(mock.patch.stopall)

    def test_the_last_word_is_asked_for_when_the_time_is_up(self) -> None:
        asked: list[bool] = []

        def never(last: bool) -> bool:
            asked.append(last)
            return False

        with self.assertRaisesRegex(TestFailure, "timed out"):
            retry(never, 0)
        self.assertEqual(asked, [True])

    def test_a_condition_is_watched_only_inside_with(self) -> None:
        watched: list[PollingCondition] = []
        condition = PollingCondition(lambda: None, watched, 0, "holds")
        with condition:
            self.assertEqual(watched, [condition])
        self.assertEqual(watched, [])

    def test_a_condition_that_raises_or_says_false_does_not_hold(self) -> None:
        for bad in (lambda: False, lambda: [][0]):
            condition = PollingCondition(bad, [], 0, "broken")
            self.assertFalse(condition.check(force=True))
            with self.assertRaisesRegex(TestFailure, "broken"):
                condition.require()

    def test_a_condition_that_asks_a_host_does_not_ask_itself(self) -> None:
        def ask() -> bool:
            return condition.check(force=True)

        condition = PollingCondition(ask, [], 0, "asks")
        self.assertTrue(condition.check(force=True))


class Failing(unittest.TestCase):
    def host(self, status: int) -> mock.Mock:
        host = mock.Mock(spec=Machine)
        host.name = "one"
        host.nested.side_effect = lambda _: contextlib.nullcontext()
        host.execute.return_value = (status, "")
        host._must_have_run.side_effect = lambda *told: Machine._must_have_run(host, *told)
        return host

    def test_a_command_that_fails_has_failed(self) -> None:
        self.assertEqual(Machine.fail(self.host(1), "false"), "")
        self.assertEqual(Machine._wait_for_status(self.host(1), "false", False, 1), "")

    def test_what_was_not_run_has_not_failed(self) -> None:
        for status in (126, 127):
            with self.assertRaisesRegex(TestFailure, "`pgrpe x` was not run"):
                Machine.fail(self.host(status), "pgrpe x")
            with self.assertRaisesRegex(TestFailure, "`pgrpe x` was not run"):
                Machine._wait_for_status(self.host(status), "pgrpe x", False, 1)


class HostFiles(unittest.TestCase):
    def settings(self, role: str, config: str) -> dict[str, object]:
        hosts: dict[str, dict[str, Any]] = {
            "a": {"control-plane": {"agent_patience_seconds": 5}},
            "b": {"agent": {"attributes": "zone:z"}},
        }
        case = Case("example", "", frozenset(), 1, hosts)
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            write_host(tree, case, role, machine_id=True, time_factor=3.0)
            self.assertIn("192.168.1.2 b\n", (tree / "etc/hosts").read_text())
            return tomllib.loads((tree / "etc/tepui" / config).read_text())

    def test_slower_hosts_get_more_patience(self) -> None:
        settings = self.settings("a", "control-plane.toml")
        self.assertEqual(settings["agent_patience_seconds"], 15)

    def test_agents_find_their_control_plane(self) -> None:
        settings = self.settings("b", "agentd.toml")
        self.assertEqual(settings["control_plane"], ["http://a:5052"])
        self.assertEqual((settings["resources"], settings["attributes"]), (RESOURCES, "zone:z"))

    def test_hosts_begin_with_the_former_units_and_have_their_own_ready(self) -> None:
        hosts: dict[str, dict[str, Any]] = {"a": {"agent": {}}}
        case = Case("example", "", frozenset(), 1, hosts, previous_release=True)
        with tempfile.TemporaryDirectory() as folder:
            former, tree = Path(folder) / "former", Path(folder) / "tree"
            former.mkdir()
            for name in UNITS:
                (former / name).write_text("former")
            write_host(tree, case, "a", machine_id=True, time_factor=1.0)
            units, unit = tree / "etc/systemd/system", "tepui-agentd.service"
            own = (units / unit).read_text()
            with mock.patch.object(payload, "previous_release", lambda: former):
                put_previous(tree)
            self.assertEqual((units / unit).read_text(), "former")
            self.assertEqual((tree / RELEASES / "next" / unit).read_text(), own)
            self.assertFalse((units / "tepui.slice").exists())
            self.assertTrue((tree / RELEASES / "next/tepui.slice").is_file())
            self.assertFalse((tree / RELEASES / "previous/tepui-control-plane.service").exists())

    def test_settings_survive_toml(self) -> None:
        settings = {"a": 'quote " and \\', "b": True, "c": 7, "d": ["x", "y"]}
        self.assertEqual(tomllib.loads(toml(settings)), settings)


if __name__ == "__main__":
    unittest.main()
