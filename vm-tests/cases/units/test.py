import json

APP = {
    "id": "/shop/cart",
    "cmd": "echo hello from $MESOS_TASK_ID; exec python3 -m http.server $PORT0",
    "cpus": 0.1,
    "mem": 32,
    "instances": 3,
}
UNITS = "systemctl list-units --plain --no-legend 'tepui-task-*' | awk '{print $1}'"


def tasks():
    answer = json.loads(one.succeed("curl -sf http://one:8080/v2/apps/shop/cart/tasks"))
    return {task["id"]: task for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def wait_for_tasks(count):
    retry(lambda _: len(tasks()) == count, 60)


def units():
    return sorted(one.succeed(UNITS).split())


def identity(unit):
    names = ("MainPID", "InvocationID", "ExecMainStartTimestampMonotonic")
    return [one.get_unit_property(unit, name) for name in names]


def kill_agent():
    pid = one.get_unit_property("tepui-agentd.service", "MainPID")
    one.succeed(f"kill -9 {pid}")
    one.wait_until_succeeds(
        f"p=$(systemctl show -P MainPID tepui-agentd.service); test $p != 0 -a $p != {pid}"
        " && systemctl is-active tepui-agentd.service",
        timeout=60,
    )


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("an app of three instances runs as three units"):
    one.succeed(f"echo '{json.dumps(APP)}' >/root/cart.json", "tepui app create /root/cart.json --timeout 20s")
    wait_for_tasks(3)
    t.assertEqual(len(units()), 3)
    for task in tasks().values():
        one.wait_for_open_port(task["ports"][0], addr="one", timeout=60)

with subtest("systemctl, systemd-cgls and journalctl show them"):
    shown = one.succeed(f"systemctl status '{units()[0]}' --no-pager")
    t.assertIn("Tepui app /shop/cart", shown)
    t.assertRegex(shown, r"Main PID: \d+ \(python3\)")
    # Not from the status: a restored host has another boot id than its journal, which status uses.
    one.wait_until_succeeds(f"journalctl -u '{units()[0]}' | grep 'hello from'", timeout=30)
    t.assertRegex(one.succeed("systemd-cgls --no-pager"), r"tepui-tasks-default\.slice")
    one.wait_until_succeeds(
        "test $(journalctl TEPUI_APP=/shop/cart --no-pager -o cat | grep -c '^hello from') = 3",
        timeout=30,
    )
    t.assertIn("hello from", one.succeed("tepui app logs /shop/cart"))

with subtest("the death of the agent changes no unit"):
    before = {unit: identity(unit) for unit in units()}
    for _ in range(10):
        kill_agent()
    t.assertEqual({unit: identity(unit) for unit in units()}, before)
    wait_for_tasks(3)

with subtest("an end while the agent is away is told truthfully"):
    one.succeed(
        "mkfifo /run/go; tepui run --name quick --command 'touch /run/begun; read x < /run/go; exit 7'"
        " >/root/quick.log 2>&1 </dev/null & echo $! >/root/quick.pid"
    )
    # A unit that runs may still wait for the agent's word that its command may begin.
    one.wait_until_succeeds("test -e /run/begun", timeout=60)
    one.succeed("systemctl stop tepui-agentd.service", "echo >/run/go")
    one.wait_until_fails("systemctl list-units --plain 'tepui-task-quick*' | grep running", 60)
    one.succeed("systemctl start tepui-agentd.service")
    one.wait_until_succeeds("grep -q 'exited with status 7' /root/quick.log", timeout=60)

with subtest("a task that has not said that it is ready does not run after the agent's death either"):
    says = "import os, socket, time\nwhile not os.path.exists('/run/ready'): time.sleep(0.1)\n"
    says += "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    says += "s.connect(os.environ['NOTIFY_SOCKET']); s.send(b'READY=1'); time.sleep(1000)"
    definition = {"id": "/slow", "args": ["python3", "-c", says], "cpus": 0.1, "mem": 32}
    definition["labels"] = {"TEPUI_NOTIFY": "true"}
    document = json.dumps(definition).replace("'", "'\\''")
    one.succeed(f"echo '{document}' >/root/slow.json", "tepui app create -d /root/slow.json")
    state = "curl -sf http://one:8080/v2/apps/slow/tasks | grep -o TASK_[A-Z]*"
    one.wait_until_succeeds("systemctl list-units --plain 'tepui-task-slow*' | grep activating", 60)
    kill_agent()
    # An agent that runs something has registered, and said what it has to say of its tasks before.
    one.succeed("tepui run --name probe --command true </dev/null")
    t.assertNotIn("TASK_RUNNING", one.succeed(state))
    one.succeed("touch /run/ready")
    one.wait_until_succeeds(f"{state} | grep TASK_RUNNING", timeout=60)
    one.succeed("tepui app delete /slow", "rm /run/ready")
    retry(lambda _: len(units()) == 3, 30)

with subtest("a task whose role is twelve levels deep is held to its ports like any other"):
    one.succeed("echo 'import socket; socket.socket().bind((str(), 8081))' >/root/bind.py")
    deep = "tepui run --role a/b/c/d/e/f/g/h/i/j/k/l --name deep --command"
    status, output = one.execute(f"{deep} 'python3 /root/bind.py' 2>&1 </dev/null")
    t.assertEqual(status, 1, output)
    t.assertIn("denied bind tcp 0.0.0.0:8081", output)

with subtest("an agent that cannot reach systemd does not give its units up"):
    agent = "tepui-agentd.service"
    one.succeed(f"systemctl stop {agent}", "mv /run/dbus/system_bus_socket /run/dbus/away")
    one.execute(f"systemctl start --no-block {agent}")
    one.wait_until_succeeds(f"journalctl -u {agent} | grep 'only systemd can tell'", timeout=60)
    one.succeed("mv /run/dbus/away /run/dbus/system_bus_socket")
    one.wait_until_succeeds(f"systemctl is-active {agent}", timeout=60)
    wait_for_tasks(3)
    t.assertEqual({unit: identity(unit) for unit in units()}, before)

with subtest("a task gets every variable, also those that systemd refuses"):
    # Without a shell: dash drops what it cannot use itself.
    look = "import os, time; print(*map(os.getenv, ('a.b-c', 'PLAIN')), flush=True)"
    program = ["python3", "-c", f"{look}; time.sleep(1000)"]
    definition = {"id": "/env", "args": program, "cpus": 0.1, "mem": 32}
    definition["env"] = {"a.b-c": "odd", "PLAIN": "two\nlines"}
    document = json.dumps(definition).replace("'", "'\\''")
    one.succeed(f"echo '{document}' >/root/env.json")
    one.succeed("tepui app create /root/env.json --timeout 60s")
    one.wait_until_succeeds("tepui app logs /env | grep 'odd two$'", timeout=30)
    one.succeed("tepui app delete /env")
    retry(lambda _: len(units()) == 3, 30)

with subtest("a command that cannot be executed says why"):
    status, output = one.execute("tepui run --name nothing --command /no/such/file 2>&1")
    t.assertEqual(status, 127)
    never = '"id": "/never", "cpus": 0.1, "mem": 32, "backoffSeconds": 3600'
    for more, why in (
        ('"cmd": "true", "user": "nobody-here"', "Failed to make the sandbox: user 'nobody-here' does not exist"),
        ('"args": ["true", "x" * 140000]', "failed to execute 'true': one argument or variable has 140000 bytes"),
    ):
        one.succeed(f"python3 -c 'import json; print(json.dumps({{{never}, {more}}}))' >/root/never.json")
        one.succeed("tepui app create -d /root/never.json")
        one.wait_until_succeeds(
            f"""curl -sf 'http://one:8080/v2/apps/never?embed=app.lastTaskFailure' | grep -F "{why}" """, timeout=60
        )
        one.succeed("tepui app delete --force /never")

with subtest("a restart of D-Bus and a re-execution of systemd change no unit"):
    one.succeed("systemctl daemon-reexec")
    one.succeed("systemctl restart dbus.service")
    t.assertEqual({unit: identity(unit) for unit in units()}, before)
    one.wait_until_succeeds("tepui app scale /shop/cart 4 --timeout 60s", timeout=120)
    t.assertEqual(len(units()), 4)

with subtest("tasks that start while D-Bus restarts are neither lost nor left over, and held to their ports"):
    tries = "import socket\ntry: print('errno', socket.socket().bind(('', 8081)) or 0)\n"
    tries += "except OSError as error: print('errno', error.errno)\n"
    one.succeed(f"cat >/root/try.py <<'END'\n{tries}END\n")
    many = {"id": "/many", "cmd": "python3 /root/try.py; exec sleep 1000", "cpus": 0.02, "mem": 8,
            "instances": 25, "backoffSeconds": 0, "maxLaunchDelaySeconds": 0}  # fmt: skip
    one.succeed(f"echo '{json.dumps(many)}' >/root/many.json", "tepui app create -d /root/many.json")
    restart = "systemctl reset-failed dbus.service; systemctl restart dbus.service"
    one.succeed(f"for i in $(seq 8); do {restart} || exit 1; done")
    one.wait_until_succeeds("tepui app list | grep -w /many | grep 25/25", timeout=120)
    retry(lambda _: len(units()) == 4 + 25, 30)
    one.wait_until_succeeds("test $(journalctl TEPUI_APP=/many -o cat | grep -c '^errno') -ge 25", timeout=60)
    t.assertEqual(set(one.succeed("journalctl TEPUI_APP=/many -o cat | grep '^errno'").split("\n")), {"errno 1", ""})
    one.succeed("tepui app delete /many --timeout 60s")
    retry(lambda _: len(units()) == 4, 30)

with subtest("what an app calls itself is no setting of its unit"):
    app = "/x\n[Service]\nExecStopPost=/bin/touch /run/by-app\nUser=root"
    definition = {"id": "/liar", "cmd": f"true '{app}'; exec sleep 1000", "cpus": 0.1, "mem": 32, "user": "nobody"}
    definition["env"] = {"MARATHON_APP_ID": app, "MARATHON_APP_VERSION": app}
    one.succeed(f"cat >/root/liar.json <<'END'\n{json.dumps(definition)}\nEND\n")
    one.succeed("tepui app create /root/liar.json --timeout 60s", "systemctl daemon-reload")
    (unit,) = [name for name in units() if name.startswith("tepui-task-liar")]
    t.assertNotIn("by-app", one.succeed(f"systemctl show -P ExecStopPost '{unit}'"))
    one.succeed("tepui app delete /liar --timeout 60s", "test ! -e /run/by-app")
    retry(lambda _: len(units()) == 4, 30)

with subtest("nor are its variables those of what writes down its end, as root"):
    one.succeed("mkdir -m 777 /run/told")
    variables = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": "/run/told/ld", "SEEN": "yes"}
    variables |= {"EXIT_CODE": "exited", "EXIT_STATUS": "0", "SERVICE_RESULT": "oom-kill"}
    ends = {"id": "/ends", "cmd": "echo $SEEN $EXIT_STATUS; exit 7", "cpus": 0.1, "mem": 32, "user": "nobody",
            "env": variables, "backoffSeconds": 3600}  # fmt: skip
    one.succeed(f"echo '{json.dumps(ends)}' >/root/ends.json", "tepui app create -d /root/ends.json")
    last = "curl -sf 'http://one:8080/v2/apps/ends?embed=app.lastTaskFailure'"
    one.wait_until_succeeds(f"{last} | grep -F lastTaskFailure", timeout=60)
    t.assertIn("Command exited with status 7", one.succeed(last))
    one.wait_until_succeeds("journalctl TEPUI_APP=/ends -o cat | grep -x 'yes 0'", timeout=30)
    t.assertNotEqual(one.succeed("ls /run/told"), "")
    t.assertEqual(one.succeed("find /run/told -user root -name 'ld*'"), "")
    one.succeed("tepui app delete --force /ends")
    status, output = one.execute("tepui run --name tidy --command 'rm -rf $MESOS_SANDBOX; exit 7' 2>&1 </dev/null")
    t.assertIn("exited with status 7", output)

with subtest("what ended leaves no unit behind"):
    one.succeed("tepui app scale /shop/cart 0 --timeout 60s")
    retry(lambda _: units() == [], 30)
