import json
import shlex

AGENT = "tepui-agentd.service"
# What a process may do and where it is, in the words of the kernel.
TELL = (
    "id; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status;"
    " for n in ipc mnt net pid uts user cgroup; do readlink /proc/self/ns/$n; done;"
    " cat /proc/self/cgroup; ls /proc/self/fd | tr '\\n' ' '; ls /run/dbus /sys/fs/cgroup 2>&1 | head -3"
)
CONFINED = {
    "TEPUI_SHIELD": "true", "TEPUI_SECCOMP": "strict", "TEPUI_NO_NEW_PRIVILEGES": "true",
    "TEPUI_PRIVATE_IPC": "true",
}  # fmt: skip
APPS = {
    "confined": {"labels": CONFINED, "user": "nobody"},
    "root": {"labels": {"TEPUI_PRIVATE_IPC": "true", "TEPUI_SECCOMP": "default"}, "user": "root"},
    "free": {"labels": {}, "user": "nobody"},
}


def sandbox(name):
    task = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{name}/tasks"))["tasks"][0]["id"]
    place = f"/var/lib/tepui/agent/slaves/*/frameworks/*/executors/{task}/runs/latest"
    return one.succeed(f"echo {place}").strip()


def unbound(text):
    return "\n".join(line for line in text.splitlines() if not line.startswith("CapBnd"))


def alike(name):
    """The task, its check and a session tell the same of themselves."""
    place = sandbox(name)
    own = one.succeed(f"cat {place}/own")
    if not APPS[name]["labels"]:
        # Nobody has bound it, so it is only the agent's own bounds that what is beside it has.
        own = unbound(own)
    print(own)
    one.succeed(f"rm -f {place}/checked")
    one.wait_until_succeeds(f"test -s {place}/checked", timeout=60)
    both = (one.succeed(f"cat {place}/checked"), one.succeed(f"tepui exec {name} -- sh tell"))
    for told in both:
        t.assertEqual(told if APPS[name]["labels"] else unbound(told), own)
    return own


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
for name, rights in APPS.items():
    app = {
        "id": f"/{name}", "cpus": 0.1, "mem": 32, **rights, "env": {"TELL": TELL},
        "cmd": 'echo "$TELL" >tell; sh tell </dev/null >told 2>&1; mv told own; exec sleep 86400',
        "healthChecks": [{
            "protocol": "COMMAND", "gracePeriodSeconds": 300, "intervalSeconds": 1, "timeoutSeconds": 20,
            "maxConsecutiveFailures": 3,
            "command": {"value": "test -e own && sh tell </dev/null >telling 2>&1 && mv telling checked"},
        }],
    }  # fmt: skip
    text = shlex.quote(json.dumps(app))
    one.succeed(f"printf %s {text} >/root/app.json", "tepui app create /root/app.json --timeout 120s")

for name in APPS:
    with subtest(f"what is beside {name} is as it is"):
        told = alike(name)
        if name == "confined":
            for line in ("uid=65534", "NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t"):
                t.assertIn(line, told)

with subtest("a terminal is had beside a confined task too"):
    for words in ("-t", "-it", ""):
        t.assertIn("/dev/pts/", one.succeed(f"script -qec 'tepui exec {words} confined -- tty' /dev/null"))
    t.assertIn("not a tty", one.succeed("script -qec 'tepui exec confined -- tty | cat' /dev/null"))

with subtest("a check ends with its confined task, and is no reason to wait for it"):
    one.succeed("tepui exec confined -- sh -c 'sleep 100055 & echo $!'")
    one.fail("pgrep -f '[s]leep 100055'")

with subtest("a later agent knows as much"):
    one.systemctl("restart tepui-agentd.service")
    one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
    for name in APPS:
        alike(name)
