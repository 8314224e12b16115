import json
import shlex

AGENT = "tepui-agentd.service"
ADDRESS = "192.168.1.1"
SHARE = "/usr/local/share"
CASES = "vm-tests/cases"
RUNTIME = "F-71 the runtime overwritten through /proc/N/exe"
# A container's own processes and network are its own to look at and to use.
OWN = {
    "F-71 ptrace of the first process",
    "F-75 a port that was not offered",
    "F-75 a port that was not offered, mapped into IPv6",
}
# Whoever asks for the host's network has what is in it, ports of others excepted.
OF_THE_HOSTS_NETWORK = {"F-76 an abstract socket of the host", "F-76 the link-local address of metadata"}
# Refusals that do not come from the confinement, so they are there without it.
ALWAYS = {"F-71 a descriptor beyond standard error", "T-52 inheritable capabilities"}
# What the kernel of these hosts does not have answers with an error of its own.
ABSENT = {"ENOSYS", "EAFNOSUPPORT"}


def parsed(output):
    lines = [line.split(": ", 1) for line in output.splitlines() if ": " in line]
    return {name: answer for name, answer in lines}


def variables(runtime="tepui-runtime", device="eth0"):
    return {
        "VICTIM": agent, "SETUID": "/usr/local/bin/setuid-id", "VICTIM_EXE": runtime,
        "DEVICE": device, "RECORDS": "/run/tepui-agent/meta", "ADDRESS": ADDRESS,
    }  # fmt: skip


def create(name, image, command, network="BRIDGE", volumes=(), **more):
    named = image if ":" in image else f"docker-archive:/root/{image}.tar"
    docker = {"image": named, "network": network, **more}
    if network == "BRIDGE":
        docker["portMappings"] = [{"containerPort": 80, "hostPort": 0}]
    app = {
        "id": f"/{name}", "cpus": 0.1, "mem": 64, "cmd": command,
        "env": variables(device="eth0" if network == "BRIDGE" else "lo"),
        "container": {
            "type": "DOCKER", "docker": docker,
            "volumes": [{"containerPath": "/usr", "hostPath": "/usr", "mode": "RO"}, *volumes],
        },
    }  # fmt: skip
    text = shlex.quote(json.dumps(app))
    put = "curl -sf -X PUT -H 'Content-Type: application/json' -d @/root/app.json"
    one.succeed(f"printf %s {text} >/root/app.json", f"{put} http://one:8080/v2/apps/{name}")


def sandbox(name):
    def look(_):
        found = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{name}/tasks"))["tasks"]
        return [task["id"] for task in found if task["state"] == "TASK_RUNNING"]

    retry(look, 120)
    place = f"/run/tepui-agent/slaves/*/frameworks/*/executors/{look(True)[0]}/runs/latest"
    return one.succeed(f"echo {place}").strip()


def judge(answers, may):
    print("\n".join(f"{name}: {answer}" for name, answer in answers.items()))
    t.assertEqual(answers.keys(), plain.keys())
    gone_through = {name for name, answer in answers.items() if answer == "OPEN"}
    t.assertEqual(gone_through - may, set())


def outcome(name):
    """What an image that lies has printed, or why it was not started."""

    def look(_):
        status, output = one.execute(f"tepui app logs {name} 2>/dev/null")
        if status == 0 and "done" in output:
            return True
        failed = json.loads(one.succeed(f"curl -sf 'http://one:8080/v2/apps/{name}?embed=app.lastTaskFailure'"))
        return "lastTaskFailure" in failed["app"]

    retry(look, 120)
    _, output = one.execute(f"tepui app logs {name} 2>&1")
    return output + one.succeed(f"curl -sf 'http://one:8080/v2/apps/{name}?embed=app.lastTaskFailure'")


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
agent = one.get_unit_property(AGENT, "MainPID")
one.copy_from_host(f"{CASES}/hostile-rights/attacks.py", f"{SHARE}/attacks.py")
one.copy_from_host(f"{CASES}/hostile-image/more_attacks.py", f"{SHARE}/more_attacks.py")
for name in ("image.py", "registry.py", "swap.py"):
    one.copy_from_host(f"{CASES}/hostile-image/{name}", f"/root/{name}")
one.succeed(
    "install -m 4755 /usr/bin/id /usr/local/bin/setuid-id",
    "cp /usr/local/bin/tepui-shim /usr/local/bin/tepui-shim.victim",
    "echo host-secret >/root/host-marker",
    "python3 /root/image.py /root/plain.tar",
    "ip address add 169.254.169.254/32 dev lo",
)
servers = {"abstract": "socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'tepui-victim'); s.listen()",
           "metadata": "socket.create_server(('169.254.169.254', 80))"}  # fmt: skip
for name, server in servers.items():
    line = f"import socket; s = {server}; [s.accept() for _ in iter(int, 1)]"
    one.succeed(f"systemd-run --unit {name} python3 -c {shlex.quote(line)}")
one.wait_until_succeeds("grep -a @tepui-victim /proc/net/unix", timeout=120)
one.wait_until_succeeds("nc -z 169.254.169.254 80", timeout=120)
sums = one.succeed("sha256sum /usr/local/bin/tepui-*")

with subtest("without confinement everything gets through, so that a refusal says something"):
    one.succeed("cp /usr/bin/sleep /root/victim-sleep")
    one.succeed("systemd-run --unit prey sh -c 'while :; do /root/victim-sleep 0.2; sleep 0.2; done'")
    words = " ".join(f"{name}={value}" for name, value in variables("victim-sleep", "lo").items())
    plain = parsed(one.succeed(f"{words} PLAIN=1 python3 {SHARE}/more_attacks.py"))
    one.succeed("systemctl stop prey", "ip address del 10.218.250.250/16 dev lo")
    print("\n".join(f"{name}: {answer}" for name, answer in plain.items()))
    t.assertGreater(len(plain), 40)
    shut = {name: answer for name, answer in plain.items() if answer != "OPEN" and answer not in ABSENT}
    t.assertEqual(set(shut) - ALWAYS, set(), shut)

attack = f"python3 {SHARE}/more_attacks.py >$MESOS_SANDBOX/answers; touch $MESOS_SANDBOX/finished; sleep 1000"



def attacked(name, image):
    """What root of an image on the bridge met."""
    create(name, image, attack)
    place = sandbox(name)
    # Sessions join the container while it waits to catch the runtime.
    one.succeed(
        f"for i in $(seq 60); do grep -q '^{RUNTIME}' {place}/answers && exit 0;"
        f" tepui exec {name} -- true 2>&1 || exit 1; done"
    )
    one.wait_until_succeeds(f"test -e {place}/finished", timeout=180)
    answers = parsed(one.succeed(f"cat {place}/answers"))
    judge(answers, OWN)
    t.assertNotIn(answers[RUNTIME], ("never seen", "ENOENT", "ETXTBSY"))


with subtest("nothing gets through for root of an image on the bridge"):
    attacked("bridged", "plain")

with subtest("a session beside it has no more rights than the container"):
    answers = parsed(one.succeed(f"tepui exec bridged -- python3 {SHARE}/more_attacks.py"))
    judge(answers, OWN)
    status = one.succeed("tepui exec bridged -- cat /proc/self/status")
    for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"):
        t.assertIn(line, status)

with subtest("nor on the host's network, but for what is in that network"):
    create("hosted", "plain", attack, network="HOST")
    place = sandbox("hosted")
    one.wait_until_succeeds(f"test -e {place}/finished", timeout=240)
    judge(parsed(one.succeed(f"cat {place}/answers")), OF_THE_HOSTS_NETWORK | {"F-71 ptrace of the first process"})

look = "cat /root/host-marker ../../../../root/host-marker; cat /proc/self/status | head -1; id; pwd; echo done; sleep 1000"
with subtest("an honest image starts and sees its own, so that a refusal says something"):
    create("honest", "plain", look)
    said = outcome("honest")
    print(said)
    for line in ("uid=0(root)", "Name:", "done"):
        t.assertIn(line, said)
    t.assertNotIn("host-secret", said)
    one.succeed("curl -sf -X DELETE 'http://one:8080/v2/apps/honest?force=true'")

LIES = {
    "F-79 /proc is a link": ["proc=/etc"],
    "F-79 /dev is a link": ["dev=/etc"],
    "F-79 /sys is a link": ["sys=/root"],
    "F-79 /etc/passwd is a link": ["etc/passwd=/../../../../root/host-marker"],
    "F-79 /etc is a link upwards": ["mnt=../../../../../../root"],
    "F-79 a volume leads upwards": ['Volumes:{"../../../../root": {}}'],
    "T-50 it begins in a descriptor": ['WorkingDir:"/proc/self/fd/7"'],
    "T-50 it begins in another descriptor": ['WorkingDir:"/proc/self/fd/10"'],
    "T-50 it begins in the first process's root": ['WorkingDir:"/proc/1/root"'],
}

for number, (name, parts) in enumerate(LIES.items()):
    with subtest(f"{name}: it is refused, or sees its own files only"):
        made = " ".join(shlex.quote(word) for word in parts)
        one.succeed(f"python3 /root/image.py /root/lie{number}.tar {made}")
        create(f"lie{number}", f"lie{number}", look)
        said = outcome(f"lie{number}")
        print(said)
        t.assertNotIn("host-secret", said)
        one.succeed(f"curl -sf -X DELETE 'http://one:8080/v2/apps/lie{number}?force=true'")

with subtest("F-69 a volume that is exchanged for a link while containers start shows nothing else"):
    one.succeed("mkdir -p /srv/race/shared", "ln -s / /srv/race/link", "touch /srv/race/shared/own")
    text = one.succeed("cat /etc/tepui/agentd.toml")
    named = text + 'host_volumes = ["/srv/race", "/usr"]\n'
    one.succeed(f"printf %s {shlex.quote(named)} >/etc/tepui/agentd.toml", f"systemctl restart {AGENT}")
    one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
    one.succeed("systemd-run --unit swapper python3 /root/swap.py /srv/race")
    volume = {"containerPath": "/vol", "hostPath": "/srv/race/shared", "mode": "RW"}
    # Each ends at once and is started again; what each saw is added up where the host can read it.
    create("racer", "plain", "ls /vol; cat /vol/root/host-marker; exit 1", volumes=[volume], network="HOST")

    def started(_):
        log = one.execute("cat /run/tepui-agent/slaves/*/frameworks/*/executors/racer*/runs/*/stdout")[1]
        t.assertNotIn("host-secret", log)
        return log.count("own") >= 3

    retry(started, 180)
    one.succeed("curl -sf -X DELETE 'http://one:8080/v2/apps/racer?force=true'", "systemctl stop swapper")

with subtest("behind the shield nothing gets through either, and no image is a file of the host's"):
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("local_images"))
    shielded = kept + '\nshield_tasks = true\nhost_volumes = ["/usr"]\n'
    one.succeed(f"printf %s {shlex.quote(shielded)} >/etc/tepui/agentd.toml", f"systemctl restart {AGENT}")
    one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
    agent = one.get_unit_property(AGENT, "MainPID")
    one.succeed("systemd-run --unit registry python3 /root/registry.py /root/plain.tar 5000")
    one.wait_for_open_port(5000, timeout=60)
    create("file", "plain", look)
    t.assertIn("--local-images DIR names one", outcome("file"))
    one.succeed("curl -sf -X DELETE 'http://one:8080/v2/apps/file?force=true'")
    attacked("shielded", "127.0.0.1:5000/plain:1")

with subtest("the host is as it was"):
    t.assertEqual(one.succeed("sha256sum /usr/local/bin/tepui-*"), sums)
    t.assertEqual(one.succeed("stat -c %F:%t:%T /dev/null").strip(), "character special file:1:3")
    t.assertEqual(one.get_unit_property(AGENT, "MainPID"), agent)
    one.fail("grep -a @ /proc/net/unix | grep -v @tepui-victim | grep -i tepui")
