import json

APP = {"id": "/steady", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 3}
WEB = {
    "id": "/web",
    "cpus": 0.1,
    "mem": 32,
    "backoffSeconds": 1,
    "maxLaunchDelaySeconds": 2,
    "container": {
        "type": "DOCKER",
        "docker": {
            "image": "127.0.0.1:5000/web:1",
            "network": "BRIDGE",
            "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}],
        },
    },
}
TERMINAL = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED"}


def tasks(app):
    answer = json.loads(plane.succeed(f"curl -sf http://plane:8080/v2/apps/{app}/tasks"))
    return {task["id"]: task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def running():
    return {*tasks("steady"), *tasks("web")}


def serve_images():
    worker.succeed("systemd-run --unit registry /payload/bin/docker-registry serve /payload/registry.yml")
    worker.wait_for_open_port(5000, timeout=120)


def states():
    """The state of every task that the control plane knows."""
    answer = json.loads(plane.succeed("curl -sf 'http://plane:5050/tasks?limit=1000'"))
    return {task["id"]: task["state"] for task in answer["tasks"]}


def wait_for_replacement(former):
    """All instances run, none of them a former one, each as one process."""

    def replaced(_):
        now = running()
        return len(now) == 4 and not now & former

    retry(replaced, 300)
    t.assertEqual(len(worker.succeed("pgrep -x -f 'sleep 86400'").split()), 3)
    (web,) = tasks("web").values()
    t.assertEqual(worker.succeed(f"curl -sf -m 60 http://worker:{web['ports'][0]}/").strip(), "web 1")
    t.assertEqual(len(worker.succeed("ls /run/tepui/netns").split()), 1)
    bundles = worker.succeed("ls /var/lib/tepui/agent/meta/containers").split()
    t.assertEqual(len(bundles), 1, f"what former containers had is gone: {bundles}")


start_all()
plane.wait_for_unit("tepui-control-plane.service")
worker.wait_for_unit("tepui-agentd.service")
serve_images()
for app in (APP, WEB):
    plane.succeed(f"echo '{json.dumps(app)}' >/root/app.json", "tepui app create -d /root/app.json")
retry(lambda _: len(running()) == 4, 300)

with subtest("the agent's host loses its power"):
    former = running()
    worker.crash()
    worker.start()
    worker.wait_for_unit("tepui-agentd.service")
    serve_images()
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
    serve_images()
    wait_for_replacement(former)
    for task in former & states().keys():
        t.assertIn(states()[task], TERMINAL)

with subtest("the power fails right after an app was accepted"):
    plane.succeed("tepui app scale -d steady 5")
    plane.crash()
    plane.start()
    plane.wait_for_unit("tepui-control-plane.service")
    retry(lambda _: len(running()) == 6, 180)
