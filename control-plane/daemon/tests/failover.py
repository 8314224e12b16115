"""Clients through a change of leader: those that only know where the store is, and our own."""

import contextlib
import json
import subprocess
import threading
import time

import pymesos
from ensemble import as_json, on_zookeeper
from harness import Failed, request, wait_for
from kazoo.client import KazooClient


class Keeper(pymesos.Scheduler):
    """Runs one task for ever, and records what it is told."""

    def __init__(self):
        self.registrations, self.ids, self.states, self.errors = 0, set(), [], []
        self.launched = False

    def registered(self, driver, framework_id, master_info):
        self.registrations += 1
        self.ids.add(framework_id["value"])

    def reregistered(self, driver, master_info):
        self.registrations += 1

    def resourceOffers(self, driver, offers):
        for offer in offers:
            tasks = []
            if not self.launched:
                self.launched = True
                tasks = [{
                    "task_id": {"value": "kept"}, "name": "kept", "agent_id": offer["agent_id"],
                    "command": {"value": "exec sleep 1000"},
                    "resources": [
                        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
                    ],
                }]
            with contextlib.suppress(RuntimeError):
                driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 1})

    def statusUpdate(self, driver, status):
        self.states.append(status["state"])

    def error(self, driver, message):
        self.errors.append(message)


def frameworks(planes):
    state = request("GET", f"{planes.mesos(planes.leader())}/state")[1]
    return {one["id"]: one for one in state["frameworks"] if one["name"] == "keeper"}


def announced(planes):
    """What clients that know only the store are told of the leader."""
    zookeeper = KazooClient(planes.store.removeprefix("zk://"), timeout=10)
    zookeeper.start()
    try:
        names = [one for one in zookeeper.get_children("/") if one.startswith("json.info_")]
        return [json.loads(zookeeper.get(f"/{name}")[0])["address"] for name in names]
    finally:
        zookeeper.stop()
        zookeeper.close()


def pymesos_with_only_zookeeper_keeps_its_framework(cluster):
    """Twice: also the second leader is found, and its predecessor's announcement is gone."""
    keeper = Keeper()
    info = {"user": "root", "name": "keeper", "checkpoint": True, "failover_timeout": 60}
    # They listen on all of their host, as the documentation has it: clients need one address.
    options = ["--hostname", "localhost", "--allow-unauthenticated"]
    with on_zookeeper(cluster.bin, 2, options=options, listen="0.0.0.0") as planes:
        driver = pymesos.MesosSchedulerDriver(keeper, info, planes.store)
        driver.start()
        took = []
        try:
            wait_for("RUNNING", lambda: "TASK_RUNNING" in keeper.states, 60)
            for _ in range(2):
                killed, before = planes.leader(), keeper.registrations
                planes.kill(killed)
                since = time.monotonic()
                planes.leader()
                wait_for("it subscribes again", lambda: keeper.registrations > before, 60)
                took.append(time.monotonic() - since)
                wait_for("the agent is back", planes.has_agent, 30)
                seen = len(keeper.states)

                def reconciled():
                    driver.reconcileTasks([{"task_id": {"value": "kept"}}])
                    return len(keeper.states) > seen

                wait_for("reconciliation", reconciled, 30)
                planes.start(killed)
            known = frameworks(planes)
            port = planes.ports[planes.leader()][0]
            told = [{"hostname": "localhost", "ip": "127.0.0.1", "port": port}]
            wait_for("the leader is announced", lambda: announced(planes) == told, 20)
        finally:
            driver.stop()
            driver.join()
    if len(keeper.ids) != 1 or set(known) != keeper.ids or keeper.errors:
        raise Failed(f"ids {keeper.ids}, the cluster's {set(known)}, errors {keeper.errors}")
    if set(keeper.states[1:]) != {"TASK_RUNNING"} and keeper.states[0] != "TASK_STARTING":
        raise Failed(f"states {keeper.states}")
    return "one framework id, task kept; back after " + ", ".join(f"{one:.1f} s" for one in took)


def tepui_drill_failover_measures_how_long_nobody_leads(cluster):
    with on_zookeeper(cluster.bin, 3) as planes:
        every = ",".join(planes.mesos(n) for n in range(3))
        refused = planes.cli("drill", "failover", address=every)
        if refused.returncode != 2 or "--yes" not in refused.stderr:
            raise Failed(f"nobody was asked: {refused}")
        former = planes.leader()
        drill = as_json(planes.cli("drill", "failover", "--yes", "-o", "json", address=planes.store))
        planes.processes[former].wait(10)
        leader = planes.leader()
        if planes.mesos(former)[7:] != drill["killed"]["mesos"]:
            raise Failed(f"{drill} instead of {planes.mesos(former)}")
        if planes.mesos(leader)[7:] != drill["leader"]["mesos"]:
            raise Failed(f"{drill} instead of {planes.mesos(leader)}")
        if drill["leader_term"] != drill["killed_term"] + 1 or drill["standbys"] != 2:
            raise Failed(f"{drill}")
        figures_of_leadership(planes, leader)
        # The other one is gone too: nobody would be left.
        planes.kill(next(n for n in range(3) if n not in (former, leader)))
        wait_for("nobody stands by", lambda: planes.exposition(leader)["tepui_standbys"] == 0)
        refused = planes.cli("drill", "failover", "--yes", address=planes.mesos(leader))
        if refused.returncode != 1 or "nobody would lead" not in refused.stderr:
            raise Failed(f"it was not refused: {refused}")
        if planes.processes[leader].poll() is not None:
            raise Failed("the last control plane is gone")
    return f"{drill['seconds_without_leader'] * 1000:.0f} ms without a leader; refused without standbys"


def figures_of_leadership(planes, leader):
    """What leader and standby say of it for Prometheus and for Mesos's clients."""
    standby = next(n for n in range(3) if n != leader and planes.processes[n].poll() is None)
    seen, other = planes.exposition(leader), planes.exposition(standby)
    wanted = {
        "tepui_leader": (1, 0), "tepui_leader_changes_total": (2, 2),
        "tepui_failover_seconds_count": (1, 0), "tepui_term": (seen["tepui_term"],) * 2,
        'tepui_store_errors_total{request="write"}': (0, 0),
    }
    for name, values in wanted.items():
        if (seen[name], other[name]) != values:
            raise Failed(f"{name} is {seen[name]} and {other[name]}, expected {values}")
    if not 0 < seen["tepui_failover_seconds_sum"] < 10 or not seen["tepui_log_commit_seconds_count"]:
        raise Failed(f"failover took {seen['tepui_failover_seconds_sum']} s")
    if (planes.snapshot(leader)["master/elected"], planes.snapshot(standby)["master/elected"]) != (1, 0):
        raise Failed("master/elected")


def tepui_goes_on_when_the_leader_dies(cluster):
    """In the middle of waiting for a deployment, and of following an app's output."""
    with on_zookeeper(cluster.bin, 2) as planes:
        file = planes.folder / "app.json"
        file.write_text('{"id": "/web", "cmd": "while sleep 0.3; do echo said; done", "cpus": 3, '
                        '"mem": 32, "instances": 2}')
        as_json(planes.cli("app", "create", str(file), "-o", "json", address=planes.store))
        follower = planes.stack.enter_context(subprocess.Popen(
            [str(planes.bin / "tepui"), "--address", planes.store, "logs", "-f", "web"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        planes.stack.callback(follower.kill)
        lines = []
        threading.Thread(target=lambda: lines.extend(iter(follower.stdout.readline, "")),
                         daemon=True).start()
        # The deployment waits: the agent has no room for a third.
        waiting = planes.stack.enter_context(subprocess.Popen(
            [str(planes.bin / "tepui"), "--address", planes.store, "app", "scale", "web", "3",
             "--timeout", "60s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        planes.stack.callback(waiting.kill)
        leader = planes.leader()
        wait_for("the deployment runs",
                 lambda: request("GET", f"{planes.marathon(leader)}/v2/deployments")[1])
        planes.kill(leader)
        leader = planes.leader()
        url = f"{planes.marathon(leader)}/v2/deployments"
        deployment = wait_for("the deployment goes on", lambda: request("GET", url)[1])[0]["id"]
        if waiting.poll() is not None:
            raise Failed(f"it gave up: {waiting.stderr.read()}")
        request("DELETE", f"{url}/{deployment}?force=true")
        words = waiting.communicate(timeout=60)[1]
        if waiting.returncode != 1 or "cancelled or replaced" not in words:
            raise Failed(f"{waiting.returncode}: {words}")
        count = len(lines)
        wait_for("the output goes on", lambda: len(lines) > count + 5, 30)
        if follower.poll() is not None:
            raise Failed(f"it gave up: {follower.stderr.read()}")
    return "waited for the deployment's end, output followed"


CHECKS = [
    pymesos_with_only_zookeeper_keeps_its_framework,
    tepui_drill_failover_measures_how_long_nobody_leads,
    tepui_goes_on_when_the_leader_dies,
]
