import json

AGENT = "tepui-agentd.service"
KILLS = 100
STEADY = {"id": "/steady", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 3}
# Each writes down how it will end, and ends so.
END = (
    "code=$(($(od -An -N1 -tu1 /dev/urandom) % 90 + 10));"
    " echo $MESOS_TASK_ID $code >>/root/ends; sleep 0.$code; exit $code"
)
CHURN = {
    "id": "/churn",
    "cmd": END,
    "cpus": 0.1,
    "mem": 16,
    "instances": 8,
    "backoffSeconds": 0,
    "maxLaunchDelaySeconds": 0,
}
GET_TASKS = (
    "curl -sf -H 'Content-Type: application/json' -H 'Accept: application/json'"
    """ -d '{"type": "GET_TASKS"}' http://one:5050/api/v1"""
)
FACTS = ("MainPID", "InvocationID", "ExecMainStartTimestampMonotonic")


def create(app):
    one.succeed(f"echo '{json.dumps(app)}' >/root/app.json", "tepui app create -d /root/app.json")


def running(app):
    answer = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{app}/tasks"))
    return {task["id"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def steady_units():
    listed = one.succeed("systemctl list-units --plain --no-legend 'tepui-task-steady*'")
    names = [line.split()[0] for line in listed.strip().split("\n")]
    return {name: [one.get_unit_property(name, fact) for fact in FACTS] for name in names}


def kill_agent():
    """Kills the daemon wherever it is with its work; systemd starts another one."""
    one.succeed(
        f"before=$(systemctl show -P MainPID {AGENT}); kill -9 $before;"
        f" until now=$(systemctl show -P MainPID {AGENT}); [ $now != 0 ] && [ $now != $before ];"
        " do :; done"
    )


def settled(_):
    state = json.loads(one.succeed("curl -sf http://one:5050/state"))
    return sum(agent["active"] for agent in state["slaves"]) == 1 and running("steady") == tasks


def replace(change):
    """Puts other files in the place of the agent's programs, and starts it from them."""
    for program in ("tepui-agentd", "tepui-shim"):
        place = f"/usr/local/bin/{program}"
        one.succeed(change.format(place=place, program=program))
    one.succeed(f"systemctl restart {AGENT}")
    retry(settled, 60)


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
create(STEADY)
create(CHURN)
retry(lambda _: len(running("steady")) == 3, 90)
tasks, units = running("steady"), steady_units()
t.assertEqual(len(units), 3)

with subtest("tasks keep their processes while the agent is killed again and again"):
    for _ in range(KILLS):
        kill_agent()
    retry(settled, 120)
    t.assertEqual(steady_units(), units)

with subtest("tasks keep their processes while the agent's programs are replaced, and put back"):
    replace("cp {place} /root/{program}.old && cp {place} /root/new && echo >>/root/new"
            " && chmod 755 /root/new && mv -f /root/new {place}")
    t.assertEqual(steady_units(), units)
    replace("mv -f /root/{program}.old {place}")
    t.assertEqual(steady_units(), units)

with subtest("what comes and goes still comes and goes"):
    count = int(one.succeed("wc -l </root/ends"))
    one.wait_until_succeeds(f"test $(wc -l </root/ends) -gt {count + 10}", timeout=60)
    one.succeed("tepui app delete /churn")
    one.wait_until_fails("systemctl list-units --plain 'tepui-task-churn*' | grep churn", timeout=60)

with subtest("every end that is told is the true one"):
    lines = one.succeed("cat /root/ends").strip().split("\n")
    ends = {line.split()[0]: int(line.split()[1]) for line in lines}
    t.assertEqual(len(ends), len(lines), "a task began twice")
    known = json.loads(one.succeed(GET_TASKS))["get_tasks"]
    told, never = 0, 0
    for task in known["completed_tasks"]:
        name, last = task["task_id"]["value"], task["statuses"][-1]
        message = last.get("message", "")
        if message.startswith("Command exited with status"):
            t.assertEqual(int(message.split("\n")[0].split()[-1]), ends[name], name)
            told += 1
        elif last.get("reason") in ("REASON_AGENT_RESTARTED", "REASON_RECONCILIATION"):
            t.assertNotIn(name, ends, f"it did begin: {message}")
            never += 1
        else:
            t.assertEqual(task["state"], "TASK_KILLED", f"{name}: {last}")
    t.assertGreater(told, 20)
    one.log(f"{told} ends told truthfully, {never} tasks never begun")
