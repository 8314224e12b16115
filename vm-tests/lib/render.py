"""NixOS configurations on hosts that are none: modules evaluated, units and files written.

What NixOS would build is followed as a recipe, with the programs under test in place of packages."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .nix import NixFailure, value_of
from .progress import TestFailure

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EVALUATOR = REPOSITORY / "vm-tests/nix/eval.nix"
PACKAGE = "/stand-in/pkg/"
STORE = "/stand-in/store/"
"""Beginnings of paths that only the stand-in library knows (vm-tests/nix/pkgs.nix)."""
LISTS_OF_UNITS = {
    "documentation": "Documentation", "wants": "Wants", "requires": "Requires",
    "bindsTo": "BindsTo", "partOf": "PartOf", "conflicts": "Conflicts", "after": "After",
    "before": "Before",
}  # fmt: skip


PROMETHEUS = """[Unit]
Description=Prometheus

[Service]
ExecStart=/payload/bin/prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/var/lib/prometheus
StateDirectory=prometheus
"""


class BadConfiguration(TestFailure):
    """A configuration that NixOS would refuse, in its words."""


def evaluate(
    nodes: Path | str, *, time_factor: float = 1, library: Path | None = None
) -> dict[str, Any]:
    """The hosts of a file with nodes, or of an expression, as data. Needs nix-instantiate, and
    neither a store nor root."""
    expression = str(nodes.resolve()) if isinstance(nodes, Path) else nodes
    words = [str(EVALUATOR), "--arg", "nodes", expression, "--argstr", "timeFactor", json.dumps(time_factor)]
    if library:
        words += ["--arg", "libPath", str(library.resolve())]
    try:
        hosts: dict[str, Any] = value_of(*words)
    except FileNotFoundError:
        raise BadConfiguration("no nix-instantiate here: apt-get install nix-bin") from None
    except NixFailure as failure:
        raise BadConfiguration(complaint(str(failure))) from None
    return hosts


def complaint(stderr: str) -> str:
    """What nix says was wrong, without where in our library it noticed."""
    text = stderr.partition("error: ")[2] or stderr
    return re.split(r"\n\s*\n\s+at /|\n\(use '--show-trace'", text)[0].strip()


@dataclass(frozen=True)
class Places:
    """Where things are on the host that is written."""

    packages: Mapping[str, str]
    """Packages that the host has, by name, and where; its programs are in `bin` there."""

    def settle(self, text: str) -> str:
        """A text with the host's paths in place of those of packages."""

        def place(found: re.Match[str]) -> str:
            if found[1] not in self.packages:
                raise BadConfiguration(f"hosts without Nix have no package {found[1]}: {text}")
            return self.packages[found[1]]

        return re.sub(re.escape(PACKAGE) + r"([A-Za-z0-9-]+)", place, text)


def unit_value(value: object) -> str:
    """A setting as systemd reads it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def lines_of(settings: dict[str, Any]) -> list[str]:
    """Settings in alphabetical order; each element of a list is a line of its own."""
    lines = []
    for key, value in sorted(settings.items()):
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{key}={unit_value(one)}")
    return lines


def unit_text(unit: dict[str, Any], places: Places) -> str:
    """A service as a unit file. What NixOS adds to PATH the host has in its own."""
    top = dict(unit["unitConfig"])
    if unit["description"]:
        top["Description"] = unit["description"]
    for key, name in LISTS_OF_UNITS.items():
        if unit[key]:
            top[name] = " ".join(unit[key])
    service = dict(unit["serviceConfig"])
    if unit["environment"]:
        service["Environment"] = [
            json.dumps(f"{name}={value}") for name, value in sorted(unit["environment"].items())
        ]
    sections = {"Unit": lines_of(top), "Service": lines_of(service)}
    install = {
        "WantedBy": " ".join(unit["wantedBy"]), "RequiredBy": " ".join(unit["requiredBy"])
    }  # fmt: skip
    sections["Install"] = lines_of({key: value for key, value in install.items() if value})
    text = "\n".join(
        f"[{name}]\n" + "".join(f"{line}\n" for line in lines)
        for name, lines in sections.items()
        if lines
    )
    return places.settle(text)


def slice_file(name: str, unit: dict[str, Any]) -> tuple[str, str]:
    """Where a slice stands among units, and its text; that of a slice of systemd's own is added."""
    top = dict(unit["unitConfig"])
    if unit["description"]:
        top["Description"] = unit["description"]
    sections = {"Unit": lines_of(top), "Slice": lines_of(unit["sliceConfig"])}
    text = "\n".join(
        f"[{title}]\n" + "".join(f"{line}\n" for line in lines)
        for title, lines in sections.items()
        if lines
    )
    is_added = unit["overrideStrategy"] == "asDropin"
    return f"{name}.slice.d/tepui.conf" if is_added else f"{name}.slice", text


def build(recipe: dict[str, Any], store: Path, building: Places) -> Path:
    """Follows a recipe as the Nix builder would; the programs are those of `building`."""
    out = store / Path(recipe["path"]).name
    if out.exists():
        return out
    store.mkdir(parents=True, exist_ok=True)
    for one in recipe["inputs"]:
        build(one, store, building)

    def here(text: str) -> str:
        return building.settle(text).replace(STORE, f"{store}/")

    if "text" in recipe:
        out.write_text(recipe["text"])
        return out
    environment = {name: here(value) for name, value in recipe["environment"].items()}
    environment |= {"PATH": os.environ["PATH"], "out": str(out)}
    done = subprocess.run(
        ["bash", "-euc", here(recipe["script"])],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BadConfiguration((done.stdout + done.stderr).strip())
    return out


def write_file(path: Path, entry: dict[str, Any], store: Path, building: Places) -> None:
    """A file or folder of /etc."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "text" in entry:
        path.write_text(entry["text"])
        if entry["mode"] != "symlink":
            path.chmod(int(entry["mode"], 8))
        return
    source = build(entry["recipe"], store, building) if "recipe" in entry else Path(entry["source"])
    if source.is_dir():
        shutil.copytree(source, path)
    else:
        shutil.copy(source, path)


def firewall_text(firewall: dict[str, Any]) -> str:
    """The rules of nftables for `networking.firewall`: what is not allowed is refused."""
    rules = [
        'iifname "lo" accept',
        "ct state established,related accept",
        "meta l4proto { icmp, ipv6-icmp } accept",
    ]
    rules += [f'iifname "{name}" accept' for name in firewall["trustedInterfaces"]]
    for kind in ("TCP", "UDP"):
        ports = [str(port) for port in firewall[f"allowed{kind}Ports"]]
        ports += [f"{one['from']}-{one['to']}" for one in firewall[f"allowed{kind}PortRanges"]]
        if ports:
            rules.append(f"{kind.lower()} dport {{ {', '.join(ports)} }} accept")
    rules.append("reject")
    body = "".join(f"    {rule}\n" for rule in rules)
    return (
        "table inet nixos-fw {\n  chain input {\n    type filter hook input priority 0; policy "
        f"drop;\n{body}  }}\n}}\n"
    )


def sysusers_text(host: dict[str, Any]) -> str:
    """Users and groups for systemd-sysusers, which Debian's hosts have too."""
    lines = [f"g {name} -" for name in sorted(host["groups"])]
    for name, user in sorted(host["users"].items()):
        home = user.get("home", "/var/empty" if user.get("isSystemUser") else f"/home/{name}")
        lines.append(f'u {name} {user.get("uid", "-")} "" {home} {user.get("shell", "/bin/sh")}')
    return "".join(f"{line}\n" for line in lines)


def oneshot(what: str, command: str) -> str:
    """A unit that sets a host up before anything else of ours starts."""
    return (
        f"[Unit]\nDescription={what}\nBefore=multi-user.target tepui-control-plane.service "
        "tepui-agentd.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        f"ExecStart={command}\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def add_unit(tree: Path, name: str, text: str, wanted_by: list[str]) -> None:
    """A unit of a host, and who wants it."""
    units = tree / "etc/systemd/system"
    (units / name).parent.mkdir(parents=True, exist_ok=True)
    (units / name).write_text(text)
    for target in wanted_by:
        wants = units / f"{target}.wants"
        wants.mkdir(exist_ok=True)
        (wants / name).symlink_to(f"../{name}")


def write_prometheus(
    tree: Path, prometheus: dict[str, Any], store: Path, building: Places
) -> None:
    """Prometheus as NixOS has it: its configuration, which is YAML as JSON is, rules and unit."""
    folder = tree / "etc/prometheus"
    (folder / "rules").mkdir(parents=True)
    for rules in prometheus["ruleFiles"]:
        source = rules if isinstance(rules, str) else build(rules["recipe"], store, building)
        shutil.copy(source, folder / "rules" / Path(source).name)
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s", **prometheus["globalConfig"]},
        "rule_files": ["rules/*"],
        "scrape_configs": prometheus["scrapeConfigs"],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config, indent=2))
    add_unit(tree, "prometheus.service", PROMETHEUS, ["multi-user.target"])


def write_host(
    tree: Path, host: dict[str, Any], installed: Places, store: Path, building: Places
) -> None:
    """What a host has of its configuration: units, files of /etc, users, the firewall, and what
    Prometheus reads; Prometheus itself is the host's own."""
    for name, entry in sorted(host["etc"].items()):
        write_file(tree / "etc" / name, entry, store, building)
    for name, unit in sorted(host["units"].items()):
        add_unit(tree, f"{name}.service", unit_text(unit, installed), unit["wantedBy"])
    for name, unit in sorted(host["slices"].items()):
        add_unit(tree, *slice_file(name, unit), wanted_by=[])
    if host["users"] or host["groups"]:
        users = tree / "etc/sysusers.d/nixos.conf"
        users.parent.mkdir(parents=True, exist_ok=True)
        users.write_text(sysusers_text(host))
        text = oneshot("users", "systemd-sysusers /etc/sysusers.d/nixos.conf")
        add_unit(tree, "nixos-users.service", text, ["multi-user.target"])
    if host["prometheus"]["enable"]:
        write_prometheus(tree, host["prometheus"], store, building)
    if host["firewall"]["enable"]:
        (tree / "etc").mkdir(parents=True, exist_ok=True)
        (tree / "etc/nixos-firewall.nft").write_text(firewall_text(host["firewall"]))
        text = oneshot("firewall", "nft -f /etc/nixos-firewall.nft")
        add_unit(tree, "nixos-firewall.service", text, ["multi-user.target"])
