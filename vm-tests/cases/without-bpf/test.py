import json

AGENT = "tepui-agentd.service"
DROP_IN = "/run/systemd/system/tepui-agentd.service.d/without-bpf.conf"
# What a kernel under lockdown, or one that was built without it, answers.
WITHOUT = "[Service]\nSystemCallFilter=~bpf\nSystemCallErrorNumber=EPERM\n"
MAKER = {
    "type": "DOCKER",
    "docker": {
        "image": "oci:/root/no-such-layout",
        "network": "HOST",
        "parameters": [{"key": "cap-add", "value": "MKNOD"}],
    },
}


def ask(path):
    return json.loads(one.succeed(f"curl -sf 'http://one:{path}'"))


def create(name, **more):
    app = {"id": f"/{name}", "cpus": 0.1, "mem": 16, "backoffSeconds": 3600, **more}
    document = json.dumps(app).replace("'", "'\\''")
    one.succeed(f"echo '{document}' >/root/app.json", "tepui app create -d /root/app.json")


def failure(name):
    path = f"8080/v2/apps/{name}?embed=app.lastTaskFailure"
    retry(lambda _: "lastTaskFailure" in ask(path)["app"], 60)
    return ask(path)["app"]["lastTaskFailure"]["message"]


def start():
    one.succeed(f"systemctl reset-failed {AGENT} || true", f"systemctl restart {AGENT}")

    def back(_):
        agents = ask("5050/slaves")["slaves"]
        return len(agents) == 1 and agents[0]["active"] and one.execute("curl -sf http://one:5051/health")[0] == 0

    retry(back, 60)
    return ask("5050/slaves")["slaves"][0]["attributes"]["port_enforcement"]


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("with BPF the agent enforces ports, and a container may have MKNOD"):
    t.assertEqual(start(), "kernel")
    create("enforced", cmd="exec sleep 1111", constraints=[["port_enforcement", "LIKE", "kernel"]])
    retry(lambda _: ask("8080/v2/apps/enforced")["app"]["tasksRunning"] == 1, 60)
    create("maker", cmd="true", container=MAKER)
    t.assertIn("Failed to provide image", failure("maker"))
    one.succeed("tepui app delete --force maker", "tepui app delete enforced --timeout 60s")

with subtest("without it says so, goes on, and tells figures from files"):
    one.succeed(f"mkdir -p $(dirname {DROP_IN})", f"printf '{WITHOUT}' >{DROP_IN}", "systemctl daemon-reload")
    t.assertEqual(start(), "none")
    kernel = ask("5051/tepui/v1/kernel")
    t.assertEqual(kernel["port_enforcement"]["by"], "none")
    t.assertIn("tepui_agent_port_enforcement 0", one.succeed("curl -sf http://one:5051/metrics"))
    one.succeed("tepui run --name probe --command true </dev/null")

with subtest("what needs it waits for another host, or is refused with the reason"):
    create("enforced", cmd="exec sleep 2222", constraints=[["port_enforcement", "LIKE", "kernel"]])
    create("free", cmd="exec sleep 3333")
    retry(lambda _: ask("8080/v2/apps/free")["app"]["tasksRunning"] == 1, 60)
    t.assertEqual(ask("8080/v2/apps/enforced")["app"]["tasksRunning"], 0)
    create("maker", cmd="true", container=MAKER)
    t.assertIn("the capability MKNOD, and this host cannot hold it to its devices", failure("maker"))

with subtest("an operator who insists on enforcement gets no agent without it"):
    one.succeed(f"systemctl stop {AGENT}", "echo 'port_enforcement = \"deny\"' >>/etc/tepui/agentd.toml")
    one.execute(f"systemctl start --no-block {AGENT}")
    reason = "port_enforcement is asked for, which this host cannot do"
    one.wait_until_succeeds(f"journalctl -u {AGENT} | grep '{reason}'", timeout=60)
    one.fail("curl -sf http://one:5051/health")

with subtest("and with it again, all is as before"):
    one.succeed(f"rm {DROP_IN}", "systemctl daemon-reload")
    t.assertEqual(start(), "kernel")
    retry(lambda _: ask("8080/v2/apps/enforced")["app"]["tasksRunning"] == 1, 60)
