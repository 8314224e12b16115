"""What each launcher of the agent takes for a task, beside its peers; exit 1 if one misses a goal.

Run as root on an idle host: `systemd` needs one that was booted with it."""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

from harness import Cluster, Failed, wait_for
from scheduler import Framework

GOALS = {"process": 100, "systemd": 40}
"""Launches per second that each launcher must reach at least."""
BATCH = 200
RESOURCES = "cpus:64;mem:65536;disk:65536;ports:[31000-31999]"


def percentiles(seconds):
    ordered = sorted(seconds)
    return [1000 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99)]


def show(what, seconds):
    print(f"{what:46} {'%9.1f %9.1f %9.1f' % tuple(percentiles(seconds))} ms", flush=True)


def one_at_a_time(framework, prefix, count):
    """Seconds from the accepted launch to RUNNING, as the framework sees it."""
    delays, names = [], []
    for number in range(count):
        name = f"{prefix}-{number}"
        started = framework.launch(framework.offer(), [name], "exec sleep 100000")
        delays.append(framework.when("TASK_RUNNING", [name])[name] - started)
        names.append(name)
    return delays, names


def kill(framework, names):
    for name in names:
        framework.call({"type": "KILL", "kill": {"task_id": {"value": name}}})
    framework.when("TASK_KILLED", names)


def many_at_once(framework, prefix, count):
    names = [f"{prefix}-{number}" for number in range(count)]
    started = framework.launch(framework.offer(len(names)), names, "exec sleep 100000")
    running = framework.when("TASK_RUNNING", names, 120)
    kill(framework, names)
    return count / (max(running.values()) - started)


def churn(framework, prefix, count):
    """So many tasks come and go."""
    for begin in range(0, count, BATCH):
        names = [f"{prefix}-{begin + number}" for number in range(min(BATCH, count - begin))]
        framework.launch(framework.offer(len(names)), names, "true")
        framework.when("TASK_FINISHED", names, 120)
        framework.updates.clear()


def field(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise Failed(f"no {name} of process {pid}")


def lines_of(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return len(done.stdout.splitlines())


def holdings(agent):
    """What a task could leave behind, counted."""
    groups = pathlib.Path("/sys/fs/cgroup")
    groups = groups / "unified" if (groups / "unified").is_dir() else groups
    pins = pathlib.Path("/sys/fs/bpf")
    links = [str(one.readlink()) for one in pathlib.Path(f"/proc/{agent}/fd").iterdir()]
    return {
        "descriptors of the agent": len(links),
        "BPF descriptors of the agent": sum("bpf" in link for link in links),
        "BPF pins": sum(1 for _ in pins.rglob("*")) if pins.is_dir() else 0,
        "control groups": sum(1 for _ in groups.rglob("tepui-*")),
        "mounts": len(pathlib.Path(f"/proc/{agent}/mounts").read_text().splitlines()),
        "network interfaces": len(list(pathlib.Path("/sys/class/net").iterdir())),
        "units": lines_of("systemctl", "list-units", "--all", "--plain", "--no-legend",
                          "tepui-task-*"),
        "shims": lines_of("pgrep", "-x", "tepui-shim"),
    }


def leaks(agent, before):
    """What is more than before, once it is quiet; some warm shims are always there."""
    slack = {"descriptors of the agent": 8, "shims": 8, "control groups": 8}

    def quiet():
        now = holdings(agent)
        more = {k: (before[k], n) for k, n in now.items() if n > before[k] + slack.get(k, 0)}
        return ["none"] if not more else None

    try:
        wait_for("nothing is left", quiet, 30)
        return {}
    except Failed:
        now = holdings(agent)
        return {k: (before[k], n) for k, n in now.items() if n > before[k] + slack.get(k, 0)}


def systemd_run(count):
    """Seconds that systemd's own command takes until the program is executed."""
    delays = []
    for number in range(count):
        unit = f"tepui-peer-{number}"
        started = time.monotonic()
        subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", "-p", "Type=exec",
                        "sleep", "100000"], check=True)
        delays.append(time.monotonic() - started)
        subprocess.run(["systemctl", "stop", unit], check=True)
    return delays


def measure(options, launcher):
    """The figures of one launcher; how many missed their goals."""
    missed = 0
    with tempfile.TemporaryDirectory(prefix="tepui-launchers-") as folder:
        cluster = Cluster(options.bin, folder, RESOURCES, agent_options=["--launcher", launcher])
        with cluster:
            framework = Framework(cluster, f"launcher {launcher}")
            delays, names = one_at_a_time(framework, "one", options.rounds)
            show(f"{launcher}: accepted launch to RUNNING", delays)
            if launcher == "systemd":
                show("  peer: systemd-run, Type=exec", systemd_run(options.rounds))
            rss = field(cluster.agent.pid, "VmRSS:") / 1024
            print(f"{launcher + ': agent with ' + str(len(names)) + ' tasks':46} {rss:9.1f} MB")
            kill(framework, names)

            rate = max(many_at_once(framework, f"many{n}", BATCH) for n in range(3))
            good = rate >= GOALS[launcher]
            missed += not good
            print(f"{launcher + ': launches per second':46} {rate:9.1f} >= {GOALS[launcher]} "
                  f"{'ok' if good else 'MISSED'}", flush=True)

            churn(framework, "warm", BATCH)
            before = holdings(cluster.agent.pid)
            churn(framework, "churn", options.churn)
            left = leaks(cluster.agent.pid, before)
            missed += bool(left)
            print(f"{launcher + ': left after ' + str(options.churn) + ' tasks':46} "
                  f"{left or 'nothing'} {'MISSED' if left else 'ok'}", flush=True)
            framework.call({"type": "TEARDOWN"})
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built binaries (release)")
    parser.add_argument("--launchers", default="process", help="comma separated: process,systemd")
    parser.add_argument("--rounds", type=int, default=100, help="tasks one at a time")
    parser.add_argument("--churn", type=int, default=10_000, help="tasks that come and go")
    options = parser.parse_args()
    print(f"{'':46} {'p50':>9} {'p90':>9} {'p99':>9}")
    return 1 if sum(measure(options, one) for one in options.launchers.split(",")) else 0


if __name__ == "__main__":
    sys.exit(main())
