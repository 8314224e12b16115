import json
import re

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

# Talks to itself on the host's network.
TALKS = r"""
import os, socket, time

port = int(os.environ["PORT0"])
listener = socket.create_server(("", port))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("", port))
while True:
    client = socket.create_connection(("127.0.0.1", port))
    peer, _ = listener.accept()
    client.sendall(bytes(10_000))
    peer.recv(10_000, socket.MSG_WAITALL)
    datagrams.sendto(bytes(1000), ("127.0.0.1", port))
    datagrams.recv(2000)
    time.sleep(0.1)
    client.close()
    peer.close()
"""


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


def figures():
    """What the agent tells of the app that talks, once it has talked for a while; its metrics of the network."""
    found = {}

    def has_talked(_):
        one_of = [each for each in ask("5051/monitor/statistics") if each["source"].startswith("talks")]
        found.update(one_of[0]["statistics"] if one_of else {})
        return found.get("net_tx_bytes", 0) > 100_000 and "net_tcp_rtt_microsecs_p50" in found

    retry(has_talked, 60)
    lines = one.succeed("curl -sf http://one:5051/metrics | grep '^tepui_task_network'").splitlines()
    kinds = {(line.split("{")[0], *re.findall(r'(?:by|direction|proto|state)="\w+"', line)) for line in lines}
    return found, kinds


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
    create("talks", args=["python3", "-c", TALKS], portDefinitions=[{"port": 0}])
    counted, metrics = figures()
    one.succeed("tepui app delete talks --timeout 60s")

with subtest("without it says so, goes on, and tells figures from files"):
    one.succeed(f"mkdir -p $(dirname {DROP_IN})", f"printf '{WITHOUT}' >{DROP_IN}", "systemctl daemon-reload")
    t.assertEqual(start(), "none")
    kernel = ask("5051/tepui/v1/kernel")
    t.assertEqual(kernel["port_enforcement"]["by"], "none")
    t.assertIn("tepui_agent_port_enforcement 0", one.succeed("curl -sf http://one:5051/metrics"))
    one.succeed("tepui run --name probe --command true </dev/null")
    sources = {each["figure"]: each["source"] for each in kernel["figures"]}
    print("\n".join(f"{figure}: {source}" for figure, source in sources.items()))
    t.assertRegex(sources["network"], "^nftables; ")

with subtest("and those files and nftables tell are the same as those that programs count"):
    create("talks", args=["python3", "-c", TALKS], portDefinitions=[{"port": 0}])
    told, told_metrics = figures()
    # What a queue throws away on the way out, nothing tells of single tasks; block i/o has its files
    # where the host has the controller (a container has none).
    has_io = "io" in one.succeed("cat /sys/fs/cgroup/cgroup.controllers").split()
    t.assertEqual(set(counted) - set(told), {"net_tx_dropped"} | (set() if has_io else {"blkio_statistics"}))
    t.assertGreater(told["net_rx_bytes"], 100_000)
    t.assertEqual(metrics - told_metrics, {("tepui_task_network_drops_total", 'direction="sent"')})

with subtest("what somebody flushes is counted again, and nothing that was counted is lost"):
    one.succeed("nft flush ruleset")
    before = told["net_tx_bytes"]

    def counts_again(_):
        now = figures()[0]["net_tx_bytes"]
        return one.execute("nft list tables | grep tepui-count")[0] == 0 and now > before

    retry(counts_again, 60)

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
    one.fail("nft list tables | grep tepui-count")
    retry(lambda _: ask("8080/v2/apps/enforced")["app"]["tasksRunning"] == 1, 60)
