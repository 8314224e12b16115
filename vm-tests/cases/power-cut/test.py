import json

APP = {"id": "/steady", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 3}
TERMINAL = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED"}


def running():
    answer = json.loads(plane.succeed("curl -sf http://plane:8080/v2/apps/steady/tasks"))
    return {task["id"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def states():
    """The state of every task that the control plane knows."""
    answer = json.loads(plane.succeed("curl -sf 'http://plane:5050/tasks?limit=1000'"))
    return {task["id"]: task["state"] for task in answer["tasks"]}


def wait_for_replacement(former):
    """All instances run, none of them a former one, each as one process."""

    def replaced(_):
        tasks = running()
        return len(tasks) == 3 and not tasks & former

    retry(replaced, 180)
    t.assertEqual(len(worker.succeed("pgrep -x -f 'sleep 86400'").split()), 3)


start_all()
plane.wait_for_unit("tepui-control-plane.service")
worker.wait_for_unit("tepui-agentd.service")
plane.succeed(f"echo '{json.dumps(APP)}' >/root/app.json", "tepui app create -d /root/app.json")
retry(lambda _: len(running()) == 3, 120)

with subtest("the agent's host loses its power"):
    former = running()
    worker.crash()
    worker.start()
    worker.wait_for_unit("tepui-agentd.service")
    wait_for_replacement(former)
    for task in former:
        t.assertIn(states()[task], TERMINAL)

with subtest("both hosts lose their power at once"):
    former = running()
    worker.crash()
    plane.crash()
    start_all()
    plane.wait_for_unit("tepui-control-plane.service")
    worker.wait_for_unit("tepui-agentd.service")
    wait_for_replacement(former)
    for task in former & states().keys():
        t.assertIn(states()[task], TERMINAL)

with subtest("the power fails right after an app was accepted"):
    plane.succeed("tepui app scale -d steady 5")
    plane.crash()
    plane.start()
    plane.wait_for_unit("tepui-control-plane.service")
    retry(lambda _: len(running()) == 5, 120)
