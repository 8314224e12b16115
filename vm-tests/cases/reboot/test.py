import json

APP = {
    "id": "/steady",
    "cmd": "exec sleep 86400",
    "cpus": 0.1,
    "mem": 16,
    "instances": 3,
    # A reboot ends tasks as a failure of the app would, and those are paced.
    "backoffSeconds": 0,
    "maxLaunchDelaySeconds": 0,
}
TERMINAL = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED"}


def running():
    answer = json.loads(plane.succeed("curl -sf http://plane:8080/v2/apps/steady/tasks"))
    return {task["id"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def agents():
    state = json.loads(plane.succeed("curl -sf http://plane:5050/state"))
    return [agent["id"] for agent in state["slaves"] if agent["active"]]


def states():
    """The state of every task that the control plane knows."""
    answer = json.loads(plane.succeed("curl -sf 'http://plane:5050/tasks?limit=1000'"))
    return {task["id"]: task["state"] for task in answer["tasks"]}


start_all()
plane.wait_for_unit("tepui-control-plane.service")
worker.wait_for_unit("tepui-agentd.service")
plane.succeed(f"echo '{json.dumps(APP)}' >/root/app.json", "tepui app create -d /root/app.json")
retry(lambda _: len(running()) == 3, 120)

for boot in range(2):
    former = running()
    with subtest("the agent's host is rebooted"):
        worker.shutdown()
        worker.start()
        worker.wait_for_unit("tepui-agentd.service")

    with subtest("its former tasks are over and replaced"):

        def replaced(_):
            tasks = running()
            return len(tasks) == 3 and not tasks & former

        retry(replaced, 180)
        for task in former:
            t.assertIn(states()[task], TERMINAL)
        t.assertEqual(len(worker.succeed("pgrep -x -f 'sleep 86400'").split()), 3)
        t.assertEqual(len(agents()), 1)

with subtest("the control plane's host is rebooted; tasks go on meanwhile"):
    former = running()
    plane.shutdown()
    t.assertEqual(len(worker.succeed("pgrep -x -f 'sleep 86400'").split()), 3)
    plane.start()
    plane.wait_for_unit("tepui-control-plane.service")
    retry(lambda _: running() == former, 120)
