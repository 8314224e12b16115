import json
import shlex
import time

PLANE = "tepui-control-plane.service"
FACTS = ("MainPID", "InvocationID", "ExecMainStartTimestampMonotonic")
# Every main process that ever starts leaves a line.
START = "echo $MESOS_TASK_ID >>/root/starts; exec sleep 86400"
STEADY = {
    "id": "/steady", "cmd": START, "cpus": 0.1, "mem": 16, "instances": 6,
    "constraints": [["hostname", "MAX_PER", "2"]],
}  # fmt: skip
hosts = (alpha, beta, gamma)
by_name = {host.name: host for host in hosts}
acknowledged: list[str] = []


def ask(host, path):
    """What this host's control plane answers by Marathon's API; None when it does not."""
    status, text = host.execute(f"curl -sf -m 5 http://localhost:8080{path}")
    return json.loads(text) if status == 0 else None


def put(host, app):
    """Whether a write at this host's control plane was acknowledged."""
    status, code = host.execute(
        f"printf %s {shlex.quote(json.dumps(app))} | curl -s -m 5 -o /root/answer -w '%{{http_code}}'"
        f" -X PUT -H 'Content-Type: application/json' -d @- http://localhost:8080/v2/apps{app['id']}"
    )
    return status == 0 and code in ("200", "201")


def word(name):
    return {"id": f"/words/{name}", "cmd": "true", "instances": 0}


def write(host):
    """Writes until a write is acknowledged; it must be there for ever."""
    app = word(len(acknowledged))
    retry(lambda _: put(host, app), 60)
    acknowledged.append(app["id"])


def term(host):
    """The term in force, as this host's control plane has heard."""
    status, text = host.execute("curl -sf -m 2 http://localhost:5050/metrics | grep '^tepui_term '")
    return int(text.split()[1]) if status == 0 else 0


def leader(host):
    told = ask(host, "/v2/leader")
    return by_name[told["leader"].split(":")[0]] if told else None


def tasks(host, app):
    """Hosts of an app's running tasks by the tasks' ids."""
    answer = ask(host, f"/v2/apps/{app}/tasks") or {"tasks": []}
    return {task["id"]: task["host"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def settled(host):
    """Three agents, nothing under way, every instance runs."""
    status, text = host.execute("curl -sfL -m 5 http://localhost:5050/state")
    agents = json.loads(text)["slaves"] if status == 0 else []
    return (
        sum(agent["active"] for agent in agents) == 3
        and ask(host, "/v2/deployments") == []
        and len(tasks(host, "steady")) == 6
        and len(tasks(host, "rolling")) == 4
    )


def facts(some):
    """Main process, start and invocation of what runs steady tasks on these hosts."""
    found = {}
    for host in some:
        listed = host.succeed("systemctl list-units --plain --no-legend 'tepui-task-*'").strip()
        for unit in [line.split()[0] for line in listed.split("\n") if "task-steady" in line]:
            found[unit] = [host.get_unit_property(unit, fact) for fact in FACTS]
    return found


def open_gate(version):
    for host in hosts:
        host.succeed(f"touch /root/gate-{version}")


def rolling(version):
    """An app whose tasks are healthy when the gate of their version is open."""
    return {
        "id": "/rolling", "cmd": f"VERSION={version}; {START}", "cpus": 0.1, "mem": 16,
        "instances": 4, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5},
        "healthChecks": [{
            "protocol": "COMMAND", "command": {"value": f"test -e /root/gate-{version}"},
            "delaySeconds": 0, "gracePeriodSeconds": 600, "intervalSeconds": 1,
            "timeoutSeconds": 20,
        }],
    }  # fmt: skip


def begin_deployment(version):
    """A deployment that cannot end before its gate opens; tasks of it run already."""
    before = tasks(alpha, "rolling")
    # This host's control plane may have begun only just now, and not know yet who leads.
    retry(lambda _: put(alpha, rolling(version)), 60)
    retry(lambda _: len(tasks(alpha, "rolling").keys() - before.keys()) >= 2, 60)
    (deployment,) = ask(alpha, "/v2/deployments")
    return deployment["id"]


def take_from(former, began, witness):
    """Waits for a leader after this term; the seconds that it took."""
    retry(lambda _: term(witness) > former, 90)
    took = time.monotonic() - began
    write(witness)
    witness.log(f"new leader after {took:.2f} s, a write after {time.monotonic() - began:.2f} s")
    return took


def end_deployment(witness, deployment, version):
    """The deployment of the former leader goes on, and ends."""
    retry(lambda _: deployment in [one["id"] for one in ask(witness, "/v2/deployments") or []], 60)
    open_gate(version)
    retry(lambda _: settled(witness), 180)
    app = ask(witness, "/v2/apps/rolling")["app"]
    t.assertIn(f"VERSION={version};", app["cmd"])
    t.assertEqual((app["tasksHealthy"], app["instances"]), (4, 4))


def nothing_lost_nothing_doubled(witness):
    known = [*tasks(witness, "steady").items(), *tasks(witness, "rolling").items()]
    started = []
    for host in hosts:
        running = host.execute("pgrep -cx -f 'sleep 86400'")[1].strip()
        t.assertEqual(int(running), sum(on == host.name for _, on in known), host.name)
        started += host.succeed("cat /root/starts").split()
    t.assertEqual(len(started), len(set(started)), "a task began twice")
    t.assertLessEqual({task for task, _ in known}, set(started))
    there = {app["id"] for app in ask(witness, "/v2/apps?id=words")["apps"]}
    t.assertEqual(there, set(acknowledged))


start_all()
limits = json.loads(alpha.succeed("cat /etc/ensemble.json"))
for host in hosts:
    host.wait_for_unit(PLANE, timeout=120)
    host.wait_for_unit("tepui-agentd.service", timeout=120)
open_gate(1)
retry(lambda _: put(alpha, STEADY) and put(alpha, rolling(1)), 120)
retry(lambda _: settled(alpha), 120)
t.assertEqual(len({term(host) for host in hosts}), 1)
before = facts(hosts)
t.assertEqual(len(before), 6)

with subtest("every host reaches the leader at the address that clients are told"):
    state = json.loads(alpha.succeed("curl -sfL -m 5 http://localhost:5050/state"))
    address = state["leader"].removeprefix("master@")
    for host in hosts:
        host.succeed(f"curl -sf -m 5 http://{address}/metrics | grep -x 'tepui_leader 1'")

with subtest("the leader is killed in mid-deployment"):
    deployment, former, victim = begin_deployment(2), term(alpha), leader(alpha)
    (witness, other) = [host for host in hosts if host is not victim]
    write(victim)
    began = time.monotonic()
    victim.succeed(f"systemctl kill --kill-whom=main -s KILL {PLANE}")
    took = take_from(former, began, witness)
    t.assertLess(took, limits["lease_seconds"], "nobody waits for the lease of the dead")
    end_deployment(witness, deployment, 2)
    t.assertEqual(facts(hosts), before)
    nothing_lost_nothing_doubled(other)
    victim.wait_until_succeeds("curl -sf http://localhost:5050/metrics | grep -x 'tepui_leader 0'")

with subtest("the leader is cut off: the majority goes on, and it can do nothing more"):
    deployment, former, victim = begin_deployment(3), term(alpha), leader(alpha)
    (witness, other) = [host for host in hosts if host is not victim]
    write(victim)
    process = victim.get_unit_property(PLANE, "MainPID")
    began = time.monotonic()
    victim.block()
    t.assertFalse(put(victim, word("cut-off")))
    take_from(former, began, witness)
    victim.unblock()
    retry(lambda _: victim.get_unit_property(PLANE, "MainPID") not in ("0", process), 60)
    end_deployment(other, deployment, 3)
    retry(lambda _: term(victim) == term(witness) > former, 60)
    t.assertEqual(facts(hosts), before)
    nothing_lost_nothing_doubled(victim)

with subtest("the leader is stopped, and wakes up"):
    deployment, former, victim = begin_deployment(4), term(alpha), leader(alpha)
    (witness, other) = [host for host in hosts if host is not victim]
    write(victim)
    since = victim.succeed("date +%s").strip()
    began = time.monotonic()
    victim.succeed(f"systemctl kill --kill-whom=main -s STOP {PLANE}")
    # What it is asked meanwhile waits for it.
    late = "curl -s -m 300 -o /dev/null -w '%{http_code}' http://localhost:8080/v2/apps"
    body = shlex.quote(json.dumps(word("late")))
    victim.succeed(
        f'systemd-run -q --unit late-delete sh -c "{late}/steady -X DELETE >/root/late-delete"',
        f"printf %s {body} >/root/late.json",
        f"systemd-run -q --unit late-put sh -c \"{late}/words/late -X PUT"
        " -H 'Content-Type: application/json' -d @/root/late.json >/root/late-put\"",
    )
    took = take_from(former, began, witness)
    t.assertLess(took, limits["lease_seconds"] + 1)
    victim.sleep(max(0, round(began + limits["pause_seconds"] - time.monotonic())))
    victim.succeed(f"systemctl kill --kill-whom=main -s CONT {PLANE}")
    victim.wait_until_succeeds(f"journalctl -u {PLANE} --since @{since} | grep status=103", timeout=60)
    for request in ("late-delete", "late-put"):
        victim.wait_until_succeeds(f"test $(systemctl is-active {request}) != active", timeout=60)
        t.assertNotRegex(victim.succeed(f"cat /root/{request}"), "^2", request)
    end_deployment(other, deployment, 4)
    t.assertEqual(facts(hosts), before)
    nothing_lost_nothing_doubled(witness)

with subtest("the leader's host loses its power, and comes back"):
    deployment, former, victim = begin_deployment(5), term(alpha), leader(alpha)
    (witness, other) = [host for host in hosts if host is not victim]
    write(victim)
    staying = facts((witness, other))
    lost = {task for task, on in tasks(witness, "steady").items() if on == victim.name}
    began = time.monotonic()
    victim.crash()
    take_from(former, began, witness)
    victim.start()
    victim.wait_for_unit(PLANE, timeout=120)
    victim.wait_for_unit("tepui-agentd.service", timeout=120)
    end_deployment(other, deployment, 5)
    t.assertEqual(set(tasks(witness, "steady")) & lost, set())
    t.assertEqual(facts((witness, other)), staying)
    nothing_lost_nothing_doubled(victim)
