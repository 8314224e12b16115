import json

HOSTS = {"processes": processes, "units": units}
AGENT = "tepui-agentd.service"
# Small enough for two tasks to fill.
PID_MAX = 1200
BOMB = """bomb = 7777
import os, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(bomb)
    except OSError:
        time.sleep(0.1)
"""
BURN = "for i in $(seq 16); do (while :; do :; done) & done; wait"


def ask(path):
    return json.loads(plane.succeed(f"curl -sf 'http://plane:{path}'"))


def create(name, host, *args, **more):
    app = {
        "id": f"/{name}",
        "args": list(args),
        "cpus": 0.1,
        "mem": 400,
        "constraints": [["hostname", "LIKE", host]],
        "backoffSeconds": 1,
        "taskKillGracePeriodSeconds": 1,
        **more,
    }
    document = json.dumps(app).replace("'", "'\\''")
    plane.succeed(f"echo '{document}' >/root/app.json", "tepui app create -d /root/app.json")


def running(name, number=1):
    plane.wait_until_succeeds(
        f"curl -sf http://plane:8080/v2/apps/{name} | grep '\"tasksRunning\":{number}'", timeout=180
    )


def delete(name):
    plane.succeed(f"tepui app delete --force {name} --timeout 180s")


def count(host):
    """How many processes the bombs have."""
    return int(host.succeed("pgrep -c -f 'bomb = [7]777' || true"))


def full(host, least):
    """Waits until the bombs have so many processes."""

    def look(is_last):
        if is_last:
            print(count(host), host.succeed("grep -rv max /sys/fs/cgroup/tepui.slice --include=pids.max"))
        return count(host) > least

    retry(look, 120)


def registered():
    """How often each agent has registered: one that is lost registers again."""
    agents = ask("5050/slaves")["slaves"]
    t.assertTrue(all(agent["active"] for agent in agents) and len(agents) == 2, agents)
    return {agent["hostname"]: (agent["id"], agent.get("reregistered_time")) for agent in agents}


def idle_share(host, seconds):
    """How much of the processors nobody used for some seconds."""
    look = "head -1 /proc/stat"
    output = host.succeed(f"{look}; timeout {seconds} tail -f /dev/null || {look}")
    before, after = ([int(word) for word in line.split()[1:9]] for line in output.strip().split("\n"))
    spent = [late - early for early, late in zip(before, after)]
    return (spent[3] + spent[4]) / sum(spent)


start_all()
plane.wait_for_unit("tepui-control-plane.service")
for name, host in HOSTS.items():
    host.wait_for_unit(AGENT)
    host.succeed(f"sysctl -w kernel.pid_max={PID_MAX}", f"systemctl restart {AGENT}")
    plane.wait_until_succeeds(f"tepui agent list | grep -w {name}", timeout=60)

for name, host in HOSTS.items():
    with subtest(f"{name}: a task that nobody bounded gets half of the host's processes"):
        create("bomb", name, "python3", "-c", BOMB)
        running("bomb")
        full(host, PID_MAX // 2 - 60)
        t.assertLessEqual(count(host), PID_MAX // 2)

    with subtest(f"{name}: several leave a quarter to the host, and the agent starts and ends tasks"):
        create("second", name, "python3", "-c", BOMB)
        running("second")
        full(host, PID_MAX * 3 // 4 - 60)
        t.assertLessEqual(count(host), PID_MAX * 3 // 4)
        host.succeed("true")
        t.assertEqual(host.get_unit_property(AGENT, "NRestarts"), "0")
        delete("second")
        create("next", name, "sleep", "8888", mem=32)
        running("next")
        delete("next")
        delete("bomb")
        retry(lambda _: count(host) == 0, 120)

for name, host in HOSTS.items():
    with subtest(f"{name}: tasks that burn every processor keep no heartbeat and no task from its time"):
        before = registered()
        create("burn", name, "sh", "-c", BURN, instances=3, mem=32)
        running("burn", 3)
        t.assertLess(idle_share(host, 5), 0.02)
        create("next", name, "sleep", "8888", mem=32)
        running("next")
        # Three times the control plane's patience.
        t.assertLess(idle_share(host, 30), 0.02)
        t.assertEqual(registered(), before)
        t.assertEqual(host.get_unit_property(AGENT, "NRestarts"), "0")
        delete("next")
        delete("burn")
