"""Clients against the real daemons: pymesos and marathon from PyPI, which nobody here wrote, and ours."""

import argparse
import base64
import collections
import collections.abc
import contextlib
import sys
import tempfile
import threading
import time
import traceback

# The marathon package still looks for this where Python kept it before 3.10.
collections.Iterable = collections.abc.Iterable

import failover
import logs
import pods
from harness import Cluster, Failed, wait_for
from marathon import MarathonClient
from marathon.models import MarathonApp, MarathonGroup, MarathonHealthCheck
from pymesos import MesosSchedulerDriver, Scheduler

EXECUTOR = '''
import sys, threading, uuid, base64
from pymesos import Executor, MesosExecutorDriver

class Doubler(Executor):
    def launchTask(self, driver, task):
        def work():
            base = {"task_id": task["task_id"], "timestamp": __import__("time").time()}
            driver.sendStatusUpdate(dict(base, state="TASK_RUNNING"))
            number = int(base64.b64decode(task["data"]))
            driver.sendFrameworkMessage(base64.b64encode(b"at work").decode())
            data = base64.b64encode(str(2 * number).encode()).decode()
            driver.sendStatusUpdate(dict(base, state="TASK_FINISHED", data=data))
        threading.Thread(target=work).start()

driver = MesosExecutorDriver(Doubler())
driver.run()
'''


def text(data):
    return base64.b64decode(data).decode()


class Recorder(Scheduler):
    """Launches what it is given on the first offers, and records what it is told."""

    def __init__(self, tasks):
        self.tasks = list(tasks)
        self.lock = threading.Lock()
        self.states, self.data, self.messages, self.errors = {}, {}, [], []
        self.registrations = 0
        self.framework_id = None

    def registered(self, driver, framework_id, master_info):
        self.registrations += 1
        self.framework_id = framework_id["value"]

    def reregistered(self, driver, master_info):
        self.registrations += 1

    def resourceOffers(self, driver, offers):
        with self.lock:
            for offer in offers:
                wanted, self.tasks = self.tasks, []
                for task in wanted:
                    task["agent_id"] = offer["agent_id"]
                # Another scheduler may have taken over meanwhile: the call is refused then.
                with contextlib.suppress(RuntimeError):
                    driver.launchTasks(offer["id"], wanted, {"refuse_seconds": 1})

    def statusUpdate(self, driver, status):
        task = status["task_id"]["value"]
        self.states.setdefault(task, []).append(status["state"])
        if "data" in status:
            self.data[task] = text(status["data"])

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.messages.append(text(message))

    def error(self, driver, message):
        """Fatal for this subscription: a scheduler must not go on."""
        self.errors.append(message)
        driver._failover = True
        driver.abort()


def resources(cpus, mem):
    return [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}},
    ]


@contextlib.contextmanager
def driver_of(cluster, scheduler, **framework):
    info = {"user": "root", "name": "client", "checkpoint": True, "failover_timeout": 60}
    master = f"127.0.0.1:{cluster.mesos_port}"
    driver = MesosSchedulerDriver(scheduler, {**info, **framework}, master)
    driver.start()
    try:
        yield driver
    finally:
        driver.stop()
        driver.join()


def executor_task(cluster, number, name):
    script = cluster.folder / "executor.py"
    script.write_text(EXECUTOR)
    return {
        "task_id": {"value": name}, "name": name, "resources": resources(0.1, 32),
        "data": base64.b64encode(str(number).encode()).decode(),
        "executor": {
            "executor_id": {"value": f"doubler-{name}"}, "name": "doubler",
            "command": {"value": f"exec {sys.executable} {script}"},
            "resources": resources(0.1, 64),
        },
    }


def pymesos_runs_a_custom_executor(cluster):
    scheduler = Recorder([executor_task(cluster, 21, "double")])
    with driver_of(cluster, scheduler):
        wait_for("TASK_FINISHED", lambda: "TASK_FINISHED" in scheduler.states.get("double", []), 60)
    if scheduler.data.get("double") != "42" or "at work" not in scheduler.messages:
        raise Failed(f"data {scheduler.data}, messages {scheduler.messages}")
    return f"states {scheduler.states['double']}, data 42, message received"


def pymesos_comes_back_after_a_restart(cluster):
    task = {"task_id": {"value": "sleeper"}, "name": "sleeper", "resources": resources(0.1, 32),
            "command": {"value": "sleep 1000"}}
    scheduler = Recorder([task])
    with driver_of(cluster, scheduler) as driver:
        wait_for("RUNNING", lambda: "TASK_RUNNING" in scheduler.states.get("sleeper", []), 60)
        first = scheduler.framework_id
        cluster.kill("control_plane")
        cluster.start_control_plane()
        wait_for("it subscribes again", lambda: scheduler.registrations >= 2, 60)
        wait_for("the agent is back", lambda: cluster.state()["activated_slaves"] == 1, 30)
        if scheduler.framework_id != first:
            raise Failed(f"framework id changed from {first} to {scheduler.framework_id}")
        seen = len(scheduler.states["sleeper"])
        driver.reconcileTasks([{"task_id": {"value": "sleeper"}}])
        wait_for("reconciliation", lambda: len(scheduler.states["sleeper"]) > seen, 30)
        if scheduler.states["sleeper"][-1] != "TASK_RUNNING":
            raise Failed(f"states {scheduler.states}")
        driver.killTask({"value": "sleeper"})
        wait_for("KILLED", lambda: "TASK_KILLED" in scheduler.states["sleeper"], 30)
    return "same framework id, task kept, reconciled and killed"


def a_second_scheduler_takes_over(cluster):
    task = {"task_id": {"value": "kept"}, "name": "kept", "resources": resources(0.1, 32),
            "command": {"value": "sleep 1000"}}
    first = Recorder([task])
    with driver_of(cluster, first):
        wait_for("RUNNING", lambda: "TASK_RUNNING" in first.states.get("kept", []), 60)
        second = Recorder([])
        with driver_of(cluster, second, id={"value": first.framework_id}) as new:
            wait_for("the old stream gets ERROR", lambda: first.errors, 30)

            def still_there():
                new.reconcileTasks([])
                return second.states.get("kept", [None])[-1] == "TASK_RUNNING"

            wait_for("the new scheduler subscribes", lambda: new.connected, 30)
            wait_for("the task is still there", still_there, 30)
            new.killTask({"value": "kept"})
            wait_for("KILLED", lambda: "TASK_KILLED" in second.states["kept"], 30)
    return f"old stream: {first.errors[0]!r}, task kept"


def marathon_creates_lists_scales(cluster):
    client = MarathonClient(cluster.marathon)
    app = client.create_app("/py/sleep", MarathonApp(cmd="sleep 1000", mem=16, cpus=0.05))
    if app.id != "/py/sleep":
        raise Failed(f"created {app}")
    cluster.wait_running("py/sleep", 1)
    client.scale_app("/py/sleep", instances=3)
    cluster.wait_running("py/sleep", 3)
    listed = [a.id for a in client.list_apps()]
    if "/py/sleep" not in listed or len(client.list_tasks("/py/sleep")) != 3:
        raise Failed(f"listed {listed}")
    victim = client.list_tasks("/py/sleep")[0].id
    client.kill_task("/py/sleep", victim)
    wait_for("the victim goes", lambda: victim not in [t.id for t in client.list_tasks("/py/sleep")])
    cluster.wait_running("py/sleep", 3)
    client.kill_task("/py/sleep", client.list_tasks("/py/sleep")[0].id, scale=True)
    cluster.wait_running("py/sleep", 2)
    return "created, scaled to 3, killed one (replaced), killed and scaled to 2"


def marathon_rolls_over_and_back(cluster):
    client = MarathonClient(cluster.marathon)
    first = client.get_app("/py/sleep").version
    client.update_app("/py/sleep", MarathonApp(cmd="sleep 2000"), force=True)
    cluster.deployed()
    if client.get_app("/py/sleep").cmd != "sleep 2000":
        raise Failed("not updated")
    if len(client.list_versions("/py/sleep")) < 2:
        raise Failed("no history")
    client.rollback_app("/py/sleep", first, force=True)
    cluster.deployed()
    if client.get_app("/py/sleep").cmd != "sleep 1000":
        raise Failed("not rolled back")
    return f"rolled over and back to {first}"


def marathon_groups(cluster):
    client = MarathonClient(cluster.marathon)
    group = MarathonGroup(id="/shop", apps=[
        MarathonApp(id="/shop/db", cmd="sleep 1000", mem=16, cpus=0.05),
        MarathonApp(id="/shop/web", cmd="sleep 1000", mem=16, cpus=0.05,
                    dependencies=["/shop/db"]),
    ])
    client.create_group(group)
    cluster.deployed()
    if {a.id for a in client.get_group("/shop").apps} != {"/shop/db", "/shop/web"}:
        raise Failed("group lacks apps")
    client.scale_group("/shop", 2)
    cluster.deployed()
    cluster.wait_running("shop/web", 2)
    client.delete_group("/shop", force=True)
    cluster.deployed()
    return "created with a dependency, scaled, deleted"


def marathon_events_and_queue(cluster):
    client = MarathonClient(cluster.marathon)
    seen, stop = [], threading.Event()

    def listen():
        with contextlib.suppress(Exception):
            for event in client.event_stream():
                seen.append(event.event_type)
                if stop.is_set():
                    return

    threading.Thread(target=listen, daemon=True).start()
    wait_for("the stream is attached", lambda: "event_stream_attached" in seen, 20)
    client.create_app("/py/big", MarathonApp(cmd="sleep 1", cpus=1000, mem=16))
    wait_for("it waits in the queue",
             lambda: [i for i in client.list_queue() if i.app.id == "/py/big"], 30)
    client.delete_app("/py/big", force=True)
    checks = [MarathonHealthCheck(protocol="COMMAND", command="true",
                                  grace_period_seconds=5, interval_seconds=1)]
    client.create_app("/py/checked", MarathonApp(cmd="sleep 1000", cpus=0.05, mem=16,
                                                 health_checks=checks))
    wait_for("healthy", lambda: client.get_app("/py/checked").tasks_healthy == 1, 60)
    wanted = {"api_post_event", "deployment_info", "deployment_success", "status_update_event"}
    wait_for("events", lambda: wanted <= set(seen), 30)
    stop.set()
    client.delete_app("/py/checked", force=True)
    client.get_info(), client.get_leader(), client.ping()
    return f"{len(set(seen))} kinds of events, queue, info, leader, ping"


CHECKS = [
    pymesos_runs_a_custom_executor,
    pymesos_comes_back_after_a_restart,
    a_second_scheduler_takes_over,
    marathon_creates_lists_scales,
    marathon_rolls_over_and_back,
    marathon_groups,
    marathon_events_and_queue,
    *logs.CHECKS,
    *pods.CHECKS,
    *failover.CHECKS,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built binaries")
    parser.add_argument("--only", help="run only checks whose name contains this")
    options = parser.parse_args()
    chosen = [c for c in CHECKS if not options.only or options.only in c.__name__]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tepui-clients-") as folder:
        with Cluster(options.bin, folder, resources="cpus:8;mem:8192;disk:10240") as cluster:
            for check in chosen:
                started = time.monotonic()
                name = check.__name__.replace("_", " ")
                try:
                    detail = check(cluster)
                    print(f"ok     {name}: {detail} ({time.monotonic() - started:.1f} s)")
                except Exception as error:  # noqa: BLE001 - every failure is a line
                    failed += 1
                    print(f"FAILED {name}: {error!r}")
                    traceback.print_exc()
                    for daemon in ("tepui-control-plane", "tepui-agentd"):
                        print(f"--- {daemon}\n{cluster.log(daemon)}", file=sys.stderr)
                sys.stdout.flush()
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
