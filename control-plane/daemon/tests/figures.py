"""Whole-process figures of one control plane and one agent, beside Mesos's; exit 1 if one misses."""

import argparse
import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

from goals import Goals, field, rss_mb
from harness import Cluster, wait_for
from scheduler import Framework

MESOS = {
    "launches per second": 35.0, "p50 launch to RUNNING": 33.0, "private MB per task": 4.0,
    "orphans after TEARDOWN": 498, "control plane RSS": 22.0, "agent RSS": 28.0,
    "control plane ready": 80.0, "tasks/s over gRPC": 5330.0,
}


def private_kb(pid):
    path = f"/proc/{pid}/smaps_rollup"
    return field(path, "Private_Dirty:") + field(path, "Private_Clean:")


def processes(marker):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def measure(cluster):
    yield "control plane RSS", rss_mb(cluster.control_plane.pid), 22.0, "MB", True
    yield "agent RSS", rss_mb(cluster.agent.pid), 22.0, "MB", True

    framework = Framework(cluster, "one at a time")
    delays = []
    for number in range(60):
        name = f"one-{number}"
        started = framework.launch(framework.offer(), [name], "sleep 100000")
        delays.append(framework.when("TASK_RUNNING", [name])[name] - started)
    yield "p50 launch to RUNNING", statistics.median(delays) * 1000, 15.0, "ms", True
    framework.call({"type": "TEARDOWN"})

    framework = Framework(cluster, "many at once")
    names = [f"many-{number}" for number in range(500)]
    shims = set(processes(b"tepui-shim"))
    started = framework.launch(framework.offer(len(names)), names, "sleep 987654")
    running = framework.when("TASK_RUNNING", names, 120)
    seconds = max(running.values()) - started
    yield "launches per second", len(names) / seconds, 150.0, "/s", False

    ours = [p for p in processes(b"tepui-shim") if p not in shims]
    total = sum(private_kb(p) for p in ours)
    yield "private MB per task", total / 1024 / len(names), 1.0, "MB", True

    framework.call({"type": "TEARDOWN"})
    end = time.monotonic() + 30
    while (left := processes(b"sleep\x00987654")) and time.monotonic() < end:
        time.sleep(0.1)
    yield "orphans after TEARDOWN", len(left), 0, "", True


def readiness(options, folder):
    cluster = Cluster(options.bin, folder)
    started = time.monotonic()
    cluster.start_control_plane()
    seconds = time.monotonic() - started
    cluster.kill("control_plane")
    return seconds * 1000


def over_the_wire(options, folder):
    """1,000 simulated agents over gRPC, 50,000 tasks through the scheduler API."""
    simulator = f"{options.bin}/tepui-sim"
    cluster = Cluster(options.bin, folder)
    cluster.start_control_plane()
    address = f"http://127.0.0.1:{cluster.agent_link_port}"
    agents = subprocess.Popen([simulator, "agents", "--control-plane", address,
                               "--count", "1000"], stdout=subprocess.DEVNULL)
    try:
        wait_for("1,000 agents", lambda: len(cluster.state()["slaves"]) == 1000, 60)
        mesos = f"127.0.0.1:{cluster.mesos_port}"
        done = subprocess.run([simulator, "launch-rate", "--mesos", mesos, "--goal", "0"],
                              capture_output=True, text=True, check=True)
        print(f"  {done.stdout.strip()}")
        return float(re.search(r"([0-9]+) tasks/s", done.stdout)[1])
    finally:
        agents.terminate()
        agents.wait()
        cluster.kill("control_plane")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built binaries (release)")
    options = parser.parse_args()
    goals = Goals(MESOS)
    with tempfile.TemporaryDirectory(prefix="tepui-figures-") as folder:
        os.mkdir(f"{folder}/first")
        goals.row("control plane ready", readiness(options, f"{folder}/first"), 100.0, "ms", True)
        os.mkdir(f"{folder}/wire")
        goals.row("tasks/s over gRPC", over_the_wire(options, f"{folder}/wire"), 5000.0, "/s", False)
        with Cluster(options.bin, folder, resources="cpus:64;mem:65536;disk:65536") as cluster:
            for figures in measure(cluster):
                goals.row(*figures)
    return 1 if goals.missed else 0


if __name__ == "__main__":
    sys.exit(main())
