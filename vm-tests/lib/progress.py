"""What a run prints, and how it waits."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

DEFAULT_TIMEOUT = 900
"""Seconds; the NixOS test driver's, so that a script behaves alike under both."""

POLL_SECONDS = 0.1
"""Between two looks at a host; a look at a virtual one costs about as much."""

_started = time.monotonic()
_indent = threading.local()
quiet = False
"""Whether lines are kept back and shown only when the case fails."""
_kept: list[str] = []
_last, _repeats = "", 0


class TestFailure(Exception):
    """The case does not hold, or a host did not do as told; the text says what was seen."""


def _depth() -> int:
    depth: int = getattr(_indent, "depth", 0)
    return depth


def log(text: str) -> None:
    """One line with the time since the start of the run; the same again is only counted."""
    global _last, _repeats
    if text == _last:
        _repeats += 1
        return
    if _repeats:
        _emit(f"(the same {_repeats} times more)")
    _last, _repeats = text, 0
    _emit(text)


def _emit(text: str) -> None:
    line = f"{time.monotonic() - _started:7.2f} {'  ' * _depth()}{text}"
    if quiet:
        _kept.append(line)
    else:
        print(line, flush=True)


def begin_case() -> None:
    """Forgets what was kept back for the case before."""
    _kept.clear()


def show_kept() -> None:
    """Prints what was kept back."""
    if _kept:
        print("\n".join(_kept), flush=True)
    _kept.clear()


@contextlib.contextmanager
def nested(text: str) -> Iterator[None]:
    """Indents what is logged inside; long parts are followed by the time they took."""
    log(text)
    began = time.monotonic()
    _indent.depth = _depth() + 1
    try:
        yield
    finally:
        _indent.depth = _depth() - 1
        if time.monotonic() - began > 1:
            log(f"(finished: {text}, in {time.monotonic() - began:.2f} s)")


def retry(fn: Callable[[bool], bool], timeout_seconds: float = DEFAULT_TIMEOUT) -> None:
    """Calls fn(False) until it is true; after the time, fn(True) has the last word."""
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        if fn(False):
            return
        time.sleep(POLL_SECONDS)
    if not fn(True):
        raise TestFailure(f"action timed out after {timeout_seconds} seconds")
