import json

AGENT = "tepui-agentd.service"
MARATHON = "http://one:8080/v2/apps"


def create(name, cmd, **more):
    app = {"id": f"/{name}", "cmd": cmd, "cpus": 0.1, "mem": 16, "backoffSeconds": 1, **more}
    document = json.dumps(app).replace("'", "'\\''")
    one.succeed(f"echo '{document}' >/root/app.json", "tepui app create /root/app.json --timeout 60s")
    return running(name)


def show(name):
    embed = "embed=app.tasks&embed=app.lastTaskFailure"
    return json.loads(one.succeed(f"curl -sf '{MARATHON}/{name}?{embed}'"))["app"]


def running(name):
    """The id of an app's only task that runs, or None."""
    found = [task["id"] for task in show(name)["tasks"] if task["state"] == "TASK_RUNNING"]
    return found[0] if len(found) == 1 else None


def unit(app):
    """The unit of an app's task. Its name has backslashes: it goes between quotation marks."""
    names = f"systemctl list-units --plain --no-legend 'tepui-task-{app}*'"
    return one.succeed(names).split()[0]


def main_pid(name):
    return one.get_unit_property(name, "MainPID")


def group(name):
    return "/sys/fs/cgroup" + one.get_unit_property(name, "ControlGroup")


def failed(name, task):
    """What is told of the end of this task, once another one runs in its place."""
    retry(lambda _: show(name).get("lastTaskFailure", {}).get("taskId") == task, 60)
    retry(lambda _: running(name) not in (None, task), 60)
    return show(name)["lastTaskFailure"]


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("a unit that the operator stops is a task that failed, and who ended it is told"):
    task = create("stopped", "exec sleep 1111")
    t.assertEqual(show("stopped").get("lastTaskFailure"), None)
    name = unit("stopped")
    one.succeed(f"systemctl stop '{name}'")
    end = failed("stopped", task)
    t.assertEqual(end["state"], "TASK_FAILED")
    t.assertIn("signal Terminated", end["message"])
    t.assertIn("systemd", end["message"])

with subtest("a unit that the operator restarts is not the task any more, and its end is told as it was"):
    for while_away in (False, True):
        task = create("restarted", "exec sleep 5555")
        name = unit("restarted")
        if while_away:
            one.succeed(f"systemctl stop {AGENT}")
        one.execute(f"systemctl restart '{name}'")
        if while_away:
            one.succeed(f"systemctl start {AGENT}")
        end = failed("restarted", task)
        t.assertEqual(end["state"], "TASK_FAILED")
        t.assertIn("signal Terminated", end["message"])
        one.wait_until_succeeds("test $(pgrep -x -c -f 'sleep 5555') = 1", timeout=60)
        one.succeed("tepui app delete restarted --timeout 60s")

with subtest("a unit that is edited is the same task"):
    task = create("edited", "exec sleep 2222")
    name, before = unit("edited"), main_pid(unit("edited"))
    one.succeed(
        f"systemctl set-property --runtime '{name}' CPUWeight=7 TasksMax=99",
        f"systemctl set-property '{name}' Nice=1 || systemctl set-property --runtime '{name}' CPUWeight=8",
        "systemctl daemon-reload",
    )
    t.assertEqual(one.get_unit_property(name, "TasksMax"), "99")
    t.assertEqual((main_pid(name), running("edited")), (before, task))
    t.assertEqual(show("edited").get("lastTaskFailure"), None)
    one.succeed("tepui app delete edited --timeout 60s")
    one.wait_until_fails("pgrep -x -f 'sleep 2222'", timeout=60)

with subtest("how a unit ends after a reload is told as it was"):
    task = create("ends", "trap 'exit 7' USR1; while :; do sleep 0.1; done")
    one.succeed("systemctl daemon-reload", f"kill -USR1 {main_pid(unit('ends'))}")
    t.assertIn("exited with status 7", failed("ends", task)["message"])
    one.succeed("tepui app delete ends --timeout 60s")

with subtest("a unit that is frozen fails its check, and is ended although it cannot hear"):
    check = {
        "protocol": "COMMAND",
        "command": {"value": "true"},
        "gracePeriodSeconds": 0,
        "delaySeconds": 0,
        "intervalSeconds": 1,
        "timeoutSeconds": 1,
        "maxConsecutiveFailures": 2,
    }
    task = create("frozen", "exec sleep 3333", healthChecks=[check], taskKillGracePeriodSeconds=1)
    name = unit("frozen")
    place, pid = group(name), main_pid(name)
    retry(lambda _: show("frozen")["tasksHealthy"] == 1, 60)
    one.succeed(f"systemctl freeze '{name}'")
    one.succeed(f"grep 'frozen 1' '{place}/cgroup.events'")
    retry(lambda _: running("frozen") not in (None, task), 60)
    one.wait_until_fails(f"test -e /proc/{pid}", timeout=60)

with subtest("a task whose processes are taken out of its control group, which then goes, is still known"):
    task = create("moved", "exec sleep 4444")
    name, pid = unit("moved"), main_pid(unit("moved"))
    place = group(name)
    one.fail(f"rmdir '{place}'")
    elsewhere = "/sys/fs/cgroup/elsewhere"
    one.succeed(
        f"mkdir -p {elsewhere}",
        f"for pid in $(cat '{place}/cgroup.procs'); do echo $pid >{elsewhere}/cgroup.procs; done",
        f"rmdir '{place}'",
    )
    t.assertEqual(running("moved"), task)
    one.succeed(f"kill -9 {pid}")
    end = failed("moved", task)
    t.assertEqual(end["state"], "TASK_FAILED")
    # systemd has nowhere to run what would write it down: then nothing is claimed.
    t.assertIn("nobody recorded how it ended", end["message"])

with subtest("nor does it outlive its app"):
    name, pid = unit("moved"), main_pid(unit("moved"))
    place = group(name)
    one.succeed(
        f"for pid in $(cat '{place}/cgroup.procs'); do echo $pid >{elsewhere}/cgroup.procs; done",
        f"rmdir '{place}'",
        "tepui app delete moved --timeout 60s",
    )
    one.wait_until_fails(f"test -e /proc/{pid}", timeout=60)
    one.wait_until_succeeds(f"rmdir {elsewhere}", timeout=60)

with subtest("the agent has seen it all without a restart"):
    t.assertEqual(one.get_unit_property(AGENT, "NRestarts"), "0")
    one.succeed("tepui run --name probe --command true </dev/null")
