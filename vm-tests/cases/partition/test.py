import json

APP = {
    "id": "/web",
    "cmd": "exec sleep 86400",
    "cpus": 0.1,
    "mem": 16,
    "instances": 4,
    # At most three of four on a host, so both are used; the survivor alone has room for three.
    "constraints": [["hostname", "MAX_PER", "3"]],
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
}


def running():
    """Hosts of the running tasks by the tasks' ids."""
    answer = json.loads(plane.succeed("curl -sf http://plane:8080/v2/apps/web/tasks"))
    tasks = [task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"]
    return {task["id"]: task["host"] for task in tasks}


def agents():
    state = json.loads(plane.succeed("curl -sf http://plane:5050/state"))
    return {agent["hostname"]: agent["id"] for agent in state["slaves"] if agent["active"]}


def wait_for_tasks(settled):
    seen = {}

    def look(_):
        nonlocal seen
        seen = running()
        return settled(seen)

    retry(look, 180)
    return seen


def pids(host):
    status, output = host.execute("pgrep -x -f 'sleep 86400'")
    return set(output.split())


start_all()
plane.wait_for_unit("tepui-control-plane.service")
for host in (left, right):
    host.wait_for_unit("tepui-agentd.service")
retry(lambda _: len(agents()) == 2, 90)
plane.succeed(f"echo '{json.dumps(APP)}' >/root/web.json", "tepui app create -d /root/web.json")
before, known = wait_for_tasks(lambda tasks: len(tasks) == 4), agents()
cut_off = {task for task, host in before.items() if host == "left"}
stranded = pids(left)
t.assertEqual(len(stranded), len(cut_off))

with subtest("only control plane and left do not hear each other"):
    partition([plane], [left])
    plane.fail("ping -c1 -W1 left")
    left.fail("ping -c1 -W1 plane")
    left.succeed("ping -c1 -W5 right")
    plane.succeed("ping -c1 -W5 right")

with subtest("the other side takes over what it has room for"):
    after = wait_for_tasks(lambda tasks: list(tasks.values()) == ["right"] * 3)
    t.assertEqual(after.keys() & before.keys(), before.keys() - cut_off)
    t.assertEqual(set(agents()), {"right"})

with subtest("tasks of the lost side go on, for nobody told them otherwise"):
    t.assertEqual(pids(left), stranded)

with subtest("healed, the agent is the same, its former tasks end, the app is whole"):
    heal()
    retry(lambda _: agents() == known, 180)
    whole = wait_for_tasks(lambda tasks: len(tasks) == 4)
    t.assertEqual(set(whole) & cut_off, set())
    retry(lambda _: len(pids(left)) == 1 and not pids(left) & stranded, 120)
    t.assertEqual(len(pids(right)), 3)
