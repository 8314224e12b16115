import json

WEB = {"id": "/web", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 4}
STUBBORN = {
    "id": "/stubborn",
    "cmd": "trap '' TERM; while true; do sleep 1; done",
    "cpus": 0.1,
    "mem": 16,
    "constraints": [["hostname", "LIKE", "two"]],
    "taskKillGracePeriodSeconds": 600,
}


def hosts_of_tasks(app):
    answer = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{app}/tasks"))
    tasks = [task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"]
    return {task["id"]: task["host"] for task in tasks}


def wait_for(app, settled):
    retry(lambda _: settled(list(hosts_of_tasks(app).values())), 90)


def registered():
    return json.loads(one.succeed("curl -sf http://one:5050/slaves"))["slaves"]


def agents():
    """Registered agents by host."""
    return {agent["hostname"]: agent for agent in registered()}


def drain_state():
    return agents()["two"].get("drain_info", {}).get("state")


def is_back(_):
    """Whether `two` has registered at a control plane that may still be starting."""
    status, said = one.execute("curl -sf http://one:5050/slaves")
    return status == 0 and "two" in [agent["hostname"] for agent in json.loads(said)["slaves"]]


start_all()
one.wait_for_unit("tepui-control-plane.service")
for host in (one, two):
    host.wait_for_unit("tepui-agentd.service")
retry(lambda _: len(agents()) == 2, 90)
for app in (WEB, STUBBORN):
    one.succeed(f'cat >/root/app.json <<"END"\n{json.dumps(app)}\nEND\n', "tepui app create -d /root/app.json")
wait_for("web", lambda hosts: len(hosts) == 4)
wait_for("stubborn", lambda hosts: hosts == ["two"])
kept = {task for task, host in hosts_of_tasks("web").items() if host == "one"}

with subtest("a drain goes on while a task takes its time, and a new leader goes on with it"):
    one.succeed("tepui agent drain --detach two")
    wait_for("web", lambda hosts: hosts == ["one"] * 4)
    t.assertEqual(drain_state(), "DRAINING")
    one.succeed("systemctl restart tepui-control-plane.service")
    # Until it has come back it is among those that are expected.
    retry(is_back, 60)
    t.assertEqual(drain_state(), "DRAINING")
    status, said = one.execute("tepui agent activate two 2>&1")
    t.assertEqual(status, 1)
    t.assertIn("still in the DRAINING state", said)

with subtest("less grace ends what is left, and then the agent is drained"):
    one.succeed("tepui agent drain --grace 1s --timeout 60s two")
    t.assertEqual(drain_state(), "DRAINED")
    two.fail("pgrep -f 'sleep 86400$'")
    t.assertEqual(kept - set(hosts_of_tasks("web")), set())
    listed = one.succeed("tepui agent list")
    t.assertRegex(listed, r"(?m)two +drained")

with subtest("it is offered to nobody until it is activated"):
    t.assertEqual(hosts_of_tasks("stubborn"), {})
    one.succeed("tepui agent activate two")
    wait_for("stubborn", lambda hosts: hosts == ["two"])
    t.assertIsNone(drain_state())

with subtest("an agent that is to be gone is gone when it is empty"):
    gone = agents()["two"]["id"]
    one.succeed("tepui agent drain --grace 1s --mark-gone --timeout 60s two")
    # The host itself is there: its agent begins anew, as another one.
    t.assertNotIn(gone, [agent["id"] for agent in registered()])
