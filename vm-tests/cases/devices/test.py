import json
import shlex

AGENT = "tepui-agentd.service"
NODES = "python3 /usr/local/share/nodes.py"
MAKER = {"key": "cap-add", "value": "MKNOD"}


def answers(output):
    lines = [line.split(": ", 1) for line in output.splitlines() if ": " in line]
    return {name: answer for name, answer in lines}


def opened(found):
    return {name for name, answer in found.items() if answer.endswith("opened yes")}


def sandbox(name):
    return one.succeed(f"echo /run/tepui-agent/slaves/*/frameworks/*/executors/{name}.*/runs/latest").strip()


def attempt(name, *parameters, words="", **docker):
    """What a container's task opens, and a session beside it, which is the same."""
    app = {
        "id": f"/{name}",
        "cpus": 0.1,
        "mem": 64,
        "cmd": f"{NODES} {words} >$MESOS_SANDBOX/answers; touch $MESOS_SANDBOX/finished; sleep 1000",
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": "docker-archive:/root/plain.tar",
                "network": "HOST",
                "parameters": list(parameters),
                **docker,
            },
            "volumes": [{"containerPath": "/usr", "hostPath": "/usr", "mode": "RO"}],
        },
    }
    text = shlex.quote(json.dumps(app))
    one.succeed(f"printf %s {text} >/root/app.json", "tepui app create /root/app.json --timeout 120s")
    one.wait_until_succeeds(f"test -e {sandbox(name)}/finished", timeout=120)
    own = answers(one.succeed(f"cat {sandbox(name)}/answers"))
    t.assertEqual(answers(one.succeed(f"tepui exec {name} -- {NODES} {words} 2>&1")), own)
    print(own)
    return own


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
one.copy_from_host("vm-tests/cases/hostile-image/image.py", "/root/image.py")
one.copy_from_host("vm-tests/cases/devices/nodes.py", "/usr/local/share/nodes.py")
one.succeed("python3 /root/image.py /root/plain.tar")
# A container of the machine has all that the machine has loaded.
one.execute("modprobe fuse")

with subtest("who is privileged opens what the host opens, so that a refusal says something"):
    bare = answers(one.succeed(NODES))
    foreign = opened(bare) - {"null"}
    t.assertTrue({"fuse", "kmsg"} <= foreign, bare)
    t.assertEqual(opened(attempt("privileged", privileged=True)), foreign | {"null"})

with subtest("with MKNOD it makes every node, and opens none that leads to the host's devices"):
    made = attempt("maker", MAKER)
    t.assertEqual(opened(made), {"null"})
    t.assertEqual({made[name] for name in foreign}, {"made yes opened EPERM"})

with subtest("with every capability and no filter neither"):
    every = attempt(
        "every", {"key": "cap-add", "value": "ALL"}, {"key": "security-opt", "value": "seccomp=unconfined"}
    )
    t.assertEqual({every[name] for name in foreign}, {"made yes opened EPERM"})

with subtest("without asking for anything it cannot even make one"):
    usual = attempt("usual")
    t.assertEqual({answer.split()[1] for answer in usual.values()}, {"EPERM"})

with subtest("it opens a device that it was given, the way that it was given"):
    one.succeed("mknod /dev/tried c 10 229")
    given = attempt("given", MAKER, {"key": "device", "value": "/dev/tried:/dev/own:r"}, words="/dev/own")
    t.assertEqual(given["/dev/own"], "opened yes")
    # The same device for writing too, among others.
    t.assertEqual({given[name] for name in foreign}, {"made yes opened EPERM"})

with subtest("the rules hold while no agent runs, and for the next one"):
    rules = f"systemctl show -P MainPID {AGENT}"
    before = one.succeed(rules).strip()
    one.succeed(f"kill -9 {before}")
    one.wait_until_succeeds(f"test $({rules}) -ne 0 -a $({rules}) -ne {before}", timeout=60)
    one.wait_until_succeeds("curl -sf http://one:5051/health && tepui exec maker -- true", timeout=120)
    again = answers(one.succeed(f"tepui exec maker -- {NODES}"))
    t.assertEqual({again[name] for name in foreign}, {"made yes opened EPERM"})
