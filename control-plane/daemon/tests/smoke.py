"""The checks of ./run --smoke: one line each, through the public APIs; exit 0 or 1."""

import argparse
import math
import os
import signal
import sys
import tempfile
import time

from harness import Cluster, Failed, listening, wait_for

HEALTH = {
    "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 10,
    "intervalSeconds": 10, "timeoutSeconds": 20, "maxConsecutiveFailures": 3,
    "ignoreHttp1xx": False,
}
WEB = {
    "id": "web", "cmd": "exec python3 -m http.server $PORT0", "cpus": 0.1, "mem": 32,
    "instances": 2, "healthChecks": [HEALTH],
    "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 1},
}


def seed_app(cluster):
    cluster.post_app({
        "id": "basic-service", "cmd": "while [ true ] ; do nc -lp $PORT0; done",
        "cpus": 0.1, "mem": 10.0, "instances": 2,
    })
    tasks = cluster.wait_running("basic-service", 2)
    ports = [task["ports"][0] for task in tasks]
    for port in ports:
        wait_for(f"port {port} is listened on", lambda: listening(port))
    return f"2 of 2 running on ports {ports}"


def healthy_app(cluster):
    cluster.post_app(WEB)
    cluster.wait_running("web", 2)
    wait_for("both healthy", lambda: cluster.app("web")["tasksHealthy"] == 2, 40)
    return "2 of 2 healthy"


def scale(cluster):
    started = time.monotonic()
    body = {"instances": 5}
    cluster.expect(200, "PUT", f"{cluster.marathon}/v2/apps/basic-service", body)
    cluster.wait_running("basic-service", 5)
    return f"5 of 5 running after {time.monotonic() - started:.1f} s"


def rolling_update(cluster):
    before = {task["id"] for task in cluster.running("web")}
    cluster.expect(200, "PUT", f"{cluster.marathon}/v2/apps/web", {"env": {"VERSION": "2"}})
    least = math.ceil(2 * 0.5)
    lowest = 99
    end = time.monotonic() + 90
    while time.monotonic() < end:
        app = cluster.app("web")
        lowest = min(lowest, app["tasksHealthy"])
        if not app["deployments"]:
            break
        time.sleep(0.05)
    else:
        raise Failed(f"the update did not end: {cluster.get('/v2/deployments')}")
    after = {task["id"] for task in cluster.running("web")}
    if before & after or len(after) != 2:
        raise Failed(f"not rolled over: before {before}, after {after}")
    if lowest < least:
        raise Failed(f"healthy fell to {lowest}, under {least}")
    return f"rolled over, never under {lowest} healthy (at least {least})"


def replacement(cluster):
    victim, (pid, _) = next(iter(cluster.pids("/basic-service").items()))
    os.kill(pid, signal.SIGKILL)

    def replaced():
        tasks = {task["id"] for task in cluster.running("basic-service")}
        return victim not in tasks and len(tasks) == 5

    wait_for("the killed task is replaced", replaced, 30)
    return f"{victim} replaced"


def crash_loop(cluster):
    cluster.post_app({"id": "crash", "cmd": "exit 1", "cpus": 0.1, "mem": 10})

    def delayed():
        for item in cluster.get("/v2/queue")["queue"]:
            if item["app"]["id"] == "/crash" and not item["delay"]["overdue"]:
                return item["delay"]["timeLeftSeconds"] >= 1 and item
        return None

    item = wait_for("the crash loop backs off", delayed, 60)
    cluster.expect(200, "DELETE", f"{cluster.marathon}/v2/apps/crash")
    return f"backs off, {item['delay']['timeLeftSeconds']} s left"


def too_large(cluster):
    cluster.post_app({"id": "huge", "cmd": "sleep 1000", "cpus": 10000, "mem": 10})

    def explained():
        queue = cluster.get("/v2/queue?embed=lastUnusedOffers")["queue"]
        item = next((i for i in queue if i["app"]["id"] == "/huge"), None)
        return item if item and item.get("lastUnusedOffers") else None

    item = wait_for("the queue says why", explained, 40)
    reasons = item["lastUnusedOffers"][0]["reason"]
    if "InsufficientCpus" not in reasons:
        raise Failed(f"reasons are {reasons}")
    told = cluster.cli("explain", "huge")
    if "10000" not in told.stdout:
        raise Failed(f"tepui explain says: {told.stdout!r} {told.stderr!r}")
    cluster.expect(200, "DELETE", f"{cluster.marathon}/v2/apps/huge")
    return f"waits: {', '.join(reasons)}"


def run_command(cluster):
    good = cluster.cli("run", "--name", "a_mesos_job", "--command", "sleep 3")
    if good.returncode != 0:
        raise Failed(f"sleep 3: {good.returncode}: {good.stderr}")
    bad = cluster.cli("run", "--name", "a_mesos_job", "--command", "exit 7")
    if bad.returncode != 7:
        raise Failed(f"exit 7: {bad.returncode}: {bad.stdout}{bad.stderr}")
    killed = cluster.cli("run", "--name", "a_mesos_job", "--command", "kill -9 $$")
    if killed.returncode != 137:
        raise Failed(f"kill -9 $$: {killed.returncode}: {killed.stdout}{killed.stderr}")
    return f"sleep 3 ends with 0, exit 7 with {bad.returncode}, SIGKILL with {killed.returncode}"


def daemons_die(cluster):
    cluster.post_app({"id": "many", "cmd": "sleep 100000", "cpus": 0.01, "mem": 8,
                      "instances": 20})
    cluster.wait_running("many", 20, 60)
    before = cluster.pids("/many")
    versions = cluster.get("/v2/apps/many/versions")
    if len(before) != 20:
        raise Failed(f"{len(before)} processes of 20 tasks")
    cluster.kill("agent")
    cluster.start_agent()
    wait_for("the agent is back", lambda: cluster.state()["activated_slaves"] == 1)
    if cluster.pids("/many") != before:
        raise Failed("the agent's death changed processes")
    cluster.kill("control_plane")
    cluster.start_control_plane()
    wait_for("the agent registers again", lambda: cluster.state()["activated_slaves"] == 1)
    if cluster.get("/v2/apps/many/versions") != versions:
        raise Failed("versions changed")
    body = {"instances": 22}
    cluster.expect(200, "PUT", f"{cluster.marathon}/v2/apps/many?force=true", body)
    cluster.wait_running("many", 22, 60)
    after = cluster.pids("/many")
    if not before.items() <= after.items():
        raise Failed(f"{len(before.items() - after.items())} processes changed")
    return "20 tasks kept their pids, a scale right after works"


CHECKS = [
    ("seed app runs and listens on its ports", seed_app),
    ("app with HTTP health check becomes healthy", healthy_app),
    ("scaling", scale),
    ("rolling update keeps minimumHealthCapacity", rolling_update),
    ("a killed task is replaced", replacement),
    ("a crash loop backs off and says so", crash_loop),
    ("an app that cannot fit says why, with numbers", too_large),
    ("tepui run ends with the task's status", run_command),
    ("kill -9 of both daemons changes no task", daemons_die),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="folder of the built binaries")
    parser.add_argument("--only", help="run only checks whose name contains this")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tepui-smoke-") as folder:
        cluster = Cluster(options.bin, folder, resources="cpus:8;mem:8192;disk:10240")
        with cluster:
            for name, check in CHECKS:
                if options.only and options.only not in name:
                    continue
                started = time.monotonic()
                try:
                    detail = check(cluster)
                    print(f"ok     {name}: {detail} ({time.monotonic() - started:.1f} s)")
                except Exception as error:  # noqa: BLE001 - every failure is a line
                    failed += 1
                    print(f"FAILED {name}: {error!r}")
                    for daemon in ("tepui-control-plane", "tepui-agentd"):
                        print(f"--- {daemon}\n{cluster.log(daemon)}", file=sys.stderr)
                sys.stdout.flush()
    total = len([name for name, _ in CHECKS if not options.only or options.only in name])
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
