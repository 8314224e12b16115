import json

CONTROL_PLANE, AGENT = "/etc/tepui/control-plane.toml", "/etc/tepui/agentd.toml"
SETTINGS = {
    "dominant": 'allocator = "dominant"\n',
    "misbehaves": 'allocator = "misbehaves"\n',
    "drf": "",
}
BROKEN = '[plugins.misbehaves]\nbudget_ms = 300\nsettings.how = "{how}"\n'


def plugins(port=5050):
    answer = json.loads(one.succeed(f"curl -sf http://one:{port}/tepui/v1/plugins"))
    return {plugin["name"]: plugin for plugin in answer["plugins"]}


def wait_for_state(name, state):
    retry(lambda _: plugins().get(name, {}).get("state") == state, 60)


def configure(allocator, more=""):
    """Another allocator in the file, and word to the daemon."""
    text = SETTINGS[allocator] + one.succeed(f"cat {CONTROL_PLANE}.first") + more
    one.succeed(f"rm {CONTROL_PLANE}; cat >{CONTROL_PLANE} <<'EOT'\n{text}\nEOT")
    one.succeed("systemctl kill --kill-who=main --signal=HUP tepui-control-plane.service")


def run_app(name):
    app = {"id": f"/{name}", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16, "instances": 2}
    one.succeed(f"echo '{json.dumps(app)}' >/root/app.json", "tepui app create /root/app.json")


def ids():
    answer = json.loads(one.succeed("curl -sf http://one:8080/v2/tasks -H 'Accept: application/json'"))
    return {task["id"] for task in answer["tasks"] if task["state"] == "TASK_RUNNING"}


def main_pid():
    return one.get_unit_property("tepui-control-plane.service", "MainPID")


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.succeed(
    f"cp {CONTROL_PLANE} {CONTROL_PLANE}.first",
    "install -d -m 0755 /opt/plugins",
    "install -m 0644 /payload/bin/plugins/*.so /opt/plugins/",
)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
run_app("before")
before, process = ids(), main_pid()

with subtest("a plugin becomes the allocator while tasks run"):
    configure("dominant")
    wait_for_state("dominant", "in_use")
    t.assertEqual(plugins()["drf"]["state"], "stands_by")
    run_app("during")
    t.assertIn("tepui_plugin_call_seconds_count", one.succeed("curl -sf http://one:5050/metrics"))

for how, why in (("panics", "round panicked"), ("hangs", "round took longer than its 300 ms")):
    with subtest(f"one that {how} is contained in the round in which it does"):
        configure("misbehaves", BROKEN.format(how=how))
        wait_for_state("misbehaves", "in_use")
        # Somebody wants offers now, so that there is a round.
        run_app(how)
        retry(lambda _: plugins()["misbehaves"].get("reason", "").startswith(why), 60)
        t.assertEqual(plugins()["misbehaves"]["instead"], "drf")
        one.succeed("tepui plugin list | grep -w misbehaves | grep 'failed, drf instead'")
        metrics = one.succeed("curl -sf http://one:5050/metrics")
        t.assertIn('tepui_plugin_healthy{kind="allocator",plugin="misbehaves"} 0', metrics)
        one.succeed("journalctl -u tepui-control-plane | grep 'plugin failed and is out of use'")

with subtest("one that somebody else can change is refused, and whoever decided goes on"):
    configure("dominant")
    wait_for_state("dominant", "in_use")
    one.succeed("chmod 0666 /opt/plugins/misbehaves.so")
    configure("misbehaves", BROKEN.format(how="behaves"))
    wait_for_state("misbehaves", "refused")
    t.assertIn("mode 0666", plugins()["misbehaves"]["reason"])
    t.assertEqual(plugins()["dominant"]["state"], "in_use")

with subtest("the built-in allocator comes back, and no task was lost, nor the process"):
    configure("drf")
    wait_for_state("drf", "in_use")
    # Nobody asks for it any more, so nobody is alarmed.
    wait_for_state("misbehaves", "retired")
    run_app("after")
    t.assertTrue(before <= ids())
    t.assertEqual(main_pid(), process)

with subtest("an agent has the isolator that it is told to have, or says why not"):
    first = one.succeed(f"cat {AGENT}")
    one.succeed(f"rm {AGENT}; cat >{AGENT} <<'EOT'\nisolation = \"auto,numa\"\n{first}\nEOT")
    one.succeed("systemctl restart --no-block tepui-agentd.service")
    cpuset = "cpuset" in one.succeed("cat /sys/fs/cgroup/cgroup.controllers").split()
    if cpuset:
        retry(lambda _: plugins(5051).get("numa", {}).get("state") == "in_use", 60)
    else:
        one.wait_until_succeeds(
            "journalctl -u tepui-agentd | grep \"'numa', which this host cannot do: .*cpuset\"",
            timeout=60,
        )
    t.assertTrue(before <= ids())
