"""Runs one case: makes its hosts, hands them to the script, cleans up."""

import contextlib
import threading
import traceback
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import template
from .case import Case
from .lab import Lab, open_lab
from .lint import symbol
from .machine import Machine
from .nspawn import Nspawn
from .payload import make_payload
from .polling import PollingCondition
from .progress import log, nested, retry
from .qemu import Qemu, make_payload_disk

EMULATION_FACTOR = 3.0
"""By how much daemons' patience grows where hosts are emulated."""


class Driver:
    """The hosts of a case, and what a script can do with all of them."""

    def __init__(self, case: Case, backend: str, lab: Lab, programs: Path) -> None:
        self._lab = lab
        self._case = case
        emulated = backend != "nspawn" and template.accelerator() == "tcg"
        factor = EMULATION_FACTOR if emulated else 1.0
        make_payload(lab, programs, case, machine_id=backend != "cold", time_factor=factor)
        start = None
        if backend != "nspawn":
            make_payload_disk(lab)
            start = template.ensure_template(lab.image) if backend == "clone" else None
        self.machines: list[Machine] = [
            Nspawn(name, number, lab) if backend == "nspawn" else Qemu(name, number, lab, start)
            for number, name in enumerate(case.names, 1)
        ]

    def start_all(self) -> None:
        """Boots all hosts at once."""
        with nested("start all hosts"):
            for machine in self.machines:
                machine.start()
            failures: list[BaseException] = []

            def connect(machine: Machine) -> None:
                try:
                    machine.connect()
                except Exception as error:  # raised again below
                    failures.append(error)

            threads = [
                threading.Thread(target=connect, args=[one], daemon=True) for one in self.machines
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if failures:
                raise failures[0]

    def join_all(self) -> None:
        """Waits until all hosts are off."""
        for machine in self.machines:
            machine.wait_for_shutdown()

    @contextlib.contextmanager
    def subtest(self, name: str) -> Iterator[None]:
        """A named part of the script."""
        with nested(f"subtest: {name}"):
            try:
                yield
            except Exception:
                log(f"subtest failed: {name}")
                raise

    def polling_condition(
        self,
        fun_: Callable[[], bool | None] | None = None,
        *,
        seconds_interval: float = 2.0,
        description: str | None = None,
    ) -> Any:
        """Decorator that makes a PollingCondition of a function."""

        def decorate(condition: Callable[[], bool | None]) -> PollingCondition:
            watched = self._lab.conditions
            return PollingCondition(condition, watched, seconds_interval, description)

        return decorate if fun_ is None else decorate(fun_)

    def partition(self, some: list[Machine], others: list[Machine]) -> None:
        """Cuts these hosts off from those; each side goes on among itself and with all others."""
        sides = [[machine.number for machine in side] for side in (some, others)]
        log(f"partition: {[m.name for m in some]} and {[m.name for m in others]}")
        self._lab.network.partition(*sides)

    def symbols(self) -> dict[str, Any]:
        """What the script sees."""
        names: dict[str, Any] = {
            "start_all": self.start_all,
            "join_all": self.join_all,
            "subtest": self.subtest,
            "retry": retry,
            "polling_condition": self.polling_condition,
            "machines": self.machines,
            "t": unittest.TestCase(),
        }
        names.update({symbol(machine.name): machine for machine in self.machines})
        extensions = {"partition": self.partition, "heal": self._lab.network.heal}
        names.update({name: extensions[name] for name in self._case.extensions})
        if len(self.machines) == 1:
            names["machine"] = self.machines[0]
        return names

    def run_script(self) -> None:
        """The script, from its file so that failures name its lines."""
        path = self._case.script
        exec(compile(path.read_text(), str(path), "exec"), self.symbols())

    def save_journals(self) -> None:
        """Keeps what may explain a failure."""
        for machine in self.machines:
            try:
                machine.save_journal()
            except Exception as error:  # the failure itself matters more
                machine.log(f"no journal: {error}")
        log(f"journals and consoles are in {self._lab.results}")

    def release(self) -> None:
        """Ends all hosts."""
        for machine in self.machines:
            with contextlib.suppress(Exception):
                machine.release()


def run_case(case: Case, backend: str, image: Path, programs: Path, results: Path) -> bool:
    """Whether the case holds; nothing of it is left behind."""
    with open_lab(case.names, image, results) as lab:
        driver = Driver(case, backend, lab, programs)
        try:
            driver.run_script()
        except Exception:
            log(traceback.format_exc())
            driver.save_journals()
            return False
        finally:
            driver.release()
    return True
