"""What the hosts of one case share: tag, folder, image, network, programs.

Nothing of it outlives the case: what a killed run left is found by its tag and removed by the next
one."""

import contextlib
import fcntl
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .net import Network
from .polling import PollingCondition

PREFIX = "tepui-vm-"
"""Of folders, network namespaces and control groups of runs."""


@dataclass
class Lab:
    """The place where the hosts of one case live."""

    tag: str
    folder: Path
    image: Path
    results: Path
    network: Network
    names: list[str]
    conditions: list[PollingCondition] = field(default_factory=list)

    @property
    def payload(self) -> Path:
        """The programs under test and each host's configuration, as a folder."""
        return self.folder / "payload"

    @property
    def payload_disk(self) -> Path:
        """The same as a disk."""
        return self.folder / "payload.img"

    def require_conditions(self) -> None:
        """Ends the case when a polling condition does not hold."""
        for condition in self.conditions:
            condition.require()


def command(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a tool of this host; its error output is part of the failure."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
    return done


def cgroup_roots() -> list[Path]:
    """Where cgroup2 is mounted; on hybrid hosts also the version 1 tree that nspawn uses."""
    roots: list[tuple[bool, Path]] = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            roots.append((kind != "cgroup2", Path(where)))
    return [where for _, where in sorted(roots)]


def remove_groups(tag: str) -> None:
    """Kills what is left in the control groups of a tag and removes them."""
    for root in cgroup_roots():
        for group in root.glob(f"{tag}*"):
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1")
            end = time.monotonic() + 10
            while group.exists() and time.monotonic() < end:
                for inner in sorted(group.rglob("*"), reverse=True):
                    if inner.is_dir():
                        with contextlib.suppress(OSError):
                            inner.rmdir()
                with contextlib.suppress(OSError):
                    group.rmdir()
                if group.exists():
                    time.sleep(0.02)


def remove(tag: str, folder: Path) -> None:
    """Removes everything of a tag: processes, mounts, network namespaces, control groups, files."""
    remove_groups(tag)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for where in reversed(mounts):
        if Path(where).is_relative_to(folder):
            command("umount", "-l", where, check=False)
    Network(tag).remove()
    shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Removes what killed runs left: their folder's lock is free, and not about to be taken."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), open(folder / "lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - (folder / "lock").stat().st_mtime > 5:
                remove(folder.name, folder)


@contextlib.contextmanager
def tagged_folder() -> Iterator[Path]:
    """A folder whose name is a new tag; afterwards nothing of the tag is left."""
    folder = Path(tempfile.gettempdir()) / (PREFIX + secrets.token_hex(3))
    folder.mkdir()
    # Whoever runs a task on a host must be able to reach the programs, whatever the umask was.
    folder.chmod(0o755)
    with open(folder / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            remove(folder.name, folder)


@contextlib.contextmanager
def open_lab(names: list[str], image: Path, results: Path) -> Iterator[Lab]:
    """A lab with its network."""
    with tagged_folder() as folder:
        network = Network(folder.name)
        network.create()
        yield Lab(folder.name, folder, image, results, network, names)
