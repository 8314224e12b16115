"""Sentences about what scripts and cases may say."""

import unittest
from unittest import mock

from . import case
from .api import MACHINE
from .case import BadCase, Case, choose_backend
from .lint import lint
from .machine import Machine


def make_case(*needs: str) -> Case:
    return Case("example", "", frozenset(needs), 1, {"one": {}})


class Lint(unittest.TestCase):
    def problems(self, source: str, hosts: tuple[str, ...] = ("one", "two")) -> str:
        return "\n".join(lint(source, list(hosts)))

    def test_every_case_here_is_clean(self) -> None:
        for name in case.all_names():
            one = case.load(name)
            self.assertEqual(lint(one.script.read_text(), one.names, name, one.extensions), [])

    def test_every_shared_method_is_there(self) -> None:
        names = set(dir(Machine)) | {"name"}
        self.assertEqual(MACHINE - names, set())

    def test_methods_of_ours_are_refused(self) -> None:
        self.assertIn("release", self.problems("one.release()"))
        self.assertIn("release", self.problems("for host in machines:\n    host.release()"))
        self.assertIn("release", self.problems("host = two\nhost.release()"))
        self.assertIn("release", self.problems("[h.release() for h in (one, two)]"))

    def test_unknown_names_are_refused(self) -> None:
        self.assertIn("three", self.problems("three.start()"))
        self.assertIn("machine", self.problems("machine.start()"))
        self.assertEqual(self.problems("machine.start()", ("one",)), "")
        self.assertIn("open", self.problems("open('/etc/passwd')"))

    def test_partitions_must_be_declared(self) -> None:
        self.assertIn("partition", self.problems("partition([one], [two])"))
        self.assertEqual(make_case("pairwise-partition").extensions, {"partition", "heal"})

    def test_imports_are_few_and_plain(self) -> None:
        self.assertEqual(self.problems("import json\njson.dumps(1)"), "")
        self.assertIn("modules", self.problems("import os"))
        self.assertIn("plain", self.problems("from json import dumps"))

    def test_sleeps_are_refused(self) -> None:
        self.assertIn("no sleeps", self.problems("import time\ntime.sleep(1)"))


class Needs(unittest.TestCase):
    def test_the_cheapest_backend_that_will_do_is_taken(self) -> None:
        with mock.patch("lib.nspawn.offers", return_value=frozenset({"pids"})):
            self.assertEqual(choose_backend(make_case(), "auto"), "nspawn")
            self.assertEqual(choose_backend(make_case("pids"), "auto"), "nspawn")
            self.assertEqual(choose_backend(make_case("memory"), "auto"), "clone")
            self.assertEqual(choose_backend(make_case("boot-order"), "auto"), "cold")

    def test_a_case_never_passes_vacuously(self) -> None:
        with mock.patch("lib.nspawn.offers", return_value=frozenset()):
            with self.assertRaisesRegex(BadCase, "without proving anything.*--backend clone"):
                choose_backend(make_case("memory"), "nspawn")
            with self.assertRaisesRegex(BadCase, "--backend cold"):
                choose_backend(make_case("boot-order"), "clone")

    def test_a_container_never_loses_power(self) -> None:
        self.assertEqual(choose_backend(make_case("power-cut"), "auto"), "clone")


if __name__ == "__main__":
    unittest.main()
