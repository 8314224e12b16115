"""QEMU's machine protocol, as far as the tests speak it."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from .progress import TestFailure

CONNECT_SECONDS = 20


class Qmp:
    """A connection to one QEMU."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self._lines = self._socket.makefile("rw")
        self._lines.readline()
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """The answer to a command; events in between are passed over."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        while line := self._lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise TestFailure(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise TestFailure(f"QEMU closed its monitor during {command}")

    def close(self) -> None:
        """Ends the connection."""
        self._lines.close()
        self._socket.close()
