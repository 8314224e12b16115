"""What every host gets to see at /payload: the programs under test, and each host's own files."""

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from . import registry, render, stores
from .case import BadCase, Case
from .lab import Lab, command
from .progress import TestFailure

PROGRAMS = ("tepui", "tepui-control-plane", "tepui-agentd", "tepui-shim", "tepui-runtime")
REPOSITORY = Path(__file__).resolve().parent.parent.parent
PLUGINS = ("dominant", "misbehaves", "numa")
"""Libraries of plugins/, where they are built: cases name those that they need."""
SHIPPED = {
    "numa": "libnuma.so", "priority": "libtepui_plugin_priority.so",
    "binpack": "libtepui_plugin_binpack.so",
}  # fmt: skip
"""Plugins that the package has in lib/tepui/plugins (nixos-modules/package.nix), as cargo calls them."""
UNITS = {
    "tepui-control-plane.service": REPOSITORY / "control-plane/daemon",
    "tepui-agentd.service": REPOSITORY / "agentd/daemon",
}
"""The units as they are shipped, each beside its daemon."""
SLICES = ("tepui.slice", "system.slice.d/tepui.conf")
"""What is shipped with the agent's unit."""
RESOURCES = "cpus:4;mem:2048;disk:4096;ports:[31000-31099]"
"""What an agent offers unless its case says otherwise: the same on every machine."""
STRETCHED = frozenset({"agent_patience_seconds"})
"""Times of daemons that slower hosts need more of."""
RELEASES = "etc/tepui-releases"
"""Where a host has the units of either release, each in a folder as /etc/systemd/system has them."""
PUT = """#!/bin/sh -e
# put previous|next: a release's programs and units in the place of what is there; nothing restarts.
for program in {programs}; do ln -sfn "/payload/$1/$program" "/usr/local/bin/$program"; done
(cd "/{releases}/next" && find . -type f) | while read -r unit; do rm -f "/etc/systemd/system/$unit"; done
cp -r "/{releases}/$1/." /etc/systemd/system
systemctl daemon-reload
"""
"""How a host comes to another release."""
ON_HOSTS = render.Places({
    "tepui": "/usr/local", "nftables": "/usr", "busybox": "/usr", "python3": "/usr",
    "coreutils": "/usr",
    **dict.fromkeys(("etcd", "jre", "zookeeper"), f"/payload/{stores.FOLDER}"),
})  # fmt: skip
"""Where Debian's hosts have what NixOS takes from packages."""


def strip_programs(binaries: Path, goal: Path) -> None:
    """Copies the programs without their debug information, which nobody reads on a host."""
    goal.mkdir(parents=True)
    for name in PROGRAMS:
        if not (binaries / name).is_file():
            raise TestFailure(
                f"no {name} in {binaries}: cargo build -p tepui -p tepui-control-plane "
                "-p tepui-agentd -p tepui-launch -p tepui-runtime"
            )
        command("strip", "-o", str(goal / name), str(binaries / name))
        os.chmod(goal / name, 0o755)
    (goal / "plugins").mkdir()
    for name in PLUGINS:
        for library in (binaries / f"lib{name}.so", binaries / f"examples/lib{name}.so"):
            if library.is_file():
                command("strip", "-o", str(goal / f"plugins/{name}.so"), str(library))
                os.chmod(goal / f"plugins/{name}.so", 0o644)
    package = goal.parent / "lib/tepui/plugins"
    package.mkdir(parents=True)
    for name, file in SHIPPED.items():
        if (binaries / file).is_file():
            command("strip", "-o", str(package / f"{name}.so"), str(binaries / file))
            os.chmod(package / f"{name}.so", 0o644)


def previous_release() -> Path:
    """The folder of the previous release's programs and units; BadCase says how to make it."""
    lines = (REPOSITORY / "vm-tests/previous-release").read_text().splitlines()
    (commit,) = [line for line in lines if line and not line.startswith("#")]
    target = os.environ.get("CARGO_TARGET_DIR")
    folder = Path(target) if target else REPOSITORY / "target"
    folder = folder / "previous-release" / commit / "bin"
    if not folder.is_dir():
        raise BadCase(
            f"the programs of the previous release ({commit[:12]}) are not built: "
            "vm-tests/build-previous builds them"
        )
    return folder


def clients() -> Path:
    """The packages that `./test clients` has installed; BadCase says how to get them."""
    target = os.environ.get("CARGO_TARGET_DIR")
    venv = (Path(target) if target else REPOSITORY / "target") / "tools/venv"
    for found in sorted(venv.glob("lib/python3*/site-packages/pymesos")):
        return found.parent
    raise BadCase(f"no clients of Mesos and Marathon in {venv}: ./test clients installs them")


def toml(settings: dict[str, Any]) -> str:
    """Settings as TOML; the values are those that the daemons' files have."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str):
            text = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        elif isinstance(value, list):
            text = "[" + ", ".join(f'"{one}"' for one in value) + "]"
        else:
            text = str(value)
        lines.append(f"{key} = {text}\n")
    return "".join(lines)


def control_plane_settings(name: str) -> dict[str, Any]:
    """Of a control plane that other hosts reach."""
    return {
        "listen": "0.0.0.0:5050",
        "marathon_listen": "0.0.0.0:8080",
        "agent_listen": "0.0.0.0:5052",
        "hostname": name,
        "allow_unauthenticated": True,
    }


def agent_settings(name: str, control_planes: list[str]) -> dict[str, Any]:
    """Of an agent that other hosts reach."""
    return {
        "listen": "0.0.0.0:5051",
        "hostname": name,
        "control_plane": [f"http://{host}:5052" for host in control_planes],
        "resources": RESOURCES,
        "allow_unauthenticated": True,
    }


def add_unit(source: Path, tree: Path, unit: str, config: str, settings: dict[str, Any]) -> None:
    """A daemon of a host: its unit, wanted at boot, and its configuration."""
    units = tree / "etc/systemd/system"
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / unit, units / unit)
    (wants / unit).symlink_to(f"../{unit}")
    (tree / "etc/tepui").mkdir(exist_ok=True)
    (tree / "etc/tepui" / config).write_text(toml(settings))


def write_names(tree: Path, case: Case, name: str, *, machine_id: bool) -> None:
    """Who a host is, and the names of all hosts."""
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_text(f"{name}\n")
    if machine_id:
        (tree / "etc/machine-id").write_text(f"{secrets.token_hex(16)}\n")
    names = "127.0.0.1 localhost\n::1 localhost\n"
    for number, other in enumerate(case.names, 1):
        names += f"192.168.1.{number} {other}\n"
    (tree / "etc/hosts").write_text(names)


def write_host(tree: Path, case: Case, name: str, *, machine_id: bool, time_factor: float) -> None:
    """A host's own files as meta.toml describes it."""
    write_names(tree, case, name, machine_id=machine_id)
    write_daemons(tree, case, name, time_factor=time_factor)


def write_daemons(tree: Path, case: Case, name: str, *, time_factor: float) -> None:
    """The daemons of a host that meta.toml describes."""

    def stretched(settings: dict[str, Any]) -> dict[str, Any]:
        factor = {key: time_factor if key in STRETCHED else 1 for key in settings}
        return {k: round(v * factor[k]) if factor[k] != 1 else v for k, v in settings.items()}

    roles = case.hosts[name]
    if "control-plane" in roles:
        settings = {**control_plane_settings(name), **stretched(roles["control-plane"])}
        unit = "tepui-control-plane.service"
        add_unit(UNITS[unit], tree, unit, "control-plane.toml", settings)
    if "agent" in roles:
        settings = {**agent_settings(name, case.control_planes), **stretched(roles["agent"])}
        unit = "tepui-agentd.service"
        add_unit(UNITS[unit], tree, unit, "agentd.toml", settings)
        for name in SLICES:
            place = tree / "etc/systemd/system" / name
            place.parent.mkdir(exist_ok=True)
            shutil.copy(UNITS[unit] / name, place)


def make_payload(
    lab: Lab, programs: Path, case: Case, *, machine_id: bool, time_factor: float
) -> None:
    """Fills the lab's payload folder."""
    lab.payload.mkdir()
    first = programs
    if case.previous_release:
        first = lab.payload / "previous"
        shutil.copytree(previous_release(), first)
        shutil.copytree(programs, lab.payload / "next", copy_function=os.link)
        put = lab.payload / "put"
        put.write_text(PUT.format(programs=" ".join(PROGRAMS), releases=RELEASES))
        put.chmod(0o755)
    shutil.copytree(first, lab.payload / "bin", copy_function=os.link)
    for name in case.plugins:
        if not (lab.payload / f"bin/plugins/{name}.so").is_file():
            raise TestFailure(
                f"no plugin {name}: cargo build -p tepui-plugin-numa && "
                "cargo build -p tepui-plugin-broken --examples"
            )
    if case.images:
        registry.fill(lab.payload, list(case.images))
    if case.clients:
        shutil.copytree(clients(), lab.payload / "clients", ignore=shutil.ignore_patterns("*.pyc"))
    configured = evaluate(case, time_factor)
    if any(host["prometheus"]["enable"] for host in configured.values()):
        add_prometheus(lab.payload)
    stores.fill(lab.payload, configured)
    for name in case.names:
        tree = lab.payload / "hosts" / name
        if case.nodes:
            write_names(tree, case, name, machine_id=machine_id)
            # The programs under test, and nothing older, read what they are configured with.
            building = render.Places({"tepui": str(programs.parent)})
            store = lab.folder / "store"
            render.write_host(tree, configured[name], ON_HOSTS, store, building)
        else:
            write_host(tree, case, name, machine_id=machine_id, time_factor=time_factor)
        if case.previous_release:
            put_previous(tree)


def put_previous(tree: Path) -> None:
    """The units that the previous release shipped, it had no modules, in the place of the host's own;
    both are kept for `put`."""
    units, releases = tree / "etc/systemd/system", tree / RELEASES
    (releases / "previous").mkdir(parents=True)
    for name in [*UNITS, *SLICES]:
        if (units / name).is_file():
            (releases / "next" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(units / name, releases / "next" / name)
    for name in UNITS:
        if (releases / "next" / name).is_file():
            for place in (units, releases / "previous"):
                shutil.copy(previous_release() / name, place / name)


def add_prometheus(payload: Path) -> None:
    """Prometheus of this machine, which runs on Debian's hosts too."""
    program = shutil.which("prometheus")
    if program is None:
        raise TestFailure("no prometheus on this machine: apt-get install prometheus")
    shutil.copy(program, payload / "bin/prometheus")


def evaluate(case: Case, time_factor: float) -> dict[str, Any]:
    """The hosts of a case's nodes.nix, as data."""
    if not case.nodes:
        return {}
    hosts = render.evaluate(case.nodes, time_factor=time_factor)
    if sorted(hosts) != case.names:
        raise TestFailure(f"{case.name}: meta.toml names {case.names}, nodes.nix {sorted(hosts)}")
    return hosts
