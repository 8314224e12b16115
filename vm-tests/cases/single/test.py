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

with subtest("the app that the host declares runs, and is as declared"):
    apply = "tepui apply --owner one --prune"
    one.wait_for_unit("tepui-apply.service")
    one.wait_until_succeeds("tepui app list | grep '^/declared .*Running.* 1/1'", timeout=60)
    t.assertEqual(one.succeed(f"{apply} --dry-run /etc/tepui/apps.json"), "= 1 unchanged\n")

with subtest("a change of the declaration is told, made, and not made twice"):
    one.succeed("sed 's/86400/86401/' /etc/tepui/apps.json >/root/apps.json")
    status, told = one.execute(f"{apply} --dry-run /root/apps.json")
    t.assertEqual(status, 3)
    t.assertIn('cmd: "exec sleep 86400" -> "exec sleep 86401"', told)
    one.succeed(f"{apply} --timeout 60s /root/apps.json", "pgrep -f 'sleep 86401$'")
    one.succeed(f"{apply} --dry-run /root/apps.json")

with subtest("with nothing declared nothing goes, and nobody else's apps ever do"):
    status, _ = one.execute(f"echo '[]' | {apply} -")
    t.assertEqual(status, 2)
    web = '{"id": "/web", "cmd": "exec sleep 1"}'
    status, _ = one.execute(f"echo '{web}' | {apply} -")
    t.assertEqual(status, 2)
    other = '{"id": "/other", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16}'
    one.succeed(f"echo '{other}' | {apply} --timeout 60s -")
    wait_for_tasks(2)
    listed = one.succeed("tepui app list")
    t.assertIn("/other", listed)
    t.assertNotIn("/declared", listed)
