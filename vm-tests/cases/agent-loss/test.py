import json

APP = {
    "id": "/web",
    "cmd": "exec sleep 86400",
    "cpus": 0.1,
    "mem": 16,
    "instances": 4,
    # At most three of four on a host: two hosts at least are used, and two are enough.
    "constraints": [["hostname", "MAX_PER", "3"]],
    "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
}


def hosts_of_tasks():
    answer = json.loads(alpha.succeed("curl -sf http://alpha:8080/v2/apps/web/tasks"))
    tasks = [task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"]
    return {task["id"]: task["host"] for task in tasks}


def wait_for_tasks(settled):
    seen = {}

    def look(_):
        nonlocal seen
        seen = hosts_of_tasks()
        return settled(seen)

    retry(look, 180)
    return seen


def agents():
    """Ids of connected agents by their host."""
    state = json.loads(alpha.succeed("curl -sf http://alpha:5050/state"))
    return {agent["hostname"]: agent["id"] for agent in state["slaves"] if agent["active"]}


start_all()
alpha.wait_for_unit("tepui-control-plane.service")
for host in (alpha, beta, gamma):
    host.wait_for_unit("tepui-agentd.service")
retry(lambda _: len(agents()) == 3, 90)
alpha.succeed(f"echo '{json.dumps(APP)}' >/root/web.json", "tepui app create -d /root/web.json")
before, known = wait_for_tasks(lambda hosts: len(hosts) == 4), agents()
victim = beta if "beta" in before.values() else gamma
lost = {task for task, host in before.items() if host == victim.name}
t.assertGreater(len(lost), 0)

with subtest("the tasks of a crashed host start elsewhere"):
    victim.crash()
    after = wait_for_tasks(lambda hosts: len(hosts) == 4 and victim.name not in hosts.values())
    t.assertEqual(after.keys() & before.keys(), before.keys() - lost)
    t.assertEqual(set(agents()), set(known) - {victim.name})

with subtest("the host returns, without its tasks"):
    victim.start()
    victim.wait_for_unit("tepui-agentd.service")
    retry(lambda _: len(agents()) == 3, 120)
    victim.fail("pgrep -x -f 'sleep 86400'")
    t.assertEqual(hosts_of_tasks(), after)

with subtest("it is used again"):
    alpha.succeed("tepui app scale web 9 --timeout 120s")
    wait_for_tasks(lambda hosts: list(hosts.values()).count(victim.name) == 3)
