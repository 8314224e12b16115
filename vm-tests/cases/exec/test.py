import json
import shlex

APP = {"id": "/talk", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 32, "instances": 2, "env": {"GREETING": "hello"}}

start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
text = shlex.quote(json.dumps(APP))
one.succeed(f"printf %s {text} >/root/app.json", "tepui app create /root/app.json --timeout 60s")

with subtest("a command answers with its output and its exit code"):
    t.assertEqual(one.succeed("tepui exec talk -- sh -c 'echo $GREETING'").strip(), "hello")
    status, _ = one.execute("tepui exec talk/2 -- sh -c 'exit 7'")
    t.assertEqual(status, 7)
    t.assertEqual(one.succeed("printf abc | tepui exec -i talk -- tr a-c x-z"), "xyz")
    t.assertEqual(one.succeed("printf abc | timeout 20 tepui exec talk -- sh -c 'cat; echo nothing'"), "nothing\n")

with subtest("it runs in the control group of the unit"):
    groups = one.succeed("tepui exec talk/1 -- cat /proc/self/cgroup")
    t.assertRegex(groups, r"tepui-task-talk\S*\.service")

with subtest("an instance that is not there is an error that says so"):
    status, output = one.execute("tepui exec talk/9 -- true 2>&1")
    t.assertNotEqual(status, 0)
    t.assertIn("talk", output)

with subtest("the task is none the wiser"):
    t.assertEqual(one.succeed("tepui app list | grep -w /talk | grep -c 2/2").strip(), "1")


def create(app):
    document = shlex.quote(json.dumps(app))
    one.succeed(f"printf %s {document} >/root/app.json", "tepui app create /root/app.json --timeout 120s")


def process(number):
    """Which process sleeps for so many seconds, once it does."""
    return one.wait_until_succeeds(f"pgrep -f '^sleep {number}$'", timeout=60).strip()


def boxed(name, number, **more):
    """An app of an image; its first process is known by the number of seconds that it sleeps."""
    docker = {"image": "127.0.0.1:5000/web:1", "network": "BRIDGE", **more}
    create({
        "id": f"/{name}", "cmd": f"exec sleep {number}", "cpus": 0.1, "mem": 32, "instances": 1,
        "env": {"GREETING": "from inside"}, "container": {"type": "DOCKER", "docker": docker},
    })
    return process(number)


def rights(status):
    """What /proc/PID/status says of capabilities, as numbers."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {name: int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, fields


one.succeed("systemd-run --unit registry /payload/bin/docker-registry serve /payload/registry.yml")
one.wait_for_open_port(5000, timeout=60)
# Where the kernel's parameters are read-only, the host's own network has its still to be set.
one.succeed(
    "for p in /proc/sys /proc/sys/net; do mount -o remount,bind,rw $p 2>/dev/null || true; done",
    "systemctl restart tepui-agentd.service",
)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
user = {"parameters": [{"key": "user", "value": "4711"}]}
pids = {"boxed": boxed("boxed", 86401, **user), "rooted": boxed("rooted", 86402)}

with subtest("in a container it sees that root, that user, that environment"):
    t.assertEqual(one.succeed("tepui exec boxed -- cat /www/index.html").strip(), "web 1")
    one.fail("tepui exec boxed -- ls /root/app.json")
    t.assertEqual(one.succeed("tepui exec boxed -- id -u").strip(), "4711")
    t.assertEqual(one.succeed("tepui exec rooted -- id -u").strip(), "0")
    t.assertEqual(one.succeed("tepui exec boxed -- sh -c 'echo $GREETING'").strip(), "from inside")
    t.assertEqual(one.succeed("tepui exec -e MORE=x boxed -- sh -c 'echo $MORE'").strip(), "x")
    t.assertEqual(one.succeed("printf abc | tepui exec -i boxed -- cat"), "abc")
    t.assertEqual(one.succeed("timeout 20 tepui exec boxed -- sh -c 'cat; echo nothing'"), "nothing\n")
    status, _ = one.execute("tepui exec boxed -- sh -c 'exit 7'")
    t.assertEqual(status, 7)
    status, output = one.execute("tepui exec boxed -- /no/such/program 2>&1")
    t.assertNotEqual(status, 0)
    t.assertIn("/no/such/program", output)

with subtest("it is in the container's namespaces and control group"):
    for name, pid in pids.items():
        for kind in ("mnt", "pid", "net", "uts", "ipc", "cgroup"):
            link = f"/proc/self/ns/{kind}"
            inside = one.succeed(f"tepui exec {name} -- /bin/busybox readlink {link}").strip()
            t.assertEqual(inside, one.succeed(f"readlink /proc/{pid}/ns/{kind}").strip(), f"{name} {kind}")
            if kind in ("mnt", "pid", "net"):
                t.assertNotEqual(inside, one.succeed(f"readlink {link}").strip(), f"{name} {kind}")
        one.succeed(f"systemd-run --unit held-{name} tepui exec {name} -- sleep 777")
        held = one.wait_until_succeeds("pgrep -f '^sleep 777$'", timeout=60).strip()
        both = [one.succeed(f"cat /proc/{each}/cgroup").strip() for each in (pid, held)]
        unit = f"tepui-task-{name}"
        t.assertTrue(all(unit in group for group in both), both)
        one.succeed(f"systemctl kill -s KILL held-{name}.service")
        one.wait_until_fails("pgrep -f '^sleep 777$'", timeout=30)

with subtest("T-52: it has no capability, and no descriptor, that the container has not"):
    for name, pid in pids.items():
        own, fields = rights(one.succeed(f"cat /proc/{pid}/status"))
        for words in ("", "-e A=b"):
            text = one.succeed(f"tepui exec {words} {name} -- cat /proc/self/status")
            told, given = rights(text)
            for kind, mask in told.items():
                t.assertEqual(mask & ~own[kind], 0, f"{name} {kind}: {mask:x} beyond {own[kind]:x}")
            t.assertEqual(told["CapInh"], 0, "inheritable capabilities outlive a change of user")
            t.assertEqual(told["CapBnd"] >> 21 & 1, 0, "CAP_SYS_ADMIN")
            for kind in ("NoNewPrivs", "Seccomp"):
                t.assertGreaterEqual(int(given[kind]), int(fields[kind]), f"{name} {kind}")
        # The fourth is that of the listing itself.
        listed = one.succeed(f"tepui exec {name} -- ls /proc/self/fd").split()
        t.assertEqual(listed, ["0", "1", "2", "3"])

with subtest("on a terminal, keys make signals, and the size follows"):
    typed, shown = "/run/typed", "/run/shown"
    one.succeed(f"mkfifo {typed}")
    line = f"exec 3<>{typed}; exec script -qefc 'stty rows 33 cols 101; exec tepui exec -it boxed -- sh' {shown} <&3 >/dev/null"
    one.succeed(f"systemd-run --unit terminal -p RemainAfterExit=yes -E TERM=xterm bash -c {shlex.quote(line)}")

    def say(text):
        one.succeed(f"printf %b {shlex.quote(text)} >{typed}")

    def sees(text):
        one.wait_until_succeeds(f"grep -aF {shlex.quote(text)} {shown}", timeout=60)

    say("/bin/busybox stty size; /bin/busybox tty; id -u\\n")
    sees("33 101")
    sees("/dev/pts/")
    sees("4711")
    say("sh -c 'echo under''way; sleep 888'\\n")
    sees("underway")
    one.wait_until_succeeds("pgrep -f '^sleep 888$'", timeout=60)
    say("\\003")
    one.wait_until_fails("pgrep -f '^sleep 888$'", timeout=60)
    say("echo status=$?; exit 5\\n")
    sees("status=130")
    one.wait_until_succeeds("systemctl show -P ExecMainStatus terminal.service | grep -x 5", timeout=60)

with subtest("on a terminal without input, the keys that make signals make them still"):
    line = f"exec 3<>{typed}; exec script -qefc 'exec tepui exec -t boxed -- sleep 889' {shown} <&3 >/dev/null"
    one.succeed(f"systemd-run --unit silent -p RemainAfterExit=yes bash -c {shlex.quote(line)}")
    one.wait_until_succeeds("pgrep -f '^sleep 889$'", timeout=60)
    say("\\003")
    one.wait_until_fails("pgrep -f '^sleep 889$'", timeout=60)
    one.wait_until_succeeds("systemctl show -P ExecMainStatus silent.service | grep -x 130", timeout=60)

with subtest("whoever attaches to the terminal of a task types at it, also after a restart of the agent"):
    one.copy_from_host("vm-tests/cases/exec/attach.py", "/root/attach.py")
    line = "while read word; do echo got=$word size=$(stty size); done; exit 3"
    create({"id": "/shown", "cmd": line, "cpus": 0.1, "mem": 32, "instances": 1, "tty": True})
    listed = json.loads(one.succeed("curl -sf http://one:5051/containers"))
    ids = {task["executor_id"].split(".")[0]: task["container_id"] for task in listed}
    attach = f"timeout 60 python3 /root/attach.py {ids['shown']}"
    t.assertIn("got=first size=", one.succeed(f"{attach} first"))
    t.assertIn("got=second size=40 120", one.succeed(f"{attach} second 40 120"))
    one.succeed("systemctl restart tepui-agentd.service")
    one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
    t.assertIn("got=third size=40 120", one.succeed(f"{attach} third"))
    t.assertIn("only sessions have", one.fail(f"python3 /root/attach.py {ids['boxed']} x 2>&1"))
    one.succeed("tepui app delete shown")

with subtest("a session ends with its client, and with its task"):
    one.succeed("systemd-run --unit client tepui exec boxed -- sleep 4321")
    one.wait_until_succeeds("pgrep -f '^sleep 4321$'", timeout=60)
    one.succeed("systemctl kill -s KILL client.service")
    one.wait_until_fails("pgrep -f '^sleep 4321$'", timeout=60)
    one.succeed("systemd-run --unit again tepui exec boxed -- sleep 4322")
    one.wait_until_succeeds("pgrep -f '^sleep 4322$'", timeout=60)
    one.succeed(f"kill -9 {pids['boxed']}")
    one.wait_until_fails("pgrep -f '^sleep 4322$'", timeout=60)
    one.wait_until_fails("systemctl is-active again.service", timeout=60)

with subtest("who killed the task is told, and not who tidied up after it"):
    told = "'signal came from process [0-9]+ .bash. of the host'"
    one.wait_until_succeeds(f"curl -sf http://one:8080/v2/apps/boxed | grep -E {told}", timeout=60)
    create({"id": "/family", "cmd": "sleep 7771 & exec sleep 7772", "cpus": 0.1, "mem": 32, "instances": 1})
    parent, child = process(7772), process(7771)
    one.succeed(f"kill -TERM {parent}")
    one.wait_until_fails(f"kill -0 {child}", timeout=60)
    one.wait_until_succeeds(f"curl -sf http://one:8080/v2/apps/family | grep -E {told}", timeout=60)
    one.succeed("tepui app delete family")

with subtest("nothing of a session stays"):
    one.succeed("tepui app delete boxed", "tepui app delete rooted")
    one.wait_until_fails("pgrep tepui-runtime", timeout=60)
    retry(lambda _: one.succeed("ls /run/tepui-agent/meta/containers").strip() == "", 60)
