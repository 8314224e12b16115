import json

APP = {"id": "/steady", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 3}
AGENT = "tepui-agentd.service"
PLANE = "tepui-control-plane.service"


def running():
    answer = json.loads(one.succeed("curl -sf http://one:8080/v2/apps/steady/tasks"))
    return {task["id"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def processes():
    """Process id and start time of each task."""
    status, output = one.execute(
        "for pid in $(pgrep -x -f 'sleep 86400'); do cut -d' ' -f1,22 /proc/$pid/stat; done"
    )
    return set(output.split("\n")) - {""}


def connected_agents():
    state = json.loads(one.succeed("curl -sf http://one:5050/state"))
    return sum(agent["active"] for agent in state["slaves"])


def settled(_):
    """Both daemons answer, and agree on what runs."""
    if one.execute("curl -sf http://one:5050/health && curl -sf http://one:5051/health")[0] != 0:
        return False
    return connected_agents() == 1 and running() == tasks


start_all()
one.wait_for_unit(PLANE)
one.wait_for_unit(AGENT)
one.succeed(f"echo '{json.dumps(APP)}' >/root/app.json", "tepui app create -d /root/app.json")
retry(lambda _: len(running()) == 3, 90)
tasks, pids = running(), processes()
t.assertEqual(len(pids), 3)

for command in (
    "systemctl daemon-reload",
    "systemctl daemon-reexec",
    "systemctl restart dbus.service",
    f"systemctl restart {AGENT}",
    f"systemctl restart {PLANE}",
    f"systemctl restart {PLANE} {AGENT}",
    f"systemctl daemon-reexec; systemctl restart {AGENT}",
):
    with subtest(command):
        one.succeed(command)
        retry(settled, 60)
        t.assertEqual(processes(), pids)

with subtest("an agent that is asked to reload reads its configuration, unless it is wrong"):
    pid = one.get_unit_property(AGENT, "MainPID")
    one.succeed("cp /etc/tepui/agentd.toml /root/right.toml", "echo 'wrong = 1' >>/etc/tepui/agentd.toml")
    one.succeed(f"systemctl reload {AGENT}")
    one.wait_until_succeeds(f"journalctl -u {AGENT} | grep 'nothing changes.*unknown field'", timeout=30)
    t.assertEqual(one.get_unit_property(AGENT, "MainPID"), pid)
    one.succeed("cp /root/right.toml /etc/tepui/agentd.toml", f"systemctl reload {AGENT}")
    retry(lambda _: one.get_unit_property(AGENT, "MainPID") not in ("0", pid), 30)
    retry(settled, 60)
    t.assertEqual(processes(), pids)

with subtest("a daemon that hangs is started again"):
    for unit in (AGENT, PLANE):
        folder = f"/run/systemd/system/{unit}.d"
        patience = f"printf '[Service]\\nWatchdogSec=3s\\n' >{folder}/soon.conf"
        one.succeed(f"mkdir -p {folder}", patience, "systemctl daemon-reload", f"systemctl restart {unit}")
        retry(settled, 60)
        hung = one.get_unit_property(unit, "MainPID")
        one.succeed(f"kill -STOP {hung}")
        retry(lambda _: one.get_unit_property(unit, "MainPID") not in ("0", hung), 60)
        one.wait_until_succeeds(f"journalctl -u {unit} | grep -i 'watchdog timeout'", timeout=30)
        retry(settled, 60)
        t.assertEqual(processes(), pids)

with subtest("tasks outlive a stopped agent"):
    one.succeed(f"systemctl stop {AGENT}")
    t.assertEqual(one.get_unit_property(AGENT, "Result"), "success")
    t.assertEqual(processes(), pids)
    one.succeed(f"systemctl start {AGENT}")
    retry(settled, 60)
    t.assertEqual(processes(), pids)

with subtest("what was planned while the agent was stopped is done"):
    one.succeed(f"systemctl stop {AGENT}", "tepui app scale -d steady 5")
    t.assertEqual(processes(), pids)
    one.succeed(f"systemctl start {AGENT}")
    retry(lambda _: len(running()) == 5, 90)
    t.assertTrue(pids < processes())
