"""The root shell of a virtual machine, over its virtual console."""

import base64
import shlex
import socket
import time
from pathlib import Path

from .progress import TestFailure

ACCEPT_SECONDS = 30
GREETING = b"Spawning backdoor root shell...\n"


class Shell:
    """One command at a time; what QEMU connects to is made before QEMU starts."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(ACCEPT_SECONDS)
        self._socket: socket.socket | None = None
        self._read = b""

    def accept(self) -> None:
        """Waits until QEMU has connected."""
        self._socket, _ = self._listener.accept()

    def wait_for_greeting(self, seconds: float) -> None:
        """Waits until the guest's shell has started."""
        self._until(GREETING, seconds)

    def _until(self, token: bytes, seconds: float | None) -> bytes:
        assert self._socket is not None
        end = None if seconds is None else time.monotonic() + seconds
        while token not in self._read:
            self._socket.settimeout(None if end is None else max(0.1, end - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise TestFailure(f"no answer from the shell within {seconds} s") from None
            if not data:
                raise TestFailure("the shell was closed: the host is gone")
            self._read += data
        before, _, self._read = self._read.partition(token)
        return before

    def run(self, command: str, timeout: float | None) -> tuple[int, str]:
        """Status and output of a command."""
        assert self._socket is not None
        limit = "" if timeout is None else f"timeout {timeout} "
        script = shlex.quote(f"set -euo pipefail; {command}")
        # Its input is empty, or it would read the commands that follow.
        line = f"{limit}bash -c {script} </dev/null | (base64 -w 0; echo); echo ${{PIPESTATUS[0]}}"
        self._socket.sendall(f"{line}\n".encode())
        patience = None if timeout is None else timeout + 30
        output = base64.b64decode(self._until(b"\n", patience))
        return int(self._until(b"\n", 60)), output.decode(errors="replace")

    def send(self, line: str) -> None:
        """A command whose answer nobody waits for."""
        assert self._socket is not None
        self._socket.sendall(f"{line}\n".encode())

    def close(self) -> None:
        """Ends the connection."""
        self._listener.close()
        if self._socket is not None:
            self._socket.close()
