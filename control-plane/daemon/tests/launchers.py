"""What each launcher of the agent takes for a task, beside its peers; exit 1 if one misses a goal.

Run as root on an idle host: `systemd` needs one that was booted with it, `oci` a folder on a file
system that overlayfs writes to."""

import argparse
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import peers
from harness import Cluster
from holdings import field, holdings, leaks
from scheduler import Framework

BATCH = 200
RESOURCES = "cpus:64;mem:65536;disk:65536;ports:[31000-31999]"
BRIDGE = ["--bridge", "tepuifig0", "--bridge-subnet", "10.219.0.0/16",
          "--bridge-subnet6", "fd74:6570:7570::/64"]
"""A network of containers of its own, whatever else the host runs."""
KINDS = {
    "process": ("process", 100, [None]),
    "systemd": ("systemd", 40, [None]),
    "oci": ("process", 60, ["HOST", "BRIDGE"]),
    "oci-units": ("systemd", 40, ["HOST", "BRIDGE"]),
}
"""What runs tasks, how many launches per second it must reach at least, networks of containers. The
goal is the launcher's, so it is for the host's network: a network for each is printed beside it."""


def percentiles(seconds):
    ordered = sorted(seconds)
    return [1000 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99)]


def show(what, seconds):
    print(f"{what:46} {'%9.1f %9.1f %9.1f' % tuple(percentiles(seconds))} ms", flush=True)


def one_at_a_time(framework, prefix, count, container):
    """Seconds from the accepted launch to RUNNING, as the framework sees it."""
    delays, names = [], []
    for number in range(count):
        name = f"{prefix}-{number}"
        started = framework.launch(framework.offer(), [name], "exec sleep 100000", container)
        delays.append(framework.when("TASK_RUNNING", [name])[name] - started)
        names.append(name)
    return delays, names


def kill(framework, names):
    for name in names:
        framework.call({"type": "KILL", "kill": {"task_id": {"value": name}}})
    framework.when("TASK_KILLED", names, 120)


def many_at_once(framework, prefix, count, container):
    names = [f"{prefix}-{number}" for number in range(count)]
    offer = framework.offer(len(names))
    started = framework.launch(offer, names, "exec sleep 100000", container)
    running = framework.when("TASK_RUNNING", names, 120)
    kill(framework, names)
    return count / (max(running.values()) - started)


def churn(framework, prefix, count, containers):
    """So many tasks come and go, of each kind of container in turn."""
    for turn, begin in enumerate(range(0, count, BATCH)):
        names = [f"{prefix}-{begin + number}" for number in range(min(BATCH, count - begin))]
        offer = framework.offer(len(names))
        framework.launch(offer, names, "true", containers[turn % len(containers)])
        framework.when("TASK_FINISHED", names, 300)
        framework.updates.clear()


def in_container(image, network):
    return network and {"type": "DOCKER", "docker": {"image": image, "network": network}}


def beside_other_runtimes(cluster, rounds):
    """Rows of the runtime alone, from its start until the task is executed, and of others."""
    work_dir = cluster.folder / "agent"
    first = next((work_dir / "meta/containers").glob("*/order.json"))
    order = json.loads(first.read_text())
    program = (cluster.bin / "tepui-agentd").resolve().parent / "tepui-runtime"
    with tempfile.TemporaryDirectory(prefix="peers-", dir=cluster.folder) as folder:
        show("  tepui-runtime alone: create to running",
             peers.tepui_runtime(program, order, folder, rounds))
        for runtime in peers.RUNTIMES:
            delays, why = peers.other_runtime(runtime, order["root"]["Layers"], folder, rounds)
            if delays:
                show(f"  peer: {runtime} run --detach, layers mounted", delays)
            else:
                print(f"  peer: {runtime} {why}", flush=True)


def supervisors():
    """Megabytes of all shims and container runtimes; what several share counts in parts."""
    total = 0
    for pid in subprocess.run(["pgrep", "-x", "tepui-shim|tepui-runtime"], capture_output=True,
                              text=True, check=False).stdout.split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            # One that just ends has none.
            found = re.search(r"^Pss: +(\d+) kB", rollup, re.M)
            total += int(found[1]) if found else 0
    return total / 1024


def verdict(what, text, good):
    print(f"{what:46} {text} {'ok' if good else 'BELOW'}", flush=True)
    return not good


def measure(options, kind):
    """The figures of one launcher; how many missed their goals."""
    launcher, goal, networks = KINDS[kind]
    containers = [in_container(options.image, network) for network in networks]
    missed = 0
    words = ["--launcher", launcher, *(BRIDGE if networks[0] else [])]
    scheme, _, path = (options.image or "").partition(":/")
    if scheme in ("oci", "oci-archive", "docker-archive"):
        words += ["--local-images", "/" + path.split(":")[0]]
    with tempfile.TemporaryDirectory(prefix="tepui-launchers-", dir=options.folder) as folder:
        cluster = Cluster(options.bin, folder, RESOURCES, agent_options=words)
        work_dir = pathlib.Path(folder) / "agent"
        with cluster:
            framework = Framework(cluster, f"launcher {kind}")
            for network, container in zip(networks, containers):
                title = f"{kind}, {network.lower()} network" if network else kind
                # The image is pulled, and spare processes are started.
                _, names = one_at_a_time(framework, f"first-{network}", 5, container)
                kill(framework, names)
                count = options.rounds
                delays, names = one_at_a_time(framework, f"one-{network}", count, container)
                show(f"{title}: accepted launch to RUNNING", delays)
                rss = field(cluster.agent.pid, "VmRSS:") / 1024
                print(f"{f'{title}: agent with {len(names)} tasks':46} {rss:9.1f} MB")
                print(f"{'  what supervises them, shared memory in parts':46} {supervisors():9.1f} MB")
                if kind == "systemd":
                    show("  peer: systemd-run, Type=exec", peers.systemd_run(count))
                if (kind, network) == ("oci", "HOST"):
                    beside_other_runtimes(cluster, count)
                kill(framework, names)
                prefix = f"many-{network}"
                rate = max(many_at_once(framework, f"{prefix}-{n}", BATCH, container)
                           for n in range(3))
                what = f"{title}: launches per second, best of 3"
                if network == networks[0]:
                    missed += verdict(what, f"{rate:9.1f} >= {goal}", rate >= goal)
                else:
                    print(f"{what:46} {rate:9.1f}", flush=True)

            def count():
                return holdings(cluster.agent.pid, work_dir)

            churn(framework, "warm", BATCH * len(containers), containers)
            before = count()
            churn(framework, "churn", options.churn, containers)
            left = leaks(before, count)
            missed += verdict(f"{kind}: left after {options.churn} tasks", left or "nothing",
                              not left)
            rss = field(cluster.agent.pid, "VmRSS:") / 1024
            print(f"{f'{kind}: agent after them':46} {rss:9.1f} MB")
            framework.call({"type": "TEARDOWN"})
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built binaries (release)")
    parser.add_argument("--launchers", default="process", help=f"comma separated: {list(KINDS)}")
    parser.add_argument("--image", help="what containers are made from, with a shell and sleep")
    parser.add_argument("--folder", help="where agents have their files [default: a temporary one]")
    parser.add_argument("--rounds", type=int, default=100, help="tasks one at a time")
    parser.add_argument("--churn", type=int, default=10_000, help="tasks that come and go")
    options = parser.parse_args()
    kinds = options.launchers.split(",")
    if any(kind.startswith("oci") for kind in kinds) and not options.image:
        parser.error("containers need --image, such as oci:/path/of/layout:tag")
    print(f"{'':46} {'p50':>9} {'p90':>9} {'p99':>9}")
    return 1 if sum(measure(options, kind) for kind in kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
