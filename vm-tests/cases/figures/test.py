import json
import re

# The task: does on request what is to be measured, and nothing in between.
TASK = r"""
import http.server, os, socket, subprocess, time

# Threads that all end with their process: it ends once.
MANY = '''
import os, threading, time
for _ in range(24): threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
os._exit(1)
'''

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        what, amount = self.path.strip("/").split("/")
        getattr(self, what)(int(amount))
        self.send_response(200)
        self.end_headers()
    def burn(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(1000))
    def nap(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.0002)
    def udp(self, count):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(count):
            one.sendto(bytes(1000), ("one", 9))
    def fail(self, count):
        for _ in range(count):
            subprocess.run(["python3", "-c", MANY])
    def tcp(self, size):
        one = socket.create_connection(("one", 7777))
        while size:
            size -= len(one.recv(min(size, 65536)))
        one.close()
    def log_message(self, *_):
        pass

http.server.HTTPServer(("", int(os.environ["PORT0"])), Answers).serve_forever(100_000)
"""

# Gives whoever comes a counted number of bytes.
SENDER = r'''
import socket
listener = socket.create_server(("", 7777))
while True:
    peer, _ = listener.accept()
    try:
        peer.sendall(bytes(20_000_000))
    except OSError:
        pass
    peer.close()
'''


def start(name, host):
    definition = {
        "id": f"/{name}",
        "args": ["python3", "-c", TASK],
        "cpus": 0.5,
        "mem": 64,
        "portDefinitions": [{"port": 0}],
        "constraints": [["hostname", "LIKE", host.name]],
    }
    document = json.dumps(definition).replace("'", "'\\''")
    one.succeed(f"echo '{document}' >/root/{name}.json")
    one.succeed(f"tepui app create -d /root/{name}.json")
    found = []

    def runs(_):
        tasks = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{name}/tasks"))["tasks"]
        found[:] = [one for one in tasks if one["state"] == "TASK_RUNNING"]
        return len(found) == 1

    retry(runs, 90)
    port = found[0]["ports"][0]
    host.wait_for_open_port(port, addr=host.name, timeout=60)
    return port


def have(host, port, what):
    one.succeed(f"curl -sf --max-time 120 http://{host.name}:{port}/{what}")


def metric(host, name, **labels):
    """The value of the one series with these labels."""
    found = []
    for line in one.succeed(f"curl -sf http://{host.name}:5051/metrics").splitlines():
        parts = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
        if parts and parts[1] == name:
            if all(f'{key}="{value}"' in parts[2] for key, value in labels.items()):
                found.append(float(parts[3]))
    t.assertEqual(len(found), 1, f"{name} {labels}: {found}")
    return found[0]


def used_by_file(host):
    unit = host.succeed("systemctl list-units --plain --no-legend 'tepui-task-*' | awk '{print $1}'")
    group = host.get_unit_property(unit.strip(), "ControlGroup")
    text = host.succeed(f"cat '/sys/fs/cgroup{group}/cpu.stat'")
    return int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6


def used(host):
    """Processor time as counted and by file, of a moment in which nothing was used."""
    found = []

    def look(_):
        before = used_by_file(host)
        found[:] = [metric(host, "tepui_task_cpu_counted_seconds_total"), before]
        return used_by_file(host) == before

    retry(look, 60)
    return found


def statistics(host):
    answer = json.loads(one.succeed(f"curl -sf http://{host.name}:5051/monitor/statistics"))
    return answer[0]["statistics"]


def sources(host):
    page = json.loads(one.succeed(f"curl -sf http://{host.name}:5051/tepui/v1/kernel"))
    return {one["figure"]: one["source"] for one in page["figures"]}


start_all()
one.wait_for_unit("tepui-control-plane.service")
for host in (two, three):
    host.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("test $(tepui agent list | grep -cw 'two\\|three') = 2", timeout=90)
one.succeed(f"cat >/root/sender.py <<'END'\n{SENDER}\nEND")
one.succeed("python3 /root/sender.py >/dev/null 2>&1 </dev/null &")
one.wait_for_open_port(7777, timeout=30)
PORT = start("counted", two)

for what in ("burn", "nap"):
    with subtest(f"processor time is counted within a thousandth of cpu.stat: {what}"):
        before = used(two)
        have(two, PORT, f"{what}/4")
        counted, file = (now - then for now, then in zip(used(two), before))
        one.log(f"{what}: {counted:.6f} s counted, {file:.6f} s in cpu.stat: {counted / file - 1:+.4%}")
        t.assertGreater(file, 0.1)
        t.assertLess(abs(counted / file - 1), 0.001)

with subtest("bytes are exact"):
    labels = {"direction": "sent", "proto": "udp"}
    before = metric(two, "tepui_task_network_bytes_total", **labels)
    packets = metric(two, "tepui_task_network_packets_total", **labels)
    have(two, PORT, "udp/1000")
    # A header of 20 bytes for IP and of 8 for UDP; names are looked up in a file.
    t.assertEqual(metric(two, "tepui_task_network_packets_total", **labels) - packets, 1000)
    t.assertEqual(metric(two, "tepui_task_network_bytes_total", **labels) - before, 1000 * 1028)
    labels = {"direction": "received", "proto": "tcp"}
    # What a busy sender sends twice is received twice, and counts.
    for _ in range(5):
        sent_again = one.succeed("awk '/^Tcp: [0-9]/ {print $13}' /proc/net/snmp")
        before = metric(two, "tepui_task_network_bytes_total", **labels)
        packets = metric(two, "tepui_task_network_packets_total", **labels)
        have(two, PORT, "tcp/20000000")
        packets = metric(two, "tepui_task_network_packets_total", **labels) - packets
        headers = metric(two, "tepui_task_network_bytes_total", **labels) - before - 20_000_000
        if one.succeed("awk '/^Tcp: [0-9]/ {print $13}' /proc/net/snmp") == sent_again:
            break
    # The request itself came over TCP too, in one packet of some 90 bytes.
    one.log(f"{packets:.0f} packets with {headers:.0f} bytes of headers")
    t.assertGreaterEqual(headers, 52 * packets)
    t.assertLessEqual(headers, 60 * packets + 200)

with subtest("ends of processes are counted, by how they ended, each once"):
    before = metric(two, "tepui_task_process_ends_total", how="failure")
    have(two, PORT, "fail/5")
    t.assertEqual(metric(two, "tepui_task_process_ends_total", how="failure") - before, 5)

with subtest("the statistics have what Mesos's have"):
    seen = statistics(two)
    for name in (
        "cpus_user_time_secs", "cpus_system_time_secs", "cpus_limit", "processes", "threads",
        "mem_rss_bytes", "mem_limit_bytes", "net_rx_bytes", "net_rx_packets", "net_rx_errors",
        "net_rx_dropped", "net_tx_bytes", "net_tx_packets", "net_tcp_rtt_microsecs_p50",
        "net_tcp_rtt_microsecs_p99", "net_tcp_active_connections", "blkio_statistics",
    ):  # fmt: skip
        t.assertIn(name, seen)
    t.assertGreater(seen["net_rx_bytes"], 20_000_000)
    containers = json.loads(
        one.succeed(
            "curl -sf -H 'Content-Type: application/json' -d '{\"type\":\"GET_CONTAINERS\"}'"
            " http://two:5051/api/v1"
        )
    )
    (container,) = containers["get_containers"]["containers"]
    t.assertGreater(container["resource_statistics"]["net_rx_bytes"], 20_000_000)

with subtest("the programs' own cost is published"):
    runs = metric(two, "tepui_ebpf_program_runs_total", program="tepui_switch")
    seconds = metric(two, "tepui_ebpf_program_run_seconds_total", program="tepui_switch")
    one.log(f"tepui_switch: {runs:.0f} runs, {seconds / runs * 1e9:.0f} ns each")
    t.assertGreater(runs, 1000)

with subtest("counters survive the agent"):
    received = statistics(two)["net_rx_bytes"]
    two.succeed("systemctl restart tepui-agentd.service")
    one.wait_until_succeeds("curl -sf http://two:5051/monitor/statistics | grep net_rx", timeout=60)
    t.assertGreaterEqual(statistics(two)["net_rx_bytes"], received)

with subtest("without programs files tell, and the agent says so"):
    port = start("plain", three)
    have(three, port, "burn/2")
    seen = statistics(three)
    t.assertGreater(seen["cpus_user_time_secs"] + seen["cpus_system_time_secs"], 0.5)
    for name in ("processes", "threads", "mem_rss_bytes"):
        t.assertGreater(seen[name], 0)
    # No file tells of the host's network; nftables does, to the byte.
    have(three, port, "udp/1000")
    name = "tepui_task_network_bytes_total"
    t.assertEqual(metric(three, name, direction="sent", proto="udp"), 1000 * (1000 + 28))
    have(three, port, "tcp/20000000")
    t.assertGreater(metric(three, name, direction="received", proto="tcp"), 20_000_000)
    t.assertTrue(sources(three)["network"].startswith("nftables; "))
    t.assertEqual(set(sources(two)), set(sources(three)))
    t.assertNotIn("eBPF", sources(three).values())
    t.assertEqual(sources(three)["cpu time"], "cpu.stat")
    t.assertEqual(sources(two)["cpu time"], "eBPF")
    three.succeed("journalctl -u tepui-agentd.service | grep 'where figures about tasks come from'")
    t.assertIn("port_enforcement:none", one.succeed("tepui agent list"))
