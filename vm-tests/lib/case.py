"""A case: a folder with the script and what it needs of the hosts; and which hosts offer that."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import api, nspawn

CASES = Path(__file__).resolve().parent.parent / "cases"
BACKENDS = ("nspawn", "clone", "cold")
"""The cheapest first."""

NEEDS = {
    "memory": "the memory controller: limits, OOM",
    "cpu": "the cpu controller: shares, quotas",
    "io": "the io controller",
    "pids": "the pids controller",
    "cpuset": "the cpuset controller",
    "own-kernel": "a kernel that only this host uses: tracing, sysctls, modules",
    "power-cut": "a crash that loses what was not synced, and the page cache",
    "pairwise-partition": "partition() and heal(), which the NixOS test driver does not have",
    "boot-order": "a boot from the first process on, with early units",
}
MACHINE_OFFERS = frozenset(NEEDS) - {"boot-order"}
KEYS = {"description", "needs", "timeout_seconds", "hosts"}
OPTIONAL_KEYS = {
    "only_by_name", "full_only", "images", "plugins", "previous_release", "script", "clients",
}  # fmt: skip
ROLES = {"control-plane", "agent"}


class BadCase(Exception):
    """A case that cannot be run, or not as asked; nothing was tried."""


@dataclass(frozen=True)
class Case:
    """What meta.toml says, and where test.py is."""

    name: str
    description: str
    needs: frozenset[str]
    timeout_seconds: int
    hosts: dict[str, dict[str, Any]]
    only_by_name: bool = False
    """Left out where no case is named: it measures, and takes its time."""
    full_only: bool = False
    """Left out of the quick round: another case shows the same in less time."""
    images: tuple[str, ...] = ()
    """Container images that a registry on the hosts has, as `web:TAG` or `mysql:TAG`."""
    plugins: tuple[str, ...] = ()
    """Libraries of plugins/ that hosts find in /payload/bin/plugins."""
    previous_release: bool = False
    """Hosts begin with the programs and units of vm-tests/previous-release, which are in
    /payload/previous; those under test are in /payload/next. Their files of /etc are this release's."""
    clients: bool = False
    """Python's clients of Mesos and Marathon are in /payload/clients."""
    nodes: Path | None = None
    """The hosts as NixOS configurations, where the case has them."""
    script_of: str = ""
    """The case whose script this is, if not its own: the same shown on other hosts."""

    @property
    def script(self) -> Path:
        """The script."""
        return CASES / (self.script_of or self.name) / "test.py"

    @property
    def extensions(self) -> frozenset[str]:
        """Names that this script may use beyond the shared API."""
        return api.PARTITION if "pairwise-partition" in self.needs else frozenset()

    @property
    def names(self) -> list[str]:
        """The hosts in the order of their addresses."""
        return sorted(self.hosts)

    @property
    def control_planes(self) -> list[str]:
        """The hosts that run a control plane."""
        return [name for name in self.names if "control-plane" in self.hosts[name]]


def load(name: str) -> Case:
    """Reads a case and refuses what it does not understand."""
    path = CASES / name / "meta.toml"
    try:
        meta = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise BadCase(f"no case '{name}'; there are: {', '.join(all_names())}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadCase(f"{name}/meta.toml is not TOML: {error}") from error
    missing, unknown = KEYS - meta.keys(), meta.keys() - KEYS - OPTIONAL_KEYS
    if missing or unknown:
        raise BadCase(f"{name}/meta.toml: missing {sorted(missing)}, unknown {sorted(unknown)}")
    if strange := set(meta["needs"]) - NEEDS.keys():
        raise BadCase(f"{name}/meta.toml needs {sorted(strange)}; known: {', '.join(NEEDS)}")
    nodes = path.parent / "nodes.nix"
    hosts = meta["hosts"]
    if nodes.is_file() != isinstance(hosts, list):
        raise BadCase(
            f"{name}: hosts with a nodes.nix are a list of names in meta.toml, others are tables"
        )
    if isinstance(hosts, list):
        hosts = {host: {} for host in hosts}
    for host, roles in hosts.items():
        if strange := roles.keys() - ROLES:
            raise BadCase(f"{name}/meta.toml: host {host} is {sorted(strange)}; known: {ROLES}")
    needs = frozenset(meta["needs"])
    case = Case(
        name, meta["description"], needs, meta["timeout_seconds"], hosts,
        only_by_name=meta.get("only_by_name", False),
        full_only=meta.get("full_only", False),
        images=tuple(meta.get("images", ())),
        plugins=tuple(meta.get("plugins", ())),
        previous_release=meta.get("previous_release", False),
        nodes=nodes if nodes.is_file() else None,
        script_of=meta.get("script", ""),
        clients=meta.get("clients", False),
    )  # fmt: skip
    if case.script_of and (path.parent / "test.py").exists() or not case.script.is_file():
        raise BadCase(f"{name}: a test.py of its own, or `script` names another case's, not both")
    return case


def all_names() -> list[str]:
    """Every case."""
    return sorted(path.parent.name for path in CASES.glob("*/meta.toml"))


def offers(backend: str) -> frozenset[str]:
    """What a backend offers on this machine."""
    match backend:
        case "nspawn":
            return nspawn.offers() | {"pairwise-partition"}
        case "clone":
            return MACHINE_OFFERS
        case _:
            return frozenset(NEEDS)


def choose_backend(case: Case, wanted: str) -> str:
    """The wanted backend, or the cheapest that will do; never one that would prove nothing."""
    if wanted == "auto":
        return next(backend for backend in BACKENDS if case.needs <= offers(backend))
    if lacking := case.needs - offers(wanted):
        what = "; ".join(f"{need} ({NEEDS[need]})" for need in sorted(lacking))
        better = choose_backend(case, "auto")
        raise BadCase(
            f"{case.name} needs what {wanted} hosts do not have here: {what}. "
            f"It would pass without proving anything; run it with --backend {better}"
        )
    return wanted
