"""Checks scripts as the NixOS test driver does before it boots anything: by mypy, with declarations of
what a script sees before it, and by pyflakes. There the driver's own hosts are behind the names, here
ours, which have the same methods.

    vm-tests/typed DIR    # a folder with the programs mypy and pyflakes
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import case
from .api import SYMBOLS
from .lint import symbol

FOLDER = Path(__file__).resolve().parent.parent
PRELUDE = """\
from typing import Any, Callable, ContextManager
from unittest import TestCase
from lib.machine import Machine
from lib.progress import retry
start_all: Callable[[], None]
join_all: Callable[[], None]
subtest: Callable[[str], ContextManager[None]]
polling_condition: Any
machines: list[Machine]
partition: Callable[[list[Machine], list[Machine]], None]
heal: Callable[[], None]
t: TestCase
"""


def hosts_of(one: case.Case) -> list[str]:
    """The names by which a script sees its hosts."""
    names = [symbol(name) for name in one.names]
    return names if len(names) > 1 else [*names, "machine"]


def prelude(one: case.Case) -> str:
    """What stands before the script, of as many lines as counted by `told`."""
    return PRELUDE + "; ".join(f"{name}: Machine" for name in hosts_of(one)) + "\n"


def told(line: str, lines_before: int) -> str:
    """A complaint with the script's own place in it."""
    where, colon, rest = line.partition(".py:")
    number, _, text = rest.partition(":")
    if not colon or not number.isdigit():
        return line
    return f"{Path(where).name}/test.py:{int(number) - lines_before}:{text}"


def problems(cases: list[case.Case], tools: Path) -> list[str]:
    """What mypy and pyflakes say of the scripts, one line each."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        typed = []
        for one in cases:
            path = Path(folder) / f"{one.name}.py"
            path.write_text(prelude(one) + one.script.read_text())
            typed.append(str(path))
            plain = subprocess.run(
                [str(tools / "pyflakes"), str(one.script)], capture_output=True, text=True, check=False,
                env={**os.environ, "PYFLAKES_BUILTINS": ",".join({*SYMBOLS, *one.extensions, *hosts_of(one)})},
            )  # fmt: skip
            found += (plain.stdout + plain.stderr).splitlines()
        words = [str(tools / "mypy"), "--no-implicit-optional", "--scripts-are-modules"]
        words += ["--cache-dir", f"{folder}/cache", "--no-error-summary", *typed]
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "MYPYPATH": str(FOLDER)},
        )  # fmt: skip
        before = prelude(cases[0]).count("\n")
        found += [told(line, before) for line in (done.stdout + done.stderr).splitlines()]
        if done.returncode != 0 and not found:
            found.append(f"mypy ended with {done.returncode}")
    return found


def main() -> int:
    """0 when every script is as the NixOS test driver wants it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tools", type=Path, help="the folder of mypy and pyflakes")
    tools = parser.parse_args().tools.resolve()
    cases = [case.load(name) for name in case.all_names()]
    said = problems([one for one in cases if not one.script_of], tools)
    print("\n".join(said), end="\n" if said else "")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
