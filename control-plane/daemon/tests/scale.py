"""Figures of a large cluster beside Mesos's: failover of 20,000 agents, and `/state` of 200,000 tasks.

Everything is real but the hosts: control planes, store, gRPC links and scheduler streams. Simulated
agents are the production state machine on shared connections. Exit 1 if a goal is missed; a cluster
that is not whole after a failover is an error whatever the figures.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from goals import Goals, peak_rss_mb, rss_mb
from harness import Cluster, Failed, free_port, request, wait_for

MESOS = {
    "leader stands after kill -9": 10.5, "all agents registered": 14.4, "all offered": 14.4,
    "control plane peak": 1200.0,
    "/state": 1.9, "/health, nothing else": 0.31, "/health, five read /state": 1900.0,
    "/state, five read it": 3.6, "peak with state": 3400.0,
}
"""peer-figures: 10.5 s to a new leader and 3.9 to 4.4 s of re-registrations without any socket."""

RING = 1000
"""Ended tasks that are remembered for each framework."""


def start_store(kind, folder):
    """(process, address) of a store on loopback."""
    port = free_port()
    log = open(folder / "store.log", "ab")
    if kind == "etcd":
        url = f"http://127.0.0.1:{port}"
        command = ["etcd", "--data-dir", folder / "etcd", "--listen-client-urls", url,
                   "--advertise-client-urls", url, "--listen-peer-urls", "unix://localhost:0",
                   "--logger", "zap", "--log-level", "error"]
        address = f"etcd://127.0.0.1:{port}/scale"
    else:
        settings = folder / "zoo.cfg"
        settings.write_text(f"tickTime=500\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                            f"dataDir={folder / 'zookeeper'}\nadmin.enableServer=false\n")
        command = ["java", "-Xmx512m", "-cp", "/usr/share/java/*",
                   "org.apache.zookeeper.server.ZooKeeperServerMain", settings]
        address = f"zk://127.0.0.1:{port}/scale"
    with log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log), address


class Story:
    """What a live part of the simulator says: lines of JSON with what, how many and when."""

    def __init__(self, program, *arguments):
        self.name = arguments[0]
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
        self.told = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.told.put(json.loads(line))
        self.told.put(None)

    def wait(self, what, seconds):
        """Everything told until this, as {what: (count, when)}."""
        end = time.monotonic() + seconds
        seen = {}
        while what not in seen:
            try:
                news = self.told.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise Failed(f"{self.name}: no '{what}' in {seconds} s, only {seen}") from None
            if news is None:
                raise Failed(f"{self.name} ended before '{what}', after {seen}")
            seen[news["what"]] = (news["count"], news["at"])
        return seen

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Planes:
    """Two control planes on one store."""

    def __init__(self, options, folder, address):
        self.all = []
        for name in ("a", "b"):
            place = folder / name
            place.mkdir()
            self.all.append(Cluster(options.bin, place, control_plane_options=["--store", address]))

    def leader(self):
        for plane in self.all:
            with contextlib.suppress(OSError, Failed):
                metrics = plane.expect(200, "GET", f"{plane.mesos}/metrics/snapshot")
                if metrics["master/elected"] == 1:
                    return plane
        return None

    def mesos(self):
        return ",".join(f"127.0.0.1:{plane.mesos_port}" for plane in self.all)

    def agents(self):
        return ",".join(f"127.0.0.1:{plane.agent_link_port}" for plane in self.all)


def standbys(leader):
    """How many control planes watch this one."""
    lines = leader.expect(200, "GET", f"{leader.mesos}/metrics").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tepui_standbys "))


def cpu_seconds(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def check_whole(plane, options):
    """Every agent is back, and every task runs where it ran."""
    state = plane.expect(200, "GET", f"{plane.mesos}/state")
    tasks = [task for framework in state["frameworks"] for task in framework["tasks"]]
    running = {task["id"]: task["slave_id"] for task in tasks if task["state"] == "TASK_RUNNING"}
    seen = (len(running), len(tasks), state["activated_slaves"], state["unreachable_slaves"])
    if seen != (options.tasks, options.tasks, options.agents, 0):
        raise Failed(f"(running, all tasks, agents, unreachable) are {seen}")
    return running


def failover(options, folder):
    """kill -9 of the leader under many agents, some times; yields (seconds of each, peak MB)."""
    store, address = start_store(options.store, folder)
    parts = []
    planes = Planes(options, folder, address)
    started = time.monotonic()
    try:
        for plane in planes.all:
            plane.start_control_plane()
        leader = wait_for("a leader", planes.leader)
        simulator = f"{options.bin}/tepui-sim"
        agents = Story(simulator, "agents", "--control-plane", planes.agents(),
                       "--count", str(options.agents))
        parts.append(agents)
        agents.wait("all registered", 300)
        per_offer = -(-options.tasks // options.agents)
        holder = Story(simulator, "hold", "--mesos", planes.mesos(),
                       "--running", str(options.tasks), "--per-offer", str(per_offer),
                       "--agents", str(options.agents))
        parts.append(holder)
        holder.wait("ready", 300)
        print(f"  {options.agents} agents with {options.tasks} tasks after "
              f"{time.monotonic() - started:.0f} s", flush=True)
        before = check_whole(leader, options)
        for _ in range(options.trials):
            yield trial(planes, leader, agents, holder)
            successor = wait_for("another leader", planes.leader)
            if check_whole(successor, options) != before:
                raise Failed("tasks are not where they were")
            leader.start_control_plane()
            leader = successor
    except Failed:
        for plane in planes.all:
            print(plane.log("tepui-control-plane"), file=sys.stderr)
        raise
    finally:
        for part in reversed(parts):
            part.stop()
        for plane in planes.all:
            if plane.control_plane and plane.control_plane.poll() is None:
                plane.kill("control_plane")
        store.kill()
        store.wait()


def trial(planes, leader, agents, holder):
    """One leader's end: when each thing happened after it, and what the next one took."""
    standby = next(plane for plane in planes.all if plane is not leader)
    # One that was started a moment ago does not watch the leader yet: its lease would decide.
    wait_for("somebody stands by", lambda: standbys(leader) == 1)
    pid = standby.control_plane.pid
    worked = cpu_seconds(pid)
    # What it took as a standby is not what is measured; 5 resets the peak.
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    killed = time.time()
    leader.kill("control_plane")
    seen = agents.wait("all registered", 120)
    seen |= holder.wait("all offered", 120)
    after = {what: at - killed for what, (_, at) in seen.items()}
    # An agent may hear that it is registered after its resources were offered.
    if min(after.values()) <= 0:
        raise Failed(f"this was no failover: {after}")
    print("  " + ", ".join(f"{what} {at:.2f} s" for what, at in
                           sorted(after.items(), key=lambda one: one[1]))
          + f"; new leader's cpu {cpu_seconds(pid) - worked:.2f} s, peak {peak_rss_mb(pid):.0f} MB",
          flush=True)
    return after, peak_rss_mb(pid)


def read_whole(port):
    """Bytes of one answer of `/state`; as little work as a reader can have."""
    with socket.create_connection(("127.0.0.1", port)) as reader:
        reader.sendall(b"GET /state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        room = bytearray(1 << 20)
        total = 0
        while count := reader.recv_into(room):
            total += count
        return total


def read_on(port, over, delays):
    """Reads again and again, a process of its own."""
    while not over.is_set():
        started = time.monotonic()
        read_whole(port)
        delays.put(time.monotonic() - started)


def health(port, seconds):
    """Milliseconds of each question for `/health` on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    delays = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        connection.request("GET", "/health")
        connection.getresponse().read()
        delays.append((time.monotonic() - started) * 1000)
        time.sleep(0.01)
    return delays


def state(options, folder, goals):
    """`/state` with as many running as completed tasks, alone and with five readers."""
    cluster = Cluster(options.bin, folder)
    cluster.start_control_plane()
    pid, port = cluster.control_plane.pid, cluster.mesos_port
    simulator = f"{options.bin}/tepui-sim"
    agents = Story(simulator, "agents", "--control-plane", f"127.0.0.1:{cluster.agent_link_port}",
                   "--count", str(options.agents))
    parts = [agents]
    try:
        agents.wait("all registered", 300)
        frameworks = -(-options.tasks // RING)
        holder = Story(simulator, "hold", "--mesos", f"127.0.0.1:{port}",
                       "--frameworks", str(frameworks), "--running", str(options.tasks),
                       "--completed", str(options.tasks), "--agents", str(options.agents),
                       "--per-offer", str(-(-2 * options.tasks // options.agents)))
        parts.append(holder)
        holder.wait("ready", 600)
        wait_for("every end is acknowledged", lambda: completed(cluster) == options.tasks, 60)
        print(f"  {rss_mb(pid):.0f} MB with {options.tasks} running and as many completed tasks")
        alone = statistics.median(health(port, 2))
        goals.row("/health, nothing else", alone, 5.0, "ms")
        measure_readers(options, pid, port, goals)
    finally:
        for part in reversed(parts):
            part.stop()
        cluster.kill("control_plane")


def completed(cluster):
    """Counts what `/state` holds; all the rest must be there, too."""
    seen = cluster.expect(200, "GET", f"{cluster.mesos}/state")
    running = sum(len(framework["tasks"]) for framework in seen["frameworks"])
    return running and sum(len(one["completed_tasks"]) for one in seen["frameworks"])


def measure_readers(options, pid, port, goals):
    delays, before = [], cpu_seconds(pid)
    for _ in range(7):
        started = time.monotonic()
        size = read_whole(port)
        delays.append(time.monotonic() - started)
    work = (cpu_seconds(pid) - before) / len(delays)
    print(f"  /state is {size / 1e6:.1f} MB; cpu of one {work:.3f} s")
    goals.row("/state", statistics.median(delays), 0.4, "s")
    over, told = multiprocessing.Event(), multiprocessing.Queue()
    readers = [multiprocessing.Process(target=read_on, args=(port, over, told)) for _ in range(5)]
    for reader in readers:
        reader.start()
    time.sleep(0.5)
    busy = health(port, options.seconds)
    over.set()
    reads = []
    while any(reader.is_alive() for reader in readers) or not told.empty():
        with contextlib.suppress(queue.Empty):
            reads.append(told.get(timeout=0.1))
    print(f"  {len(reads)} reads in {options.seconds} s; "
          f"/health p95 {statistics.quantiles(busy, n=20)[-1]:.1f} ms, max {max(busy):.0f} ms")
    goals.row("/health, five read /state", statistics.median(busy), 5.0, "ms")
    goals.row("/state, five read it", statistics.median(reads), 3.6, "s")
    goals.row("peak with state", peak_rss_mb(pid), 3400.0, "MB")


def report_failover(options, folder, goals):
    trials = list(failover(options, folder))

    def worst(what):
        return max(after[what] for after, _ in trials)

    goals.row("leader stands after kill -9", worst("frameworks back"), 2.0, "s")
    goals.row("all agents registered", worst("all registered"), 4.0, "s")
    goals.row("all offered", worst("all offered"), 4.0, "s")
    goals.row("control plane peak", max(peak for _, peak in trials), 600.0, "MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built binaries (release)")
    parser.add_argument("--store", choices=("etcd", "zookeeper"), default="etcd")
    parser.add_argument("--only", choices=("failover", "state"))
    parser.add_argument("--agents", type=int, help="default: 20,000, and 10,000 for /state")
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--trials", type=int, default=3, help="how often the leader is killed")
    parser.add_argument("--seconds", type=int, default=20, help="how long five clients read")
    parser.add_argument("--small", action="store_true",
                        help="a check that it all works, in seconds; figures do not count")
    options = parser.parse_args()
    if options.small:
        options.agents, options.tasks, options.trials, options.seconds = 500, 2500, 2, 1
    agents = options.agents
    goals = Goals(MESOS)
    with tempfile.TemporaryDirectory(prefix="tepui-scale-") as folder:
        for name, measure, count in (("failover", report_failover, 20_000),
                                     ("state", state, 10_000)):
            if options.only in (None, name):
                options.agents = agents or count
                place = pathlib.Path(folder, name)
                place.mkdir()
                measure(options, place, goals)
    return 1 if goals.missed and not options.small else 0


if __name__ == "__main__":
    sys.exit(main())
