"""Hosts as systemd-nspawn containers on the running kernel: up in a quarter of a second.

Limits: the kernel and its page cache are shared, so nothing unsynced is ever lost; and only the
controllers that this machine gives to cgroup2 are there (`offers`)."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .lab import Lab, cgroup_roots, command
from .machine import Machine
from .progress import TestFailure, retry

BOOT_SECONDS = 60
SHUTDOWN_SECONDS = 60
CONTROLLERS = frozenset({"memory", "cpu", "io", "pids", "cpuset"})
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Without these a unit's IPAddressDeny= and other BPF is silently not enforced.
SYSTEM_CALLS = "bpf perf_event_open keyctl add_key"

# A process enters its control groups before it becomes the container, or what runs in it.
ENTER = 'for group in $TEPUI_GROUPS; do echo $$ >"$group/cgroup.procs" || exit; done; exec "$@"'


def offers() -> frozenset[str]:
    """The needs of cases that containers on this machine meet."""
    with contextlib.suppress(OSError, IndexError):
        # What the root hands down, which on hybrid machines is little of what the kernel has.
        text = (cgroup_roots()[0] / "cgroup.subtree_control").read_text()
        return CONTROLLERS & frozenset(text.split())
    return frozenset()


class Nspawn(Machine):
    """A host that is a container."""

    def __init__(self, name: str, number: int, lab: Lab) -> None:
        super().__init__(name, number, lab)
        self._groups = [root / f"{lab.tag}-{number}" for root in cgroup_roots()]
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._started = 0.0
        self._made = False

    def _make(self) -> None:
        """The host's disk: once, so a crashed host finds its files again."""
        self._made = True
        root, upper, work, disk = (self.folder / part for part in ("root", "upper", "work", "disk"))
        for folder in (root, upper, work, disk):
            folder.mkdir()
        layers = f"lowerdir={self.lab.image}/rootfs,upperdir={upper},workdir={work}"
        command("mount", "-t", "overlay", self.lab.tag, "-o", layers, str(root))
        (root / "etc/systemd/system/multi-user.target.wants/backdoor.service").unlink()
        (root / "etc/systemd/system/sysinit.target.wants/early-identity.service").unlink()
        shutil.copytree(
            self.lab.payload / "hosts" / self.name, root, symlinks=True, dirs_exist_ok=True
        )

    def _command_line(self) -> list[str]:
        container = f"{self.lab.tag}-{self.number}"
        return [
            "systemd-nspawn", "--quiet", "--directory", str(self.folder / "root"),
            "--machine", container, f"--hostname={self.name}", "--register=no", "--keep-unit",
            f"--network-namespace-path=/run/netns/{self.lab.network.host_namespace(self.number)}",
            "--boot", "--kill-signal=SIGRTMIN+3", "--capability=all",
            f"--system-call-filter={SYSTEM_CALLS}", f"--bind-ro={self.lab.payload}:/payload",
            f"--bind={self.folder / 'disk'}:/persist",
            "--resolv-conf=off", "--timezone=off",
        ]  # fmt: skip

    def start(self, allow_reboot: bool = False) -> None:
        if self.booted:
            return
        self.log("starting container")
        self._started = time.monotonic()
        if not self._made:
            self._make()
        self.lab.network.add_container(self.number)
        for group in self._groups:
            group.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "TEPUI_GROUPS": " ".join(map(str, self._groups)),
        }
        with open(self.folder / "console.log", "ab") as console:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", ENTER, "sh", *self._command_line()],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True,
            )  # fmt: skip
        self.booted = True

    def _find_init(self) -> int:
        assert self._process is not None
        if self._process.poll() is not None:
            raise TestFailure(f"{self.name}: the container ended: {self.get_console_log()}")
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _operators_group(self) -> Path | None:
        """A control group of the host's own, as that of somebody who has logged in there."""
        # Without a first process there is nothing to run in, which is said by whoever tries.
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self._init}/cgroup").read_text().splitlines():
                if line.startswith("0::") and line.endswith("/init.scope"):
                    host = line.removeprefix("0::/").removesuffix("/init.scope")
                    group = cgroup_roots()[0] / host / "operator"
                    group.mkdir(exist_ok=True)
                    return group
        return None

    def connect(self) -> None:
        if self.connected:
            return
        self.start()

        def up(_: bool) -> bool:
            self._init = self._find_init()
            ready = "test -S /run/dbus/system_bus_socket && systemctl is-active -q basic.target"
            return self._init != 0 and self.run_command(ready, 10)[0] == 0

        with self.nested("waiting for the host to finish booting"):
            retry(up, BOOT_SECONDS)
        self.connected = True
        self.log(f"up after {time.monotonic() - self._started:.2f} s")

    def run_command(self, command: str, timeout: float | None) -> tuple[int, str]:
        # What nobody can run would look like a command that fails.
        if self.connected and not Path(f"/proc/{self._init}").exists():
            raise TestFailure(f"{self.name}: the host is gone")
        limit = [] if timeout is None else ["timeout", str(timeout)]
        group = self._operators_group()
        line = [
            "sh", "-c", ENTER, "sh",
            "nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-C",
            "env", "-i", "HOME=/root", "USER=root", f"PATH={PATH}", *limit,
            "bash", "-c", f"set -euo pipefail; cd /root; {command}",
        ]  # fmt: skip
        with open(self.folder / "stderr.log", "ab") as errors:
            done = subprocess.run(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                check=False,
                env={**os.environ, "TEPUI_GROUPS": str(group or "")},
            )
        return done.returncode, done.stdout.decode(errors="replace")

    def wait_for_shutdown(self) -> None:
        if not self.booted or self._process is None:
            return
        self._process.wait(SHUTDOWN_SECONDS)
        self.lab.network.remove_container(self.number)
        self.booted = self.connected = False

    def shutdown(self) -> None:
        if self.booted:
            self.connect()
            self.log("shutting down")
            self.run_command("systemctl poweroff --no-block", 30)
            self.wait_for_shutdown()

    def crash(self) -> None:
        if self.booted:
            self.connect()
            self.log("forced crash")
            # Others must hear nothing: the kernel would close the connections of the dead.
            self.lab.network.set_port(self.number, False)
            os.kill(self._init, signal.SIGKILL)
            self.wait_for_shutdown()

    def block(self) -> None:
        self.lab.network.set_port(self.number, False)

    def unblock(self) -> None:
        self.lab.network.set_port(self.number, True)

    def release(self) -> None:
        for group in self._groups:
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1")
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.booted = self.connected = False
