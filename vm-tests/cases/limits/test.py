import json

MB = 1 << 20
HOSTS = {"units": units, "processes": processes}
EAT = "echo before the end >&2; exec python3 -c 'x = bytearray(100 << 20)'"
READY = (
    "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
    ' s.connect(os.environ["NOTIFY_SOCKET"]); s.send(b"READY=1"); time.sleep(1000)'
)


GET_TASKS = (
    "curl -sf -H 'Content-Type: application/json' -H 'Accept: application/json'"
    """ -d '{"type": "GET_TASKS"}' http://plane:5050/api/v1"""
)


def ask(path):
    return json.loads(plane.succeed(f"curl -sf http://plane:{path}"))


def create(name, host, cmd, **more):
    """Starts an app of one instance on a host; one that fails stays away."""
    app = {
        "id": f"/{name}",
        "cmd": cmd,
        "cpus": 0.5,
        "mem": 64,
        "constraints": [["hostname", "LIKE", host]],
        "backoffSeconds": 3600,
        **more,
    }
    document = json.dumps(app).replace("'", "'\\''")
    plane.succeed(f"echo '{document}' >/root/app.json", "tepui app create -d /root/app.json")


def delete(name):
    plane.succeed(f"tepui app delete --force /{name}")


def failure(name):
    """The message of an app's last failure, and the reason of the state that said so."""
    found = {}

    def look(_):
        app = ask(f"8080/v2/apps/{name}")["app"]
        found.update(app.get("lastTaskFailure", {}))
        return bool(found)

    retry(look, 120)
    known = json.loads(plane.succeed(GET_TASKS))["get_tasks"]
    reasons = {
        status.get("reason")
        for task in known.get("tasks", []) + known.get("completed_tasks", [])
        if task["task_id"]["value"] == found["taskId"]
        for status in task["statuses"]
    }
    t.assertEqual(found["state"], "TASK_FAILED")
    return found["message"], reasons


def main_pid(host, pattern):
    return host.wait_until_succeeds(f"pgrep -n -x -f '{pattern}'", timeout=120).strip()


def group(host, pid):
    line = host.succeed(f"grep ^0:: /proc/{pid}/cgroup").strip()
    return "'/sys/fs/cgroup" + line.removeprefix("0::") + "'"


def share_of(host, place):
    """Processors that a group uses, over some seconds."""
    figures = f"cat {place}/cpu.stat /proc/uptime"
    output = host.succeed(f"{figures}; timeout 5 tail -f /dev/null || {figures}")
    used = [int(line.split()[1]) for line in output.split("\n") if line.startswith("usage_usec")]
    times = [float(line.split()[0]) for line in output.split("\n") if line.count(".") == 2]
    return (used[1] - used[0]) / 1e6 / (times[1] - times[0])


start_all()
plane.wait_for_unit("tepui-control-plane.service")
for name, host in HOSTS.items():
    host.wait_for_unit("tepui-agentd.service")
    plane.wait_until_succeeds(f"tepui agent list | grep -w {name}", timeout=60)

with subtest("hosts with controllers enforce ports too"):
    t.assertEqual(plane.succeed("tepui agent list").count("port_enforcement:kernel"), 2)

for name, host in HOSTS.items():
    with subtest(f"{name}: who needs more memory than it has is killed, and told so"):
        create("eater", name, EAT, mem=40)
        message, reasons = failure("eater")
        t.assertRegex(message, r"^Memory limit exceeded: Requested: 40MB Maximum Used: \d+\w+\n")
        t.assertIn("killed for want of memory", message)
        t.assertIn("before the end", message)
        t.assertIn("REASON_CONTAINER_LIMITATION_MEMORY", reasons)
        t.assertIn("Memory limit exceeded", plane.succeed("tepui app show /eater"))
        delete("eater")

    with subtest(f"{name}: a limit may be beyond what was given"):
        keep = "python3 -c 'x = bytearray(100 << 20); import time; time.sleep(4321)'"
        create("burst", name, f"exec {keep}", mem=32, resourceLimits={"mem": 256})
        pid = main_pid(host, r"python3 -c x = .*time.sleep\(4321\)")
        place = group(host, pid)
        t.assertEqual(int(host.succeed(f"cat {place}/memory.max")), 256 * MB)
        t.assertEqual(int(host.succeed(f"cat {place}/memory.low")), 32 * MB)
        # Nobody said how many processes it may have: not as many as the host can.
        most = min(4096, int(host.succeed("cat /proc/sys/kernel/pid_max")) // 2)
        t.assertEqual(int(host.succeed(f"cat {place}/pids.max")), most)
        host.wait_until_succeeds(f"test $(cat {place}/memory.current) -gt {100 * MB}", timeout=60)
        delete("burst")

    with subtest(f"{name}: a limit of processors holds within 5 %"):
        create("busy", name, "sh -c 'while :; do :; done' & while :; do :; done")
        pid = host.wait_until_succeeds("pgrep -n -f 'while :; do :; don[e]'", timeout=120).strip()
        place = group(host, pid)
        # A host that is itself short of time gives less for a while; never more.
        retry(lambda _: 0.475 < share_of(host, place) < 0.525, 120)
        t.assertLess(share_of(host, place), 0.525)
        delete("busy")

    with subtest(f"{name}: a fork bomb meets its limit, and the agent goes on"):
        create("bomb", name, "while :; do sleep 1000 & done", labels={"TEPUI_PIDS": "64"})
        message, _ = failure("bomb")
        t.assertTrue(message.startswith("Command exited with status 2\n"), message)
        t.assertRegex(message, r"could not start \d+ processes: it had as many as it may")
        t.assertIn("Cannot fork", message)
        t.assertEqual(host.get_unit_property("tepui-agentd.service", "NRestarts"), "0")
        delete("bomb")

    with subtest(f"{name}: a run ends in time, whether or not an agent is there"):
        create("short", name, "exec sleep 1111", labels={"TEPUI_MAX_RUN_SEC": "2"})
        _, reasons = failure("short")
        t.assertIn("REASON_MAX_COMPLETION_TIME_REACHED", reasons)
        delete("short")
        create("alone", name, "exec sleep 2222", labels={"TEPUI_MAX_RUN_SEC": "10"})
        main_pid(host, "sleep 2222")
        host.succeed("systemctl stop tepui-agentd.service")
        host.wait_until_fails("pgrep -x -f 'sleep 2222'", timeout=60)
        host.succeed("systemctl start tepui-agentd.service")
        _, reasons = failure("alone")
        t.assertIn("REASON_MAX_COMPLETION_TIME_REACHED", reasons)
        delete("alone")

with subtest("who fails and had used up its processor time is told how often"):
    create("slow", "units", "timeout 3 sh -c 'while :; do :; done'; exit 5", cpus=0.1)
    message, _ = failure("slow")
    t.assertTrue(message.startswith("Command exited with status 5\n"), message)
    share = [line.split()[2] for line in message.splitlines() if line.startswith("throttled in ")]
    t.assertEqual(len(share), 1, message)
    t.assertGreater(float(share[0]), 50)
    t.assertRegex(message, r"(?m)^peak memory [0-9.]+ [KM]B of 64.0 MB$")
    delete("slow")

with subtest("a sandbox that holds more than its disk is the end of its run"):
    create("disk", "processes", "head -c 20M /dev/zero >big; exec sleep 3333", disk=10)
    message, reasons = failure("disk")
    t.assertRegex(message, r"^Disk usage \(\d+\w+\) exceeds quota \(10MB\)")
    t.assertIn("REASON_CONTAINER_LIMITATION_DISK", reasons)
    delete("disk")

with subtest("what a container writes beside its sandbox counts as well, however deep it is"):
    processes.copy_from_host("vm-tests/cases/hostile-image/image.py", "/root/image.py")
    processes.succeed("python3 /root/image.py /root/plain.tar")
    deep = "for i in $(seq 200); do mkdir d; cd d; done; head -c 20M /dev/zero >big; exec sleep 3333"
    container = {
        "type": "DOCKER",
        "docker": {"image": "docker-archive:/root/plain.tar", "network": "HOST"},
        "volumes": [{"containerPath": "/usr", "hostPath": "/usr", "mode": "RO"}],
    }
    create("beside", "processes", f"cd /root; {deep}", disk=10, container=container)
    message, reasons = failure("beside")
    t.assertRegex(message, r"^Disk usage \(\d+\w+\) exceeds quota \(10MB\)")
    t.assertIn("REASON_CONTAINER_LIMITATION_DISK", reasons)
    delete("beside")

with subtest("a task says itself that it is ready, and one that falls silent is ended"):
    labels = {"TEPUI_NOTIFY": "true", "TEPUI_WATCHDOG_SEC": "3"}
    create("silent", "units", f"exec python3 -c '{READY}'", labels=labels)
    message, _ = failure("silent")
    t.assertTrue(message.startswith("Command terminated with signal Aborted\n"), message)
    t.assertIn("(watchdog)", message)
    delete("silent")
    labels = {"TEPUI_NOTIFY": "true", "TEPUI_NOTIFY_WITHIN_SEC": "3"}
    create("mute", "units", "exec sleep 4444", labels=labels)
    message, _ = failure("mute")
    t.assertIn("did not say in time that it is ready", message)
    delete("mute")

SLOW = {
    "TEPUI_IO_WEIGHT": "50",
    "TEPUI_IO_READ_BYTES_PER_SEC": "7340032",
    "TEPUI_IO_WRITE_BYTES_PER_SEC": "3145728",
}

with subtest("a task writes no faster than it may"):
    write = "date +%s%N; dd if=/dev/zero of=big bs=1M count=12 oflag=direct; date +%s%N; exec sleep 7777"
    create("slow", "units", write, labels=SLOW)
    place = group(units, main_pid(units, "sleep 7777"))
    t.assertRegex(units.succeed(f"cat {place}/io.max"), r"rbps=7340032 wbps=3145728")
    t.assertEqual(units.succeed(f"cat {place}/io.weight").strip(), "default 50")
    times = "journalctl TEPUI_APP=/slow -o cat | grep -E '^[0-9]{19}$'"
    begun, done = units.wait_until_succeeds(f"{times} | wc -l | grep 2 && {times}", timeout=60).split()[1:]
    # 12 MB at 3 MB/s; the first of it is not held up.
    t.assertGreater(int(done) - int(begun), 3 * 10**9)
    delete("slow")

with subtest("nor does one begin where its disk, or its processors, cannot be had"):
    create("nowhere", "processes", "exec sleep 8888", labels=SLOW)
    message, _ = failure("nowhere")
    t.assertRegex(message, r"its disk cannot be held to a speed: the file system of '/run/tepui-agent/\S+' is on no disk")
    delete("nowhere")
    create("many", "units", "exec sleep 8888", labels={"TEPUI_CPUSET": "0,4000"})
    message, _ = failure("many")
    t.assertIn("no processor 4000", message)
    delete("many")

with subtest("a task that needs what its host lacks is refused there with the reason"):
    create("refused", "processes", "exec sleep 5555", labels={"TEPUI_WATCHDOG_SEC": "3"})
    message, _ = failure("refused")
    t.assertRegex(message, r"'TEPUI_WATCHDOG_SEC' needs the isolator 'systemd/notify'")
    processes.fail("pgrep -x -f 'sleep 5555'")
    delete("refused")

with subtest("what a task may do is less than what its user may"):
    labels = {"TEPUI_SECCOMP": "strict", "TEPUI_CPUSET": "0", "TEPUI_PRIVATE_IPC": "true"}
    create("meek", "units", "exec sleep 6666", labels=labels)
    pid = main_pid(units, "sleep 6666")
    status = units.succeed(f"cat /proc/{pid}/status")
    t.assertRegex(status, r"(?m)^Seccomp:\t2$")
    t.assertRegex(status, r"(?m)^NoNewPrivs:\t1$")
    t.assertRegex(status, r"(?m)^Cpus_allowed_list:\t0$")
    units.succeed(f"test $(readlink /proc/{pid}/ns/ipc) != $(readlink /proc/1/ns/ipc)")
    delete("meek")

with subtest("where the operator says so, memory becomes scarce before it ends"):
    agent = "tepui-agentd.service"
    units.succeed("sed -i '1i memory_high_percent = 75' /etc/tepui/agentd.toml", f"systemctl restart {agent}")
    plane.wait_until_succeeds("tepui agent list | grep -w units", timeout=60)
    create("crawl", "units", "exec sleep 9999")
    place = group(units, main_pid(units, "sleep 9999"))
    t.assertEqual(int(units.succeed(f"cat {place}/memory.high")), 48 * MB)
    t.assertEqual(int(units.succeed(f"cat {place}/memory.max")), 64 * MB)
    (unit,) = units.succeed("systemctl list-units --plain --no-legend 'tepui-task-crawl*' | cut -d' ' -f1").split()
    t.assertEqual(units.get_unit_property(unit, "MemoryHigh"), str(48 * MB))
    delete("crawl")
