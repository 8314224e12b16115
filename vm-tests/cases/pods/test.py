import json
import shlex

AGENT = "http://one:5051/api/v1"
WORK = "/run/tepui-agent"
IMAGE = "127.0.0.1:5000/web:1"

# A scheduler that launches one pod from /root/pod.json and writes down what it hears.
SCHEDULER = r"""
import http.client, json, pathlib
HEAD = {"Content-Type": "application/json", "Accept": "application/json"}
stream = http.client.HTTPConnection("one", 5050)
info = {"user": "root", "name": "pods", "checkpoint": True, "failover_timeout": 3600}
call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
stream.request("POST", "/api/v1/scheduler", json.dumps(call), HEAD)
answer = stream.getresponse()
HEAD["Mesos-Stream-Id"] = answer.headers["Mesos-Stream-Id"]
wanted = json.loads(pathlib.Path("/root/pod.json").read_text())
updates = open("/root/updates", "a", buffering=1)
framework = None


def say(call):
    calls = http.client.HTTPConnection("one", 5050)
    calls.request("POST", "/api/v1/scheduler", json.dumps({**call, "framework_id": framework}), HEAD)
    reply = calls.getresponse()
    assert reply.status == 202, reply.read()


def fill(part, values):
    text = json.dumps(part)
    for name, value in values.items():
        text = text.replace(json.dumps(name), json.dumps(value))
    return json.loads(text)


def launch(offer):
    global wanted
    ports = [r for r in offer["resources"] if r["name"] == "ports"][0]["ranges"]["range"]
    values = {"$port": ports[0]["begin"], "$agent": offer["agent_id"]["value"],
              "$framework": framework["value"]}
    group = {"type": "LAUNCH_GROUP", "launch_group": fill(wanted, values)}
    say({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "operations": [group]}})
    pathlib.Path("/root/port").write_text(str(values["$port"]))
    wanted = None


while True:
    length = b""
    while (byte := answer.read(1)) != b"\n":
        length += byte
    event = json.loads(answer.read(int(length)))
    if event["type"] == "SUBSCRIBED":
        framework = event["subscribed"]["framework_id"]
    if event["type"] == "OFFERS":
        for offer in event["offers"]["offers"]:
            if wanted:
                launch(offer)
            else:
                say({"type": "DECLINE", "decline": {"offer_ids": [offer["id"]]}})
    if event["type"] == "UPDATE":
        status = event["update"]["status"]
        print(json.dumps(status), file=updates)
        if "uuid" in status:
            parts = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
            say({"type": "ACKNOWLEDGE", "acknowledge": parts})
"""


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def task(name, command, container, ports=()):
    resources = [scalar("cpus", 0.1), scalar("mem", 32), *ports]
    return {
        "name": name,
        "task_id": {"value": name},
        "agent_id": {"value": "$agent"},
        "command": command,
        "container": {"type": "MESOS", **container},
        "resources": resources,
    }


def volumes(place):
    shared = {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "shared"}}
    host = {"type": "HOST_PATH", "host_path": {"path": "/srv/data"}}
    return {
        "volumes": [
            {"container_path": f"{place}shared", "mode": "RW", "source": shared},
            {"container_path": f"{place}data", "mode": "RW", "source": host},
        ]
    }


PORT = {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": "$port", "end": "$port"}]}}
NETWORK = {
    "name": "mesos-bridge",
    "port_mappings": [{"host_port": "$port", "container_port": 80, "protocol": "tcp"}],
}
IMAGED = {"mesos": {"image": {"type": "DOCKER", "docker": {"name": IMAGE}}}}
POD = {
    "executor": {
        "type": "DEFAULT",
        "executor_id": {"value": "pod"},
        "framework_id": {"value": "$framework"},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 10)],
        "container": {"type": "MESOS", "network_infos": [NETWORK]},
    },
    "task_group": {
        "tasks": [
            task("web", {"shell": False}, {**IMAGED, **volumes("/")}, [PORT]),
            task(
                "plain",
                {
                    "value": "until curl -sf http://127.0.0.1/ >shared/seen.new; do sleep 0.2; done;"
                    " mv shared/seen.new shared/seen; echo mine >data/plain; exec sleep 86400"
                },
                volumes(""),
            ),
        ]
    },
}


def write(path, text):
    one.succeed(f"printf %s {shlex.quote(text)} >{path}")


def updates(name):
    lines = one.succeed("cat /root/updates").splitlines()
    found = [json.loads(line) for line in lines]
    return [status for status in found if status["task_id"]["value"] == name]


def states(name):
    return [status["state"] for status in updates(name)]


def call(kind, timeout=60, **parts):
    body = {"type": kind, kind.lower(): parts} if parts else {"type": kind}
    answer = one.succeed(
        f"curl -s -m {timeout} -w '\\n%{{http_code}}' -H 'Content-Type: application/json'"
        f" -H 'Accept: application/json' -d {shlex.quote(json.dumps(body))} {AGENT}"
    )
    text, _, status = answer.rpartition("\n")
    return int(status), text


def end_of(kind, container):
    status, text = call(kind, container_id=container)
    t.assertEqual(status, 200)
    return json.loads(text)[kind.lower()]


def named(name, above=None):
    return {"value": name, **({"parent": above} if above else {})}


def shell(line):
    return {"value": line}


def group_of(container):
    listed = json.loads(call("GET_CONTAINERS", show_nested=True, show_standalone=True)[1])
    for one_of in listed["get_containers"]["containers"]:
        if one_of["container_id"] == container:
            return one_of
    return None


def pid_of(container):
    return group_of(container)["container_status"]["executor_pid"]


def network_of(pid):
    return one.succeed(f"readlink /proc/{pid}/ns/net").strip()


def run_agent_again(stop):
    pid = one.get_unit_property("tepui-agentd.service", "MainPID")
    one.succeed(stop.format(pid=pid))
    one.wait_until_succeeds(
        f"p=$(systemctl show -P MainPID tepui-agentd.service); test $p != 0 -a $p != {pid}"
        f" && curl -sf -H 'Content-Type: application/json' -d '{{\"type\": \"GET_HEALTH\"}}' {AGENT}",
        timeout=60,
    )


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
one.succeed("systemd-run --unit registry /payload/bin/docker-registry serve /payload/registry.yml")
one.wait_for_open_port(5000, timeout=60)
one.succeed(
    "for p in /proc/sys /proc/sys/net; do mount -o remount,bind,rw $p 2>/dev/null || true; done",
    "systemctl restart tepui-agentd.service",
    "mkdir -p /srv/data",
)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
write("/root/pod.json", json.dumps(POD))
write("/root/scheduler.py", SCHEDULER)
one.succeed("touch /root/updates", "systemd-run --unit scheduler python3 /root/scheduler.py")

with subtest("a pod of a task with an image and one without comes up"):
    def up(is_last):
        if is_last:
            print(one.succeed("cat /root/updates; journalctl -u scheduler | tail -20"))
        return all("TASK_RUNNING" in states(name) for name in ("web", "plain"))

    retry(up, 120)
    web, plain = (updates(name)[-1]["container_status"] for name in ("web", "plain"))
    port = one.succeed("cat /root/port").strip()

with subtest("its tasks share a network, and the pod's port leads there"):
    addresses = [
        [address["ip_address"] for address in status["network_infos"][0]["ip_addresses"]]
        for status in (web, plain)
    ]
    t.assertEqual(addresses[0], addresses[1])
    t.assertTrue(addresses[0][0].startswith("10.218."), addresses)
    one.wait_until_succeeds(f"curl -sf -m 20 http://one:{port}/ | grep -x 'web 1'", timeout=60)
    t.assertEqual(one.succeed(f"curl -sf -m 20 http://{addresses[0][0]}/").strip(), "web 1")
    pids = [pid_of(status["container_id"]) for status in (web, plain)]
    t.assertNotEqual(network_of(pids[1]), network_of(1))
    inside = one.succeed("pgrep -f '[h]ttpd -f -p 80' | head -1").strip()
    t.assertEqual(network_of(inside), network_of(pids[1]))

with subtest("and volumes: of the pod's sandbox, and of the host"):
    pod = web["container_id"]["parent"]
    sandbox = one.succeed(f"ls -d {WORK}/slaves/*/frameworks/*/executors/pod/runs/{pod['value']}").strip()
    one.wait_until_succeeds(f"grep -x 'web 1' {sandbox}/shared/seen", timeout=60)
    t.assertEqual(one.succeed(f"cat /proc/{inside}/root/shared/seen").strip(), "web 1")
    one.wait_until_succeeds(f"grep -x mine /proc/{inside}/root/data/plain", timeout=60)

with subtest("a container below a task is in its network, deeper ones too, and one alone in the host's"):
    side = named("side", plain["container_id"])
    deep = named("deep", side)
    alone = named("alone")
    line = "curl -sf http://127.0.0.1/ >seen; exec sleep 86400"
    for container in (side, deep):
        parts = {"container_id": container, "command": shell(line)}
        t.assertEqual(call("LAUNCH_NESTED_CONTAINER", **parts)[0], 200)
        t.assertEqual(call("LAUNCH_NESTED_CONTAINER", **parts)[0], 202)
    given = [scalar("cpus", 0.1), scalar("mem", 32)]
    parts = {"container_id": alone, "command": shell("exec sleep 86400"), "resources": given}
    t.assertEqual(call("LAUNCH_CONTAINER", **parts)[0], 200)
    one.wait_until_succeeds(
        f"grep -x 'web 1' {sandbox}/tasks/plain/containers/side/seen"
        f" {sandbox}/tasks/plain/containers/side/containers/deep/seen",
        timeout=60,
    )
    t.assertEqual(network_of(pid_of(alone)), network_of(1))
    t.assertEqual(one.succeed(f"ls -d {WORK}/containers/alone").strip(), f"{WORK}/containers/alone")
    imaged = named("imaged", plain["container_id"])
    parts = {"container_id": imaged, "command": shell("sleep 86400"), "container": {"type": "MESOS", **IMAGED}}
    t.assertEqual(call("LAUNCH_CONTAINER", **parts), (200, ""))

with subtest("a container below another shares its processes and its shared memory, not the host's"):
    shared = {"share_pid_namespace": True, "ipc_mode": "SHARE_PARENT"}
    sharing = named("sharing", imaged)
    container = {"type": "MESOS", **IMAGED, "linux_info": shared}
    parts = {"container_id": sharing, "command": shell("sleep 86400"), "container": container}
    t.assertEqual(call("LAUNCH_CONTAINER", **parts), (200, ""))
    inside_of = [one.succeed(f"pgrep -P {pid_of(each)}").strip() for each in (imaged, sharing)]
    for kind in ("pid", "ipc"):
        above, below = [one.succeed(f"readlink /proc/{pid}/ns/{kind}").strip() for pid in inside_of]
        t.assertEqual(below, above)
        t.assertNotEqual(below, one.succeed(f"readlink /proc/1/ns/{kind}").strip())
    one.succeed(f"echo word >/proc/{inside_of[0]}/root/dev/shm/seen")
    t.assertEqual(one.succeed(f"cat /proc/{inside_of[1]}/root/dev/shm/seen").strip(), "word")
    t.assertEqual(call("KILL_CONTAINER", container_id=sharing, signal=9)[0], 200)
    call("WAIT_CONTAINER", container_id=sharing)
    t.assertEqual(call("REMOVE_CONTAINER", container_id=sharing)[0], 200)

with subtest("what cannot be launched says why"):
    for parts, reason in (
        ({"container_id": named("x", named("gone")), "command": shell("true")}, "cannot be found"),
        ({"container_id": named("x"), "command": {"shell": False, "value": "/no/such"}}, "/no/such"),
        ({"container_id": named("x"), "command": shell("true"), "container": {"type": "DOCKER"}}, "MESOS"),
    ):
        status, text = call("LAUNCH_CONTAINER", **parts)
        t.assertEqual(status, 400)
        t.assertIn(reason, text)
    t.assertEqual(call("WAIT_CONTAINER", container_id=named("x"))[0], 404)

with subtest("a killed agent changes nothing"):
    every = [web["container_id"], plain["container_id"], side, deep, alone, imaged]
    before = [pid_of(container) for container in every]
    for stop in ("kill -9 {pid}", "systemctl restart tepui-agentd.service"):
        run_agent_again(stop)
        one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
        t.assertEqual([pid_of(container) for container in every], before)
        t.assertEqual(one.succeed(f"curl -sf -m 20 http://one:{port}/").strip(), "web 1")
    t.assertEqual(call("LAUNCH_NESTED_CONTAINER", container_id=side, command=shell("true"))[0], 202)

with subtest("containers are listed when they are asked for"):
    def listed(**parts):
        found = json.loads(call("GET_CONTAINERS", **parts)[1])["get_containers"]["containers"]
        return [one_of["container_id"] for one_of in found]

    for container, flag in ((side, "show_nested"), (alone, "show_standalone")):
        t.assertIn(container, listed(**{flag: True}))
        t.assertNotIn(container, listed(**{flag: False}))

with subtest("the end of a container that ended while no agent was there is told"):
    t.assertEqual(call("REMOVE_NESTED_CONTAINER", container_id=side)[0], 500)
    one.succeed("systemctl stop tepui-agentd.service", f"kill -9 {before[3]}")
    one.wait_until_fails(f"kill -0 {before[3]}", timeout=30)
    one.succeed("systemctl start tepui-agentd.service")
    one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
    t.assertEqual(end_of("WAIT_NESTED_CONTAINER", deep), {"exit_status": 9})

with subtest("signals, ends and removal"):
    t.assertEqual(call("KILL_CONTAINER", container_id=alone, signal=15)[0], 200)
    t.assertEqual(end_of("WAIT_CONTAINER", alone), {"exit_status": 15})
    t.assertEqual(call("REMOVE_CONTAINER", container_id=alone)[0], 200)
    one.wait_until_fails(f"test -e {WORK}/containers/alone", timeout=30)
    t.assertEqual(call("WAIT_CONTAINER", container_id=alone)[0], 404)
    t.assertEqual(call("KILL_NESTED_CONTAINER", container_id=side)[0], 200)
    t.assertEqual(end_of("WAIT_NESTED_CONTAINER", side), {"exit_status": 9})
    t.assertEqual(call("REMOVE_NESTED_CONTAINER", container_id=side)[0], 200)
    one.wait_until_fails(f"test -e {sandbox}/tasks/plain/containers/side", timeout=30)
    t.assertEqual(call("WAIT_NESTED_CONTAINER", container_id=side)[0], 404)

with subtest("a pod ends with all that is below it, and leaves nothing"):
    t.assertEqual(call("KILL_CONTAINER", container_id=plain["container_id"])[0], 200)
    retry(lambda _: states("plain")[-1] == "TASK_FAILED" and states("web")[-1] == "TASK_KILLED", 60)
    one.wait_until_fails(f"kill -0 {before[5]}", timeout=60)
    retry(lambda _: one.succeed("ls /run/tepui/netns").strip() == "", 30)
    retry(lambda _: one.succeed(f"ls {WORK}/meta/containers {WORK}/meta/networks | grep -v :").strip() == "", 30)
    one.wait_until_succeeds("nft list table inet tepui0 >/root/table && ! grep elements /root/table", timeout=30)
