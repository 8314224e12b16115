"""Programs of the stores that control planes share, for hosts that run one: this machine's etcd, or
its Java and ZooKeeper, copied into the payload. Hosts have the same release of Debian."""

import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from .progress import TestFailure

FOLDER = "stores"
"""In the payload: `bin`, and `lib` for archives of Java."""
JARS = Path("/usr/share/java")
LOGGER = "slf4j-simple.jar"
UNUSED = ("ct.sym", "src.zip", "libawt*", "libmlib_image.so", "libjsvml.so", "libfontmanager.so")
"""Of a Java's lib, large and of no use to servers."""


def fill(payload: Path, hosts: dict[str, Any]) -> None:
    """Copies what the units of these hosts run."""
    units = {name for host in hosts.values() for name in host["units"]}
    if "etcd" in units:
        add_etcd(payload / FOLDER)
    if "zookeeper" in units:
        add_zookeeper(payload / FOLDER)


def add_etcd(folder: Path) -> None:
    """etcd is one program."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(installed("etcd", "etcd-server"), folder / "bin/etcd")


def add_zookeeper(folder: Path) -> None:
    """A Java without what servers have no use for, and the archives that ZooKeeper's own names."""
    program = Path(os.path.realpath(installed("java", "default-jre-headless")))
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(program, folder / "bin/java")
    for part in ("lib", "conf"):
        shutil.copytree(
            program.parent.parent / part, folder / part, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(*UNUSED), ignore_dangling_symlinks=True,
        )  # fmt: skip
    archives = [JARS / "zookeeper.jar", JARS / LOGGER]
    if not archives[0].is_file():
        raise TestFailure("no ZooKeeper on this machine: apt-get install zookeeper")
    for archive in [*archives, *named_by(archives[0])]:
        if archive.is_file():
            shutil.copy(archive, folder / "lib" / archive.name)


def installed(program: str, package: str) -> str:
    """Where a program of this machine is."""
    where = shutil.which(program)
    if where is None:
        raise TestFailure(f"no {program} on this machine: apt-get install {package}")
    return where


def named_by(archive: Path) -> list[Path]:
    """The archives that an archive's manifest names; its long lines go on after a space."""
    with zipfile.ZipFile(archive) as opened:
        text = opened.read("META-INF/MANIFEST.MF").decode()
    found = re.search(r"^Class-Path: (.*)$", re.sub(r"\r?\n ", "", text), re.MULTILINE)
    return [Path(name) for name in found[1].split()] if found else []
