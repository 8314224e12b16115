"""Every metric that hosts have only under a condition (third column of nixos-modules/monitoring/metrics.txt) is
in a real scrape where the condition holds: a plugin in force, a shadow beside it, a store with certificates,
controllers of control groups as far as this host has them. And what is scraped is in that list, with its type.

    python3 control-plane/daemon/tests/families.py --bin target/debug
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

from allocators import fill
from ensemble import Stack
from harness import Cluster, Failed, free_port, listening, request, wait_for

CATALOGUE = pathlib.Path(__file__).resolve().parents[3] / "nixos-modules/monitoring/metrics.txt"
CONTROL_PLANE = {"plugins", "shadow", "tls"}
CONTROLLERS = {"cpu": "cpu.max", "memory": "memory.current"}
"""A file that a control group has with the controller, and not without it."""
CONFIG = """
allocator = "priority"
shadow_allocator = "binpack"
plugin_dir = "{folder}/plugins"
store = "etcds://127.0.0.1:{port}/tepui"
store_ca_file = "{folder}/ca.pem"
"""
APP = {"id": "/some", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 32}


def catalogue():
    """Type and condition of each metric, by name."""
    lines = CATALOGUE.read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows}


def scrape(url):
    """Types of the families that have samples, by name."""
    text = request("GET", f"{url}/metrics")[1]
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    with_samples = set(re.findall(r"^([A-Za-z_:][\w:]*)", text, re.M))
    ends = {"histogram": "_count"}
    return {name: kind for name, kind in types.items() if name + ends.get(kind, "") in with_samples}


def certificates(folder):
    """An authority of its own, and what it says of this host."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    openssl("req", "-x509", *new, "-keyout", "etcd.key", "-out", "etcd.pem", "-subj", "/CN=etcd",
            "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE")


def start_etcd(stack, folder):
    """The port of an etcd that speaks TLS."""
    port, peers = free_port(), free_port()
    url = f"https://127.0.0.1:{port}"
    stack.start(folder / "etcd.log", "etcd", "--data-dir", folder / "etcd",
                "--cert-file", folder / "etcd.pem", "--key-file", folder / "etcd.key",
                "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", f"http://127.0.0.1:{peers}")
    wait_for("etcd serves", lambda: listening(port))
    return port


def controllers(cluster):
    """Those that the control group of a task has."""
    (pid, _), = cluster.pids(APP["id"]).values()
    group = re.search(r"^0::(.*)$", pathlib.Path(f"/proc/{pid}/cgroup").read_text(), re.M)
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    roots = [pathlib.Path(words[1]) for words in mounts if words[2] == "cgroup2"]
    places = [root / group[1].lstrip("/") for root in roots if group]
    return {name for name, file in CONTROLLERS.items() if any((at / file).exists() for at in places)}


def await_families(url, wanted):
    """All that is scraped, once all that is wanted is."""
    try:
        wait_for("all are there", lambda: wanted <= scrape(url).keys())
    except Failed:
        raise Failed(f"{url} lacks {sorted(wanted - scrape(url).keys())}") from None
    return scrape(url)


class Elected(Cluster):
    """A cluster whose control plane leads only once its store has let it."""

    def start_control_plane(self):
        super().start_control_plane()
        wait_for("it leads", lambda: request("GET", f"{self.mesos}/state")[0] == 200)


def tell(cluster):
    known = catalogue()
    marked = {mark: {name for name, (_, its) in known.items() if its == mark}
              for mark in {its for _, its in known.values() if its}}
    if marked.keys() != CONTROL_PLANE | CONTROLLERS.keys():
        raise Failed(f"of the conditions {sorted(marked)} some are proven nowhere, or named nowhere")
    cluster.post_app(APP)
    cluster.wait_running(APP["id"], 1)
    here = controllers(cluster)
    seen = await_families(cluster.mesos, set().union(*(marked[mark] for mark in CONTROL_PLANE)))
    seen |= await_families(cluster.agent_url, set().union(*(marked[mark] for mark in here)))
    for name, kind in seen.items():
        if known.get(name, ("nothing",))[0] != kind:
            raise Failed(f"{name} is a {kind}, and {known.get(name)} in {CATALOGUE.name}")
    for mark in sorted(marked):
        names = ", ".join(sorted(marked[mark]))
        why = "" if mark in CONTROL_PLANE | here else " not looked for: no such controller in control groups here;"
        print(f"families: {mark}:{why} {names}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, type=pathlib.Path, help="folder of the programs")
    binaries = parser.parse_args().bin.resolve()
    with tempfile.TemporaryDirectory() as scratch, Stack() as stack:
        folder = pathlib.Path(scratch)
        fill(folder / "plugins", binaries)
        certificates(folder)
        config = folder / "control-plane.toml"
        config.write_text(CONFIG.format(folder=folder, port=start_etcd(stack, folder)))
        with Elected(binaries, folder, control_plane_options=["--config", str(config)]) as cluster:
            tell(cluster)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"families: {failure}")
