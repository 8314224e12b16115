import json
import shlex

AGENT = "tepui-agentd.service"
SANDBOX = "/var/lib/tepui/agent/slaves/*/frameworks/*/executors/{}/runs/latest"


def write(app):
    text = shlex.quote(json.dumps({"cpus": 0.1, "mem": 64, **app}))
    one.succeed(f"printf %s {text} >/root/app.json")


def put(app):
    write(app)
    one.succeed("tepui app create /root/app.json --timeout 60s")


def delete(app):
    one.succeed(f"tepui app delete {app} --timeout 60s")


def sandbox(app):
    task = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps{app}/tasks"))["tasks"][0]["id"]
    return one.succeed(f"echo {SANDBOX.format(task)}").strip()


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
agent = one.get_unit_property(AGENT, "MainPID")

with subtest("F-77: processes that do not want to end are gone with their app"):
    ways = {
        "deaf": "trap '' TERM INT HUP; while :; do sleep 111; done",
        "daemon": "setsid sh -c 'trap \"\" TERM; setsid sleep 112 & sleep 112' & sleep 112",
        "stopped": "sleep 113 & kill -STOP $!; kill -STOP $$; sleep 113",
        "zombies": "python3 -c 'import os, time\nfor _ in range(200):\n  os.fork() or os._exit(0)\ntime.sleep(114)'",
    }
    for name, command in ways.items():
        put({"id": f"/{name}", "cmd": command})
    for name in ways:
        delete(f"/{name}")
    one.wait_until_fails("pgrep -f '[s]leep 11[1-4]|[t]ime.sleep.114'", timeout=60)

with subtest("F-69: a log that is a symlink or a device writes to nothing but itself"):
    one.succeed("echo untouched >/root/target && chmod 666 /root/target")
    swap = "for f in stdout stderr stdout.1 stderr.1; do rm -f $f; ln -s /root/target $f; done"
    flood = "head -c 9000000 /dev/zero | tr '\\0' x"
    put({"id": "/swap", "cmd": f"{swap}; {flood}; {flood} >&2; {swap}; echo end; touch finished; sleep 1000"})
    one.wait_until_succeeds(f"test -e {sandbox('/swap')}/finished", timeout=60)
    t.assertEqual(one.succeed("cat /root/target"), "untouched\n")

with subtest("F-69: the files of the host are not to be read through a sandbox"):
    place = sandbox("/swap")
    one.succeed(f"ln -sfn /etc {place}/etc; ln -sf /etc/shadow {place}/shadow")
    for path in ("shadow", "etc/shadow", "../../../../../../../../../etc/shadow", "stdout"):
        url = f"http://one:5051/files/download?path={place}/{path}"
        status = one.succeed(f"curl -s --path-as-is -o /root/answer -w '%{{http_code}}' '{url}'")
        t.assertIn(status, ("400", "403", "404"), path)
    delete("/swap")

with subtest("F-69: what a sandbox points to is not removed with it"):
    one.succeed("mkdir -p /root/precious && touch /root/precious/file")
    put({"id": "/link", "cmd": "ln -s /root/precious here; mkdir -p a/b; ln -s /root/precious a/b/c; sleep 1000"})
    place = sandbox("/link")
    delete("/link")
    one.wait_until_fails(f"test -e {place}", timeout=60)
    one.succeed("test -e /root/precious/file")

with subtest("F-78: a health check that floods, hangs or never answers harms nobody but its task"):
    check = {"protocol": "COMMAND", "command": {"value": "cat /dev/zero & yes >&2"},
             "gracePeriodSeconds": 0, "delaySeconds": 0, "intervalSeconds": 1, "timeoutSeconds": 1,
             "maxConsecutiveFailures": 2}
    put({"id": "/well", "cmd": "sleep 1000"})
    write({"id": "/ill", "cmd": "sleep 1000", "healthChecks": [check]})
    one.execute("tepui app create --detach /root/app.json")
    retry(lambda _: "lastTaskFailure" in one.succeed("curl -sf http://one:8080/v2/apps/ill"), 60)
    one.succeed("tepui app list | grep -w /well | grep 1/1")
    one.succeed("tepui app delete /ill --force")

with subtest("the agent went through all of it without a restart"):
    t.assertEqual(one.get_unit_property(AGENT, "MainPID"), agent)
    one.fail(f"journalctl -p err -u {AGENT} | grep tepui-agentd")
