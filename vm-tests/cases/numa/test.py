import json
import shlex

AGENT, NODES = "/etc/tepui/agentd.toml", "/opt/nodes"
# Test hosts have one processor, so both nodes show it: what is proven is the way from the plugin's word
# to the kernel, not which node it chose (tests of the plugin do that).
SETTINGS = f'[plugins.numa.settings]\nstrict = true\nsysfs = "{NODES}"\n'


def run_app(name, seconds):
    """The control group of an app's only task, when it runs; none sleeps as long as another."""
    app = {"id": f"/{name}", "cmd": f"exec sleep {seconds}", "cpus": 0.1, "mem": 16}
    one.succeed(f"echo '{json.dumps(app)}' >/run/app.json", "tepui app create /run/app.json")
    group = one.wait_until_succeeds(f"grep ^0:: /proc/$(pgrep -xf 'sleep {seconds}')/cgroup", timeout=60)
    return "/sys/fs/cgroup" + group.strip().removeprefix("0::")


def processors(group):
    """Those that the kernel holds it to; none where nobody asked for the controller."""
    file = shlex.quote(f"{group}/cpuset.cpus")
    return one.succeed(f"[ ! -e {file} ] || cat {file}").strip()


def numa():
    status, text = one.execute("curl -sf http://one:5051/tepui/v1/plugins")
    plugins = json.loads(text)["plugins"] if status == 0 else []
    return next((plugin for plugin in plugins if plugin["name"] == "numa"), {})


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("without the plugin a task may run everywhere"):
    before = run_app("before", 90001)
    t.assertEqual(processors(before), "")

with subtest("with it, a task has the processors of a node"):
    first = one.succeed(f"cat {AGENT}")
    one.succeed(
        f"mkdir -p {NODES}/node0 {NODES}/node1",
        f"echo 0 | tee {NODES}/node0/cpulist >{NODES}/node1/cpulist",
        f"rm {AGENT}; cat >{AGENT} <<'EOT'\nisolation = \"auto,numa\"\n{first}\n{SETTINGS}EOT",
        "systemctl restart --no-block tepui-agentd.service",
    )
    retry(lambda _: numa().get("state") == "in_use", 90)
    pinned = run_app("pinned", 90002)
    t.assertEqual(processors(pinned), "0")
    t.assertEqual(processors(before), "", "who ran before is left alone")

with subtest("the agent's death changes nothing of it"):
    one.succeed("systemctl kill --kill-who=main --signal=KILL tepui-agentd.service")
    retry(lambda _: numa().get("state") == "in_use", 90)
    t.assertEqual(processors(pinned), "0")
    t.assertEqual(processors(run_app("later", 90003)), "0")
    metrics = one.succeed("curl -sf http://one:5051/metrics")
    t.assertIn('tepui_plugin_healthy{kind="isolator",plugin="numa"} 1', metrics)
