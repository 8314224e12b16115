import json

AGENT = "tepui-agentd.service"
KILLS = 10
STEADY = {"id": "/steady", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 3}
CHURN = {
    "id": "/churn",
    "cmd": "sleep 1",
    "cpus": 0.1,
    "mem": 16,
    "instances": 3,
    "backoffSeconds": 0,
    "maxLaunchDelaySeconds": 0,
}


def create(app):
    one.succeed(f"echo '{json.dumps(app)}' >/root/app.json", "tepui app create -d /root/app.json")


def running(app):
    answer = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{app}/tasks"))
    return {task["id"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def processes():
    """Process id and start time of each steady task."""
    status, output = one.execute(
        "for pid in $(pgrep -x -f 'sleep 86400'); do cut -d' ' -f1,22 /proc/$pid/stat; done"
    )
    return set(output.split("\n")) - {""}


def kill_agent(also=""):
    """Kills the daemon; systemd starts another one."""
    before = one.get_unit_property(AGENT, "MainPID")
    one.succeed(f"kill -9 {before} {also}")
    retry(
        lambda _: one.get_unit_property(AGENT, "MainPID") not in ("0", before)
        and one.get_unit_property(AGENT, "SubState") == "running",
        60,
    )


def connected_agents():
    state = json.loads(one.succeed("curl -sf http://one:5050/state"))
    return sum(agent["active"] for agent in state["slaves"])


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
create(STEADY)
create(CHURN)
retry(lambda _: len(running("steady")) == 3 and len(running("churn")) > 0, 90)
tasks, pids = running("steady"), processes()
t.assertEqual(len(pids), 3)

with subtest("tasks keep their processes"):
    for kill in range(KILLS):
        churned = running("churn")
        kill_agent()
        t.assertEqual(processes(), pids)
        # The next agent works: what ended meanwhile is known, and more is started.
        retry(lambda _: len(running("churn") - churned) > 0, 90)

with subtest("control plane and systemd agree that nothing happened"):
    t.assertEqual(one.get_unit_property(AGENT, "NRestarts"), str(KILLS))
    t.assertEqual(running("steady"), tasks)
    t.assertEqual(processes(), pids)
    t.assertEqual(connected_agents(), 1)

with subtest("a task that ends while the agent is dead is replaced"):
    victim = min(pids).split()[0]
    kill_agent(also=victim)

    def replaced(_):
        seen = running("steady")
        return len(seen) == 3 and len(seen & tasks) == 2

    retry(replaced, 60)
    t.assertEqual(len(processes() & pids), 2)
    app = json.loads(one.succeed("curl -sf http://one:8080/v2/apps/steady"))["app"]
    failure = app["lastTaskFailure"]
    t.assertIn(failure["taskId"], tasks)
    t.assertEqual(failure["state"], "TASK_FAILED")
    t.assertRegex(failure["message"], "(?i)signal|SIGKILL")
