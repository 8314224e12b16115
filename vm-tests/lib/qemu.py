"""Hosts as virtual machines: restored from the template's snapshot, or booted cold.

Both have a kernel and a page cache of their own, so a crash is a power cut."""

import os
import secrets
import subprocess
import time
import uuid
from pathlib import Path

from .lab import Lab, command
from .machine import Machine
from .progress import TestFailure, nested, retry
from .qmp import Qmp
from .shell import Shell
from .template import (
    BOOT_SECONDS,
    KERNEL_LINE,
    PAYLOAD_MB,
    command_line,
    ignore_shared_memory,
    memory,
)

RESTORE_SECONDS = 60
SHUTDOWN_SECONDS = 120


def why_not() -> str | None:
    """Why virtual hosts cannot be run here, or None."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "virtual hosts need /dev/net/tun"
    return None


def make_payload_disk(lab: Lab) -> None:
    """The payload as a disk of the size that the template knows."""
    disk = lab.payload_disk
    command("mkfs.erofs", "--quiet", str(disk), str(lab.payload))
    if disk.stat().st_size > PAYLOAD_MB << 20:
        raise TestFailure(f"the programs need more than {PAYLOAD_MB} MB: raise PAYLOAD_MB")
    command("truncate", "-s", f"{PAYLOAD_MB}M", str(disk))


class Qemu(Machine):
    """A host that is a virtual machine; with a template it is a clone of it."""

    def __init__(self, name: str, number: int, lab: Lab, template: Path | None) -> None:
        super().__init__(name, number, lab)
        self._template = template
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._shell: Shell | None = None
        self._qmp: Qmp | None = None
        self._disk = self.folder / "state.img"

    def _command_line(self, tap: str) -> list[str]:
        lab = self.lab
        line = command_line(
            self.folder, lab.image, self._disk, lab.payload_disk,
            netdev=f"tap,id=vlan,ifname={tap},script=no,downscript=no", number=self.number,
        )  # fmt: skip
        if self._template is not None:
            line += [*memory(self._template, shared=False), "-append", KERNEL_LINE]
            return [*line, "-incoming", "defer"]
        who = f"persist=/dev/vdb tepui.host={self.name} tepui.number={self.number}"
        return [*line, "-M", "pc,hpet=off", "-append", f"{KERNEL_LINE} {who}"]

    def start(self, allow_reboot: bool = False) -> None:
        if self.booted:
            return
        self.log("starting virtual machine")
        self._started = time.monotonic()
        if not self._disk.exists():
            command("cp", "--sparse=always", f"{self.lab.image}/blank.img", str(self._disk))
            self.lab.network.add_tap(self.number)
        (self.folder / "qmp").unlink(missing_ok=True)
        self._shell = Shell(self.folder / "shell")
        # The machine ends with this run, even when that is killed.
        line = [*self.lab.network.inside(), "setpriv", "--pdeathsig", "KILL"]
        line += self._command_line(f"ve{self.number}")
        with open(self.folder / "qemu.log", "ab") as errors:
            self._process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=errors, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._shell.accept()
        except TimeoutError:
            text = (self.folder / "qemu.log").read_text(errors="replace")
            raise TestFailure(f"{self.name}: QEMU did not start: {text}") from None
        self._qmp = Qmp(self.folder / "qmp")
        if self._template is not None:
            ignore_shared_memory(self._qmp)
            self._qmp("migrate-incoming", uri=f"exec:cat {self._template}/state.bin")
        self.booted = True

    def _restore(self) -> None:
        """Waits for the snapshot, lets the machine run and tells it who it is."""
        retry(lambda _: self._monitor("query-status")["status"] != "inmigrate", RESTORE_SECONDS)
        if self._monitor("query-status")["status"] != "running":
            self._monitor("cont")
        self.connected = True
        who = f"{self.name} {self.number} {time.time():.3f} {uuid.uuid4()} {secrets.token_hex(32)}"
        identity = f"/usr/lib/tepui-test/late-identity {who} 2>&1"
        status, output = self.run_command(identity, BOOT_SECONDS)
        if status != 0:
            raise TestFailure(f"{self.name}: the host did not take on its identity: {output}")

    def connect(self) -> None:
        if self.connected:
            return
        self.start()
        with nested(f"{self.name}: waiting for the host to finish booting"):
            if self._template is not None:
                self._restore()
            else:
                assert self._shell is not None
                self._shell.wait_for_greeting(BOOT_SECONDS)
                self.connected = True
        self.log(f"up after {time.monotonic() - self._started:.2f} s")

    def _monitor(self, command: str, **arguments: object) -> dict[str, str]:
        if self._qmp is None:
            raise TestFailure(f"{self.name} does not run")
        answer = self._qmp(command, **arguments)
        return answer if isinstance(answer, dict) else {"return": answer}

    def run_command(self, command: str, timeout: float | None) -> tuple[int, str]:
        if self._shell is None:
            raise TestFailure(f"{self.name} does not run")
        try:
            return self._shell.run(command, timeout)
        except TestFailure as failure:
            raise TestFailure(f"{self.name}: `{command}`: {failure}") from failure

    def wait_for_shutdown(self) -> None:
        if not self.booted or self._process is None:
            return
        self._process.wait(SHUTDOWN_SECONDS)
        self._forget()

    def _forget(self) -> None:
        if self._shell is not None:
            self._shell.close()
        if self._qmp is not None:
            self._qmp.close()
        self._shell = self._qmp = None
        self.booted = self.connected = False

    def shutdown(self) -> None:
        if self.booted:
            self.connect()
            self.log("shutting down")
            assert self._shell is not None
            self._shell.send("systemctl poweroff --no-block")
            self.wait_for_shutdown()

    def crash(self) -> None:
        if self.booted and self._process is not None:
            self.log("forced crash")
            self._process.kill()
            self.wait_for_shutdown()

    def block(self) -> None:
        self._monitor("set_link", name="vnic", up=False)

    def unblock(self) -> None:
        self._monitor("set_link", name="vnic", up=True)

    def send_monitor_command(self, command: str) -> str:
        return self._monitor("human-monitor-command", **{"command-line": command})["return"]

    def release(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._forget()
