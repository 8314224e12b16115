import json
import re

PLANE = "tepui-control-plane.service"
AGENT = "tepui-agentd.service"
APP = {
    "id": "/probe",
    "cmd": "ulimit -n; cat /proc/self/oom_score_adj; exec sleep 86400",
    "cpus": 0.1,
    "mem": 16,
}


def exposure(unit):
    """What systemd says of a unit; the whole answer is shown."""
    answer = one.succeed(f"systemd-analyze security --no-pager {unit}")
    print(answer)
    return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer)[1])


def of_process(unit, field):
    pid = one.get_unit_property(unit, "MainPID")
    return one.succeed(f"sed -n 's/^{field}:\\s*//p' /proc/{pid}/status").strip()


start_all()
one.wait_for_unit(PLANE)
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("what systemd thinks of the units"):
    t.assertLessEqual(exposure(PLANE), 1.5)
    t.assertLess(exposure(AGENT), 9)

with subtest("the agent has the host's own mounts, so that what it pins outlives it"):
    pid = one.get_unit_property(AGENT, "MainPID")
    t.assertEqual(one.succeed(f"readlink /proc/{pid}/ns/mnt"), one.succeed("readlink /proc/1/ns/mnt"))

with subtest("each daemon reads its own secrets, and no one else does"):
    for unit, name, text in ((PLANE, "key", "for the plane"), (AGENT, "docker-config", "{}")):
        pid = one.get_unit_property(unit, "MainPID")
        uid = of_process(unit, "Uid").split()[0]
        secret = f"/run/credentials/{unit}/{name}"
        reader = f"setpriv --reuid {uid} --clear-groups"
        t.assertEqual(one.succeed(f"nsenter -m -t {pid} {reader} cat {secret}"), text)
        one.fail(f"nsenter -m -t {pid} setpriv --reuid 65534 --clear-groups cat {secret}")

with subtest("the control plane is nobody in particular and may do nothing"):
    t.assertNotEqual(of_process(PLANE, "Uid").split()[0], "0")
    for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        t.assertEqual(int(of_process(PLANE, capabilities), 16), 0, capabilities)
    t.assertEqual(of_process(PLANE, "NoNewPrivs"), "1")
    t.assertEqual(of_process(PLANE, "Seccomp"), "2")

with subtest("its records are there, and are nobody else's to read"):
    pid = one.get_unit_property(PLANE, "MainPID")
    mode = "stat -L -c '%a %u' /var/lib/tepui/control-plane"
    t.assertEqual(one.succeed(mode).split()[0], "700")
    owner = of_process(PLANE, "Uid").split()[0]
    t.assertEqual(one.succeed(mode).split()[1], owner)
    mounts = one.succeed(f"cat /proc/{pid}/mounts")
    t.assertRegex(mounts, r"\S+ / \S+ ro[, ]")

with subtest("warnings of the daemons are warnings of the journal"):
    one.succeed(f"systemctl kill --signal=KILL {PLANE}")
    one.wait_until_succeeds(f"journalctl -p warning -u {AGENT} | grep tepui-agentd", timeout=30)
    one.fail(f"journalctl -p warning -u {AGENT} | grep ' INFO '")
    one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("apps run, survive a restart of both daemons, and inherit nothing of the agent's"):
    one.succeed(f"echo '{json.dumps(APP)}' >/root/app.json", "tepui app create /root/app.json --timeout 60s")
    one.succeed(f"systemctl restart {PLANE} {AGENT}")
    one.wait_until_succeeds("tepui app list | grep -w /probe | grep 1/1", timeout=60)
    read = "cat /var/lib/tepui/agent/slaves/*/frameworks/*/executors/*/runs/latest/stdout"
    t.assertEqual(one.wait_until_succeeds(read, timeout=30).split(), ["1024", "0"])
