import json

APP = {
    "id": "/web",
    "cmd": "exec busybox httpd -f -p $PORT0",
    "cpus": 0.1,
    "mem": 32,
    "instances": 3,
}


def tasks():
    answer = json.loads(one.succeed("curl -sf http://one:8080/v2/apps/web/tasks"))
    return {task["id"]: task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def wait_for_tasks(count, without=None):
    seen = {}

    def look(_):
        nonlocal seen
        seen = tasks()
        return len(seen) == count and without not in seen

    retry(look, 60)
    return seen


def main_pid(task):
    return one.succeed(f"pgrep -f 'httpd -f -p {task['ports'][0]}$'").split()[0]


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("an app of three instances comes up"):
    one.succeed(f"echo '{json.dumps(APP)}' >/root/web.json", "tepui app create /root/web.json")
    for task in wait_for_tasks(3).values():
        one.wait_for_open_port(task["ports"][0], addr="one", timeout=60)

with subtest("the daemons are well-behaved services"):
    for unit in ("tepui-control-plane.service", "tepui-agentd.service"):
        t.assertEqual(one.get_unit_property(unit, "SubState"), "running")
        t.assertEqual(one.get_unit_property(unit, "NRestarts"), "0")
    t.assertEqual(one.get_unit_property("tepui-agentd.service", "Delegate"), "yes")
    for task in tasks().values():
        group = one.succeed(f"cat /proc/{main_pid(task)}/cgroup")
        t.assertRegex(group, r"(?m)^0::/tepui.slice/tepui-tasks.slice/tepui-processes.service/.+")

with subtest("it is scaled up and down"):
    one.succeed("tepui app scale web 5 --timeout 60s")
    wait_for_tasks(5)
    one.succeed("tepui app scale web 2 --timeout 60s")
    wait_for_tasks(2)

with subtest("a killed task is replaced"):
    victim, task = next(iter(tasks().items()))
    one.succeed(f"kill -9 {main_pid(task)}")
    wait_for_tasks(2, without=victim)
