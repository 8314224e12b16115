import json
import shlex

AGENT = "tepui-agentd.service"
PLANE = "tepui-control-plane.service"
FACTS = ("MainPID", "InvocationID", "ExecMainStartTimestampMonotonic")
GET_TASKS = (
    "curl -sf -H 'Content-Type: application/json' -H 'Accept: application/json'"
    """ -d '{"type": "GET_TASKS"}' http://plane:5050/api/v1"""
)
AT_ONCE = {"cpus": 0.1, "mem": 16, "backoffSeconds": 0, "maxLaunchDelaySeconds": 0}
# Each writes down how it will end, and ends so.
CHURN = (
    "code=$(($(od -An -N1 -tu1 /dev/urandom) % 90 + 10));"
    " echo $MESOS_TASK_ID $code >>/root/ends; sleep 1.$code; exit $code"
)
# Ends when it is told to, with the code that it is told.
MORTAL = "until mv /root/end /root/ended 2>/dev/null; do sleep 0.1; done; exit $(cat /root/ended)"
WEB = {
    "id": "/web",
    "cpus": 0.1,
    "mem": 32,
    "constraints": [["hostname", "LIKE", "units"]],
    "container": {
        "type": "DOCKER",
        "docker": {
            "image": "127.0.0.1:5000/web:1",
            "network": "BRIDGE",
            "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}],
        },
    },
}
hosts = (processes, units)


def create(app):
    plane.succeed(
        f"printf %s {shlex.quote(json.dumps(app))} >/root/app.json",
        "tepui app create -d /root/app.json",
    )


def on(host, name, instances, cmd):
    """An app on one host; its name says which."""
    constraints = [["hostname", "LIKE", host.name]]
    more = {"instances": instances, "cmd": cmd, "constraints": constraints}
    create({"id": f"/{name}-{host.name}", **AT_ONCE, **more})


def tasks(app):
    answer = json.loads(plane.succeed(f"curl -sf http://plane:8080/v2/apps/{app}/tasks"))
    return {task["id"]: task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def steady():
    """Every task that must not notice."""
    return {*tasks("steady-units"), *tasks("steady-processes"), *tasks("web")}


def facts():
    """Main process, start time and invocation of what runs these tasks."""
    listed = units.succeed("systemctl list-units --plain --no-legend 'tepui-task-*'").strip()
    names = [line.split()[0] for line in listed.split("\n")]
    names = [name for name in names if "task-steady" in name or "task-web" in name]
    found = {name: [units.get_unit_property(name, fact) for fact in FACTS] for name in names}
    for host in hosts:
        script = "for p in $(pgrep -x -f '{}'); do cut -d' ' -f1,22 /proc/$p/stat; done"
        found[host.name] = host.succeed(script.format("sleep 86400"))
    found["container"] = units.succeed(script.format("/bin/busybox httpd -f -p 80 -h /www"))
    return found


def settled(_):
    if plane.execute("curl -sf http://plane:5050/health")[0] != 0:
        return False
    state = json.loads(plane.succeed("curl -sf http://plane:5050/state"))
    return sum(agent["active"] for agent in state["slaves"]) == 2 and steady() == former


def replace_plane(release):
    plane.succeed(f"/payload/put {release}")
    plane.succeed(f"systemctl restart {PLANE}")
    retry(settled, 180)
    runs(plane, PLANE, release)


def replace_agent(host, release, code):
    """A task ends while the agent is away; the next one knows how."""
    app = f"mortal-{host.name}"
    retry(lambda _: len(tasks(app)) == 1, 120)
    (mortal,) = tasks(app)
    host.succeed(f"systemctl stop {AGENT}")
    host.succeed(f"echo {code} >/root/end.new && mv /root/end.new /root/end")
    host.wait_until_succeeds("test -e /root/ended && rm /root/ended", timeout=60)
    host.succeed(f"/payload/put {release}")
    host.succeed(f"systemctl start {AGENT}")
    retry(settled, 180)
    runs(host, AGENT, release)

    def told(_):
        answer = plane.succeed(f"curl -sf 'http://plane:8080/v2/apps/{app}'")
        failure = json.loads(answer)["app"].get("lastTaskFailure", {})
        return failure.get("taskId") == mortal and f"status {code}" in failure["message"]

    retry(told, 120)
    # The app is served again, by a task that this release started.
    retry(lambda _: len(tasks(app)) == 1 and mortal not in tasks(app), 120)


def runs(host, unit, release):
    """It is really this release that runs, in the unit of this release."""
    host.succeed(f"cmp /etc/tepui-releases/{release}/{unit} /etc/systemd/system/{unit}")
    t.assertEqual(host.get_unit_property(unit, "NeedDaemonReload"), "no")
    pid = host.get_unit_property(unit, "MainPID")
    wanted = host.succeed(f"stat -Lc %i /payload/{release}/{unit.removesuffix('.service')}")
    t.assertEqual(host.succeed(f"stat -Lc %i /proc/{pid}/exe"), wanted)


def nothing_happened():
    t.assertEqual(steady(), former)
    t.assertEqual(facts(), before)
    t.assertEqual(units.succeed(f"curl -sf -m 20 http://units:{port}/").strip(), "web 1")
    for host in hosts:
        t.assertEqual(host.get_unit_property(AGENT, "NRestarts"), "0")


start_all()
plane.wait_for_unit(PLANE)
units.succeed("systemd-run --unit registry /payload/bin/docker-registry serve /payload/registry.yml")
units.wait_for_open_port(5000, timeout=60)
# Where the kernel's parameters are read-only, the host's own network has its still to be set.
units.succeed(
    "for p in /proc/sys /proc/sys/net; do mount -o remount,bind,rw $p 2>/dev/null || true; done",
    f"systemctl restart {AGENT}",
)
for host in hosts:
    host.wait_for_unit(AGENT)
    plane.wait_until_succeeds(f"tepui agent list | grep -w {host.name}", timeout=60)
    runs(host, AGENT, "previous")
    on(host, "steady", 3, "exec sleep 86400")
    on(host, "churn", 2, CHURN)
    on(host, "mortal", 1, MORTAL)
runs(plane, PLANE, "previous")
create(WEB)
retry(lambda _: len(steady()) == 7, 300)
former, before = steady(), facts()
port = tasks("web").popitem()[1]["ports"][0]
t.assertEqual([len(v.split()) for v in (before["units"], before["container"])], [6, 2])
nothing_happened()

with subtest("upgrade: the control plane first, then the agents"):
    replace_plane("next")
    nothing_happened()
    for host in hosts:
        replace_agent(host, "next", 41)
        nothing_happened()

with subtest("downgrade: the agents first, then the control plane"):
    for host in hosts:
        replace_agent(host, "previous", 42)
        nothing_happened()
    replace_plane("previous")
    nothing_happened()

with subtest("upgrade again: the agents first"):
    for host in hosts:
        replace_agent(host, "next", 43)
        nothing_happened()
    replace_plane("next")
    nothing_happened()

with subtest("what enforces ports has changed hands each time, and still does"):
    t.assertEqual(plane.succeed("tepui agent list").count("port_enforcement:kernel"), 2)

with subtest("what comes and goes still comes and goes"):
    for host in hosts:
        count = int(host.succeed("wc -l </root/ends"))
        host.wait_until_succeeds(f"test $(wc -l </root/ends) -gt {count + 5}", timeout=60)
        plane.succeed(f"tepui app delete /churn-{host.name}")
        # The last ends are told.
        plane.wait_until_fails(f"curl -sf http://plane:8080/v2/tasks | grep churn-{host.name}", timeout=60)

with subtest("every end that is told is the true one"):
    ends = {}
    for host in hosts:
        lines = host.succeed("cat /root/ends").strip().split("\n")
        t.assertEqual(len({line.split()[0] for line in lines}), len(lines), "a task began twice")
        ends.update({line.split()[0]: int(line.split()[1]) for line in lines})
    told = 0
    for task in json.loads(plane.succeed(GET_TASKS))["get_tasks"]["completed_tasks"]:
        name, message = task["task_id"]["value"], task["statuses"][-1].get("message", "")
        if name in ends and message.startswith("Command exited with status"):
            t.assertEqual(int(message.split("\n")[0].split()[-1]), ends[name], name)
            told += 1
    t.assertGreater(told, 10)
    plane.log(f"{told} of {len(ends)} ends are known to this control plane, all truly told")

with subtest("tasks of the previous release end when they are asked to"):
    for app in ("steady-units", "steady-processes", "web"):
        plane.succeed(f"tepui app delete /{app}")
    for host in hosts:
        host.wait_until_fails("pgrep -x -f 'sleep 86400'", timeout=60)
    units.wait_until_fails("pgrep tepui-runtime", timeout=60)
    retry(lambda _: units.succeed("ls /run/tepui/netns").strip() == "", 30)
