import json
import shlex

NET_BIND_SERVICE = 1 << 10
CHOWN = 1
SECRET = "no property shows this"
# Stands for that many bytes, nearly the longest that the kernel takes, and twice as many for systemd.
LONG, BYTES = "@LONG@", 120_000
GRACE = 5  # longer than what a task has that names none
# Says what it has, then hears SIGTERM and stays.
STUBBORN = (
    "import signal, time; signal.signal(15, lambda *_: print('heard', flush=True));"
    " print('waits', flush=True); [time.sleep(1000) for _ in iter(int, 1)]"
)


def call(kind, **parts):
    """The agent's answer to a call: the status and the text."""
    document = shlex.quote(json.dumps({"type": kind, kind.lower(): parts}))
    headers = "-H 'Content-Type: application/json' -H 'Accept: application/json'"
    address = "http://one:5051/api/v1"
    output = one.succeed(f"printf %s {document} | curl -s {headers} -w '\\n%{{http_code}}' -d @- {address}")
    text, _, status = output.rpartition("\n")
    return int(status), text


def launch(name, line, **container):
    return call(
        "LAUNCH_CONTAINER",
        container_id={"value": name},
        command={"shell": True, "value": line, "user": "nobody"},
        resources=[{"name": "mem", "type": "SCALAR", "scalar": {"value": 64}}],
        container={"type": "MESOS", **container},
    )


def unit_of(name):
    return one.succeed(f"systemctl list-units --plain --no-legend 'tepui-task-*{name}*' | cut -d' ' -f1").strip()


def create(name, **more):
    app = {"id": f"/{name}", "cpus": 0.1, "mem": 32, "backoffSeconds": 3600, **more}
    lengthened = f"""import sys; print(sys.stdin.read().replace("{LONG}", "%" * {BYTES}))"""
    document = f"python3 -c '{lengthened}' >/root/app.json <<'END'\n{json.dumps(app)}\nEND"
    one.succeed(document, "tepui app create -d /root/app.json")


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("resource limits, a secret, and capabilities are the unit's and its process's"):
    value = one.succeed(f"printf %s '{SECRET}' | base64").strip()
    secret = {"type": "SECRET", "secret": {"type": "VALUE", "value": {"data": value}}}
    limits = [
        {"type": "RLMT_NOFILE", "soft": 123, "hard": 456},
        {"type": "RLMT_CORE"},
        {"type": "RLMT_NPROC", "soft": 77, "hard": 77},
    ]
    look = "cp $CREDENTIALS_DIRECTORY/key seen; stat -c %a:%U $CREDENTIALS_DIRECTORY/key >owner; exec sleep 1234"
    answer = launch(
        "fields",
        look,
        rlimit_info={"rlimits": limits},
        volumes=[{"mode": "RO", "container_path": "keys/key", "source": secret}],
    )
    t.assertEqual(answer, (200, ""))
    pid = one.wait_until_succeeds("pgrep -x -f 'sleep 1234'", timeout=60).strip()
    unit = unit_of("fields")
    expected = {
        "LimitNOFILE": "456",
        "LimitNOFILESoft": "123",
        "LimitCORE": "infinity",
        "LimitNPROC": "77",
        "User": "nobody",
        "AmbientCapabilities": "cap_net_bind_service",
        "CapabilityBoundingSet": "cap_chown cap_net_bind_service",
        "KillMode": "control-group",
        "SendSIGKILL": "yes",
    }
    t.assertEqual({name: one.get_unit_property(unit, name) for name in expected}, expected)
    held = one.succeed(f"cat /proc/{pid}/limits")
    t.assertRegex(held, r"(?m)^Max open files +123 +456 ")
    t.assertRegex(held, r"(?m)^Max core file size +unlimited +unlimited ")
    t.assertRegex(held, r"(?m)^Max processes +77 +77 ")
    status = dict(line.split(":\t", 1) for line in one.succeed(f"cat /proc/{pid}/status").splitlines())
    for name, mask in (("CapAmb", NET_BIND_SERVICE), ("CapEff", NET_BIND_SERVICE), ("CapBnd", NET_BIND_SERVICE | CHOWN)):
        t.assertEqual(int(status[name], 16), mask, name)

with subtest("its secret is its user's alone, and no property tells it"):
    sandbox = one.succeed(f"readlink /proc/{pid}/cwd").strip()
    t.assertEqual(one.succeed(f"cat {sandbox}/seen"), SECRET)
    t.assertEqual(one.succeed(f"cat {sandbox}/owner"), "400:nobody\n")
    shown = one.succeed(f"systemctl show '{unit}'; systemctl cat '{unit}'")
    t.assertIn("LoadCredential=key:", shown)
    for text in (SECRET, value):
        t.assertNotIn(text, shown)
    other = "setpriv --reuid=daemon --clear-groups cat"
    one.succeed(f"cat /run/credentials/{unit}/key", f"{other} /etc/hosts")
    one.fail(f"{other} /run/credentials/{unit}/key")

with subtest("what the agent's operator does not allow is no capability of a unit"):
    linux = {"effective_capabilities": {"capabilities": ["SYS_ADMIN"]}}
    status, text = launch("more", "true", linux_info=linux)
    t.assertEqual(status, 400)
    t.assertIn("bounding", text)
    t.assertEqual(call("KILL_CONTAINER", container_id={"value": "fields"}, signal=15)[0], 200)
    one.wait_until_fails(f"systemctl is-active '{unit}'", timeout=60)

with subtest("who does not heed SIGTERM is killed after its own grace, and not before"):
    create("stubborn", args=["python3", "-c", STUBBORN], taskKillGracePeriodSeconds=GRACE)
    lines = "journalctl TEPUI_APP=/stubborn -o cat"
    one.wait_until_succeeds(f"{lines} | grep -x waits", timeout=60)
    unit = unit_of("stubborn")
    t.assertEqual(one.get_unit_property(unit, "TimeoutStopUSec"), f"{GRACE}s")
    one.succeed("tepui app delete /stubborn --timeout 60s")
    one.wait_until_fails(f"systemctl is-active '{unit}'", timeout=60)
    one.wait_until_succeeds(f"{lines} | grep -x heard", timeout=30)
    one.wait_until_succeeds(f"journalctl UNIT='{unit}' | grep -F 'status=9/KILL'", timeout=30)
    # As systemd itself says it, with the moment in which it did: what the task prints comes late.
    told = [json.loads(line) for line in one.succeed(f"journalctl UNIT='{unit}' -o json").splitlines()]
    when = {word: [int(line["_SOURCE_REALTIME_TIMESTAMP"]) for line in told if word in line["MESSAGE"]]
            for word in ("SIGTERM", "status=9/KILL")}  # fmt: skip
    waited = (when["status=9/KILL"][0] - when["SIGTERM"][0]) / 1e6
    t.assertGreater(waited, GRACE - 0.2)  # It counts from when it asks systemd.
    t.assertLess(waited, 2 * GRACE)

with subtest("more variables than systemd reads in a line are all there, and a reload loses nothing of the unit"):
    # systemd reads 1 MiB in a line.
    many = {f"LONG_{number}": LONG for number in range(6)}
    count = "import os, time; print('has', sum(len(v) for k, v in os.environ.items() if k[:5] == 'LONG_'), flush=True)"
    create("large", args=["python3", "-c", f"{count}; time.sleep(1000)"], env=many)
    one.wait_until_succeeds(f"journalctl TEPUI_APP=/large -o cat | grep -x 'has {6 * BYTES}'", timeout=60)
    unit = unit_of("large")
    one.succeed("systemctl daemon-reload")
    for name, part in (("ExecStopPost", "unit-end"), ("Slice", "tepui"), ("SyslogIdentifier", "large")):
        t.assertIn(part, one.get_unit_property(unit, name))
    one.succeed("pkill -x -f 'python3 -c import os, time; .*'")
    last = "curl -sf 'http://one:8080/v2/apps/large?embed=app.lastTaskFailure'"
    one.wait_until_succeeds(f"{last} | grep -F 'terminated with signal Terminated'", timeout=60)
    one.succeed("tepui app delete --force /large")

with subtest("a command that systemd would not read again is refused with the reason"):
    create("wordy", args=["true", *(LONG for _ in range(6))])
    last = "curl -sf 'http://one:8080/v2/apps/wordy?embed=app.lastTaskFailure'"
    one.wait_until_succeeds(f"{last} | grep -F \"failed to execute 'true': systemd\"", timeout=60)
    one.succeed("tepui app delete --force /wordy")
