"""Conditions that must hold while something else is done."""

import time
from collections.abc import Callable

from .progress import DEFAULT_TIMEOUT, TestFailure, nested, retry


class PollingCondition:
    """A condition of a script; inside `with`, every command on a host looks at it first."""

    def __init__(
        self,
        condition: Callable[[], bool | None],
        watched: list["PollingCondition"],
        seconds_interval: float,
        description: str | None,
    ) -> None:
        self._condition = condition
        self._watched = watched
        self._interval = seconds_interval
        self.description = description or condition.__doc__ or condition.__name__
        self._last = float("-inf")
        self._looking = False

    def check(self, force: bool = False) -> bool:
        """Whether it holds; it is looked at no more often than its interval unless forced."""
        overdue = time.monotonic() - self._last >= self._interval
        if self._looking or not (force or overdue):
            return True
        self._looking = True
        try:
            with nested(f"checking condition: {self.description}"):
                seen = self._condition()
        except Exception:  # whatever goes wrong, it does not hold
            return False
        finally:
            self._looking = False
            self._last = time.monotonic()
        return seen is None or bool(seen)

    def require(self) -> None:
        """Ends the case when it does not hold."""
        if not self.check():
            raise TestFailure(f"polling condition failed: {self.description}")

    def wait(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until it holds."""
        with nested(f"waiting for condition: {self.description}"):
            retry(lambda _: self.check(force=True), timeout)

    def __enter__(self) -> None:
        self._watched.append(self)

    def __exit__(self, kind: object, *_: object) -> None:
        self._watched.remove(self)
        if kind is None and not self.check(force=True):
            raise TestFailure(f"polling condition failed: {self.description}")
