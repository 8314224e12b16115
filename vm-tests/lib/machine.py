"""A host as scripts see it: names and meaning are those of the NixOS test driver."""

import abc
import base64
import contextlib
import re
import shlex
import subprocess
from pathlib import Path

from .lab import Lab
from .progress import DEFAULT_TIMEOUT, TestFailure, log, nested, retry

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NOT_RUN = frozenset({126, 127})
"""Statuses of the shell for a program that cannot be executed, or is not there."""
TRANSFER_BYTES = 65536
"""Of a file in one command: longer lines overflow the shell's channel."""


class Machine(abc.ABC):
    """What all kinds of hosts have in common."""

    def __init__(self, name: str, number: int, lab: Lab) -> None:
        self.name = name
        self.number = number
        self.lab = lab
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.booted = False
        self.connected = False
        self._console_seen = 0

    @abc.abstractmethod
    def start(self, allow_reboot: bool = False) -> None:
        """Begins to boot the host, unless it runs."""

    @abc.abstractmethod
    def connect(self) -> None:
        """Waits until the host takes commands; starts it first if need be."""

    @abc.abstractmethod
    def run_command(self, command: str, timeout: float | None) -> tuple[int, str]:
        """Status and output of one command on a connected host; 124 when its time was up."""

    @abc.abstractmethod
    def wait_for_shutdown(self) -> None:
        """Waits until the host is off."""

    @abc.abstractmethod
    def shutdown(self) -> None:
        """Ends the host in good order."""

    @abc.abstractmethod
    def crash(self) -> None:
        """Ends the host at once, as a power cut does."""

    @abc.abstractmethod
    def block(self) -> None:
        """Cuts the host off the network."""

    @abc.abstractmethod
    def unblock(self) -> None:
        """Gives the network back."""

    @abc.abstractmethod
    def release(self) -> None:
        """Ends what belongs to the host; works in every state and twice."""

    def reboot(self) -> None:
        """Shuts down and starts."""
        self.shutdown()
        self.start()

    def send_monitor_command(self, command: str) -> str:
        """A command of QEMU's monitor."""
        raise TestFailure(f"{self.name} has no monitor: {command}")

    def get_console_log(self) -> str:
        """What the host wrote on its console."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "console.log").read_text(errors="replace")
        return ""

    def log(self, text: str) -> None:
        """A line that names the host."""
        log(f"{self.name}: {text}")

    def nested(self, text: str) -> contextlib.AbstractContextManager[None]:
        """An indented part of the log that names the host."""
        return nested(f"{self.name}: {text}")

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> tuple[int, str]:
        """Status and output of a shell command; what it leaves behind redirects its output."""
        self.lab.require_conditions()
        self.connect()
        status, output = self.run_command(command, timeout)
        return (status if check_return else -1), (output if check_output else "")

    def succeed(self, *commands: str, timeout: float | None = None) -> str:
        """Output of commands that must succeed."""
        output = ""
        for command in commands:
            with self.nested(f"must succeed: {command}"):
                status, text = self.execute(command, timeout=timeout)
            if status != 0:
                self.log(f"output: {text}")
                raise TestFailure(f"{self.name}: `{command}` failed (exit code {status}): {text}")
            output += text
        return output

    def fail(self, *commands: str, timeout: float | None = None) -> str:
        """Output of commands that must fail."""
        output = ""
        for command in commands:
            with self.nested(f"must fail: {command}"):
                status, text = self.execute(command, timeout=timeout)
            if status == 0:
                raise TestFailure(f"{self.name}: `{command}` unexpectedly succeeded: {text}")
            self._must_have_run(command, status)
            output += text
        return output

    def _must_have_run(self, command: str, status: int) -> None:
        """What was never tried has not failed: a misspelt command would prove anything."""
        if status in NOT_RUN:
            raise TestFailure(f"{self.name}: `{command}` was not run (exit code {status})")

    def _wait_for_status(self, command: str, wanted: bool, timeout: float) -> str:
        output = ""

        def look(_: bool) -> bool:
            nonlocal output
            status, output = self.execute(command, timeout=timeout)
            if not wanted:
                self._must_have_run(command, status)
            return (status == 0) is wanted

        with self.nested(f"waiting for {'success' if wanted else 'failure'}: {command}"):
            try:
                retry(look, timeout)
            except TestFailure as failure:
                raise TestFailure(f"{failure}; last output: {output}") from failure
        return output

    def wait_until_succeeds(self, command: str, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Output of the command, once it succeeds."""
        return self._wait_for_status(command, True, timeout)

    def wait_until_fails(self, command: str, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Output of the command, once it fails."""
        return self._wait_for_status(command, False, timeout)

    def _wait(self, what: str, command: str, timeout: float) -> None:
        with self.nested(f"waiting for {what}"):
            retry(lambda _: self.execute(command)[0] == 0, timeout)

    def wait_for_file(self, filename: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until a file exists."""
        self._wait(f"file {filename}", f"test -e {filename}", timeout)

    def wait_for_open_port(
        self, port: int, addr: str = "localhost", timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Waits until something listens."""
        self._wait(f"TCP port {port} on {addr}", f"nc -z {addr} {port}", timeout)

    def wait_for_closed_port(
        self, port: int, addr: str = "localhost", timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Waits until nothing listens."""
        self._wait(f"TCP port {port} on {addr} to close", f"! nc -z {addr} {port}", timeout)

    def wait_for_open_unix_socket(
        self, addr: str, is_datagram: bool = False, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Waits until something listens at a path."""
        flags = "-uU" if is_datagram else "-U"
        self._wait(f"socket {addr}", f"nc -z {flags} {addr}", timeout)

    def wait_for_console_text(self, regex: str, timeout: float | None = None) -> None:
        """Waits for a line of the console that was not waited for before."""
        pattern = re.compile(regex)

        def look(_: bool) -> bool:
            found = pattern.search(self.get_console_log(), self._console_seen)
            if found:
                self._console_seen = found.end()
            return found is not None

        with self.nested(f"waiting for {regex} to appear on the console"):
            retry(look, timeout or DEFAULT_TIMEOUT)

    def systemctl(self, query: str, user: str | None = None) -> tuple[int, str]:
        """Status and output of systemctl, of the system or of a user."""
        if user is None:
            return self.execute(f"systemctl {query}")
        inner = f"XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user {query}"
        return self.execute(f"su -l {user} -s /bin/sh -c {shlex.quote(inner)}")

    def get_unit_info(self, unit: str, user: str | None = None) -> dict[str, str]:
        """All properties of a unit."""
        status, text = self.systemctl(f'--no-pager show "{unit}"', user)
        if status != 0:
            raise TestFailure(f"{self.name}: properties of {unit} cannot be read: {text}")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def get_unit_property(self, unit: str, property: str, user: str | None = None) -> str:
        """One property of a unit."""
        status, text = self.systemctl(f'--no-pager show "{unit}" --property="{property}"', user)
        if status != 0 or "=" not in text:
            raise TestFailure(f"{self.name}: {unit} has no property {property}: {text}")
        return text.strip().split("=", 1)[1]

    def wait_for_unit(
        self, unit: str, user: str | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Waits until a unit is active; raises when it failed, or when nothing will start it."""

        def now() -> str:
            return self.get_unit_property(unit, "ActiveState", user)

        def under_way() -> bool:
            return "No jobs" not in self.systemctl("list-jobs --full 2>&1", user)[1]

        def look(_: bool) -> bool:
            state = now()
            if state == "failed":
                raise TestFailure(f'{self.name}: unit "{unit}" reached state "failed"')
            if state == "inactive" and not under_way() and state == now():
                raise TestFailure(
                    f'{self.name}: unit "{unit}" is inactive and there are no pending jobs'
                )
            return state == "active"

        with self.nested(f"waiting for unit {unit}"):
            retry(look, timeout)

    def require_unit_state(self, unit: str, require_state: str = "active") -> None:
        """Fails unless a unit is in this state."""
        state = self.get_unit_property(unit, "ActiveState")
        if state != require_state:
            raise TestFailure(f"{self.name}: unit {unit} is {state}, not {require_state}")

    def start_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """systemctl start."""
        return self.systemctl(f"start {jobname}", user)

    def stop_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """systemctl stop."""
        return self.systemctl(f"stop {jobname}", user)

    def sleep(self, secs: int) -> None:
        """Lets the host's time pass."""
        self.succeed(f"sleep {secs}")

    def copy_from_host(self, source: str, target: str) -> None:
        """Brings a file or folder onto the host; relative paths begin at the repository."""
        path = REPOSITORY / source
        pack = ["tar", "-C", str(path.parent), "-czf", "-", path.name]
        data = subprocess.run(pack, capture_output=True, check=True).stdout
        self.succeed("rm -rf /tmp/.copy && mkdir -p /tmp/.copy")
        for at in range(0, len(data), TRANSFER_BYTES):
            part = base64.b64encode(data[at : at + TRANSFER_BYTES]).decode()
            self.connect()
            self.run_command(f"echo {part} | base64 -d >>/tmp/.copy/archive", DEFAULT_TIMEOUT)
        self.succeed(
            f"tar -C /tmp/.copy -xzf /tmp/.copy/archive && mkdir -p $(dirname {target}) "
            f"&& cp -rT /tmp/.copy/{path.name} {target}"
        )

    def copy_from_machine(self, source: str, target_dir: str = "") -> None:
        """Brings a file of the host into the run's results."""
        goal = self.lab.results / target_dir / Path(source).name
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(base64.b64decode(self.succeed(f"base64 -w0 {source}")))

    def save_journal(self) -> None:
        """Keeps the journal and the console for whoever looks into a failure."""
        self.lab.results.mkdir(parents=True, exist_ok=True)
        (self.lab.results / f"{self.name}.console").write_text(self.get_console_log())
        if self.booted and self.connected:
            text = self.run_command("journalctl --merge --no-pager -o short-precise", 60)[1]
            (self.lab.results / f"{self.name}.journal").write_text(text)
