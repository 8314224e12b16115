import json

REGISTRY = "127.0.0.1:5000"
MARATHON = "http://one:8080/v2/apps"


def seed(tag):
    return {
        "id": "/web",
        "cpus": 0.1,
        "mem": 32,
        "instances": 1,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": f"{REGISTRY}/web:{tag}",
                "network": "BRIDGE",
                "portMappings": [
                    {"containerPort": 80, "hostPort": 0, "servicePort": 10080, "protocol": "tcp"}
                ],
            },
        },
        "healthChecks": [
            {
                "protocol": "HTTP",
                "path": "/",
                "portIndex": 0,
                "gracePeriodSeconds": 30,
                "intervalSeconds": 1,
                "timeoutSeconds": 5,
                "maxConsecutiveFailures": 3,
            },
            # The agent asks for this one, inside the container's network: port 80.
            {
                "protocol": "MESOS_HTTP",
                "path": "/",
                "portIndex": 0,
                "gracePeriodSeconds": 30,
                "intervalSeconds": 1,
                "timeoutSeconds": 5,
                "maxConsecutiveFailures": 3,
                "delaySeconds": 0,
            },
        ],
    }


def put(app):
    document = json.dumps(app).replace("'", "'\\''")
    body = f"-H 'Content-Type: application/json' -d '{document}'"
    one.succeed(f"curl -sf -X PUT {body} '{MARATHON}/{app['id']}?force=true'")


def remove(app):
    one.succeed(f"curl -sf -X DELETE '{MARATHON}/{app['id']}?force=true'")


def tasks(app):
    return json.loads(one.succeed(f"curl -sf {MARATHON}/{app['id']}/tasks"))["tasks"]


def healthy(app):
    def look(is_last):
        if is_last:
            print(one.succeed(f"curl -sf '{MARATHON}/{app['id']}?embed=app.lastTaskFailure'"))
        results = [task.get("healthCheckResults", []) for task in tasks(app)]
        if len(results) != 1 or len(results[0]) != len(app["healthChecks"]):
            return False
        return all(result["alive"] for result in results[0])

    retry(look, 120)
    return tasks(app)[0]


def wait_for_log(app, text):
    one.wait_until_succeeds(f"tepui app logs {app['id']} | grep -F '{text}'", timeout=90)


def first_process():
    return one.succeed("pgrep -f '[h]ttpd -f -p 80'").strip()


def run_agent_again(stop):
    pid = one.get_unit_property("tepui-agentd.service", "MainPID")
    one.succeed(stop.format(pid=pid))
    one.wait_until_succeeds(
        f"p=$(systemctl show -P MainPID tepui-agentd.service); test $p != 0 -a $p != {pid}"
        " && systemctl is-active tepui-agentd.service",
        timeout=60,
    )


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
one.succeed("systemd-run --unit registry /payload/bin/docker-registry serve /payload/registry.yml")
one.wait_for_open_port(5000, timeout=60)
# Where the kernel's parameters are read-only, the host's own network has its still to be set.
one.succeed(
    "for p in /proc/sys /proc/sys/net; do mount -o remount,bind,rw $p 2>/dev/null || true; done",
    "systemctl restart tepui-agentd.service",
)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
one.succeed("ip address add fd00:1::1/64 dev eth1 nodad")

with subtest("the seed's app is reached through its mapped port, by both families"):
    app = seed("1")
    put(app)
    task = healthy(app)
    port = task["ports"][0]
    for address in ("one", "127.0.0.1", "[fd00:1::1]"):
        t.assertEqual(one.succeed(f"curl -sf -m 20 http://{address}:{port}/").strip(), "web 1")
    addresses = [address["ipAddress"] for address in task["ipAddresses"]]
    t.assertEqual(len(addresses), 2)
    t.assertTrue(addresses[0].startswith("10.218."), addresses)
    t.assertEqual(one.succeed(f"curl -sf -m 20 http://{addresses[0]}/").strip(), "web 1")

with subtest("an update brings the second image"):
    app = seed("2")
    put(app)

    def answers(_):
        found = [each["ports"][0] for each in tasks(app) if each["state"] == "TASK_RUNNING"]
        if len(found) != 1:
            return False
        return "web 2" in one.execute(f"curl -sf -m 20 http://one:{found[0]}/")[1]

    retry(answers, 120)

with subtest("a container outlives its agent"):
    one.wait_until_succeeds("test $(pgrep -fc '[h]ttpd -f -p 80') = 1", timeout=60)
    before, port = first_process(), healthy(app)["ports"][0]
    for stop in ("kill -9 {pid}", "systemctl restart tepui-agentd.service"):
        run_agent_again(stop)
        t.assertEqual(first_process(), before)
        t.assertEqual(one.succeed(f"curl -sf -m 20 http://one:{port}/").strip(), "web 2")

with subtest("rules and bridge that somebody takes away are put back at once, mapped ports with them"):

    def put_back(what):
        metrics = one.succeed("curl -sf http://one:5051/metrics")
        (line,) = [m for m in metrics.split("\n") if m.startswith(f'tepui_agent_network_repairs_total{{what="{what}"')]
        return int(line.split()[-1])

    for what, harm in (
        ("rules", "nft flush ruleset"),
        ("bridge", "ip link delete tepui0"),
        ("rules", "nft delete table inet tepui0"),
    ):
        before = put_back(what)
        one.succeed(harm)
        retry(lambda _: put_back(what) > before, 30)
        for address in ("one", "127.0.0.1", "[fd00:1::1]"):
            t.assertEqual(one.succeed(f"curl -sf -m 20 http://{address}:{port}/").strip(), "web 2")
    one.succeed("journalctl -u tepui-agentd.service | grep 'rules of nftables, put back'")
    one.succeed("journalctl -u tepui-agentd.service | grep 'bridge of containers, put back'")

with subtest("a check asks inside the network of a container, whatever the host maps to it"):
    checked = {
        "id": "/checked",
        "cpus": 0.1,
        "mem": 32,
        "networks": [{"mode": "container/bridge"}],
        "container": {
            "type": "MESOS",
            "docker": {"image": f"{REGISTRY}/web:1"},
            "portMappings": [{"containerPort": 80, "hostPort": 0}],
        },
        "check": {"http": {"portIndex": 0, "path": "/"}, "delaySeconds": 0, "intervalSeconds": 1},
    }
    put(checked)
    get_tasks = (
        "curl -sf -H 'Content-Type: application/json' -H 'Accept: application/json'"
        """ -d '{"type": "GET_TASKS"}' http://one:5050/api/v1"""
    )

    def asked(_):
        found = json.loads(one.succeed(get_tasks))["get_tasks"].get("tasks", [])
        # One that has just been launched has no status yet.
        found = [task.get("statuses", [])[-1:] for task in found if task["name"] == "checked"]
        found = [status for last in found for status in last]
        answers = [status.get("check_status", {}).get("http", {}) for status in found]
        return [answer.get("status_code") for answer in answers] == [200]

    retry(asked, 90)
    remove(checked)
    one.wait_until_succeeds("test $(pgrep -fc '[h]ttpd -f -p 80') = 1", timeout=60)

with subtest("a container that dies is replaced"):
    former = healthy(app)["id"]
    one.succeed(f"kill -9 {first_process()}")
    retry(lambda _: [each["id"] for each in tasks(app)] not in ([], [former]), 120)
    task = healthy(app)
    t.assertEqual(one.succeed(f"curl -sf -m 20 http://one:{task['ports'][0]}/").strip(), "web 2")

with subtest("host network, volumes, an ordinary user, a read-only root, a forced pull"):
    one.succeed("mkdir -p /srv/data", "echo from the host >/srv/data/file")
    line = (
        "id -u; cat /data/file; touch /data/x || echo volume-kept; touch /x || echo root-kept;"
        " echo written >$MESOS_SANDBOX/own; cat own; exec sleep 1000"
    )
    odd = {
        "id": "/odd",
        "cmd": f"cd $MESOS_SANDBOX; {line}",
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": f"{REGISTRY}/web:1",
                "network": "HOST",
                "forcePullImage": True,
                "parameters": [
                    {"key": "user", "value": "4711"},
                    {"key": "read-only", "value": "true"},
                ],
            },
            "volumes": [{"containerPath": "/data", "hostPath": "/srv/data", "mode": "RO"}],
        },
    }
    put(odd)
    for text in ("4711", "from the host", "volume-kept", "root-kept", "written"):
        wait_for_log(odd, text)
    remove(odd)

with subtest("what root of a container leaves in its sandbox is out of the reach of others"):
    leaves = seed("1")
    leaves["id"], leaves["healthChecks"] = "/leaves", []
    left = "$MESOS_SANDBOX/busybox-left"
    leaves["cmd"] = f"cp /bin/busybox {left} && chmod 4777 {left} && chmod 777 $MESOS_SANDBOX && echo opened && sleep 1000"
    put(leaves)
    wait_for_log(leaves, "opened")
    found = one.succeed("find /run/tepui-agent/slaves -name busybox-left -perm -4001").strip()
    t.assertEqual(one.succeed(f"{found} id -u").strip(), "0")
    # setpriv itself starts its program with its own rights.
    stranger = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c"
    t.assertIn("Permission denied", one.fail(f"{stranger} '{found} id -u 2>&1 || exit 1'"))
    remove(leaves)

with subtest("what cannot be started says why"):
    bad = seed("1")
    bad["id"], bad["args"] = "/bad", ["/no/such/program"]
    put(bad)
    one.wait_until_succeeds(
        f"curl -sf '{MARATHON}//bad?embed=app.lastTaskFailure' | grep -F 'does not exist in the container'",
        timeout=90,
    )
    remove(bad)

with subtest("a MySQL server answers through its mapped port"):
    secret = {"MYSQL_ROOT_PASSWORD": "secret", "MYSQL_DATABASE": "shop"}
    ask = "mariadb -u root -psecret"
    mysql = {
        "id": "/mysql",
        "cpus": 0.5,
        "mem": 256,
        "env": secret,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": f"{REGISTRY}/mysql:1",
                "network": "BRIDGE",
                "portMappings": [{"containerPort": 3306, "hostPort": 0, "protocol": "tcp"}],
            },
        },
        "healthChecks": [
            {
                "protocol": "COMMAND",
                "command": {"value": f"{ask} -e 'select 1'"},
                "gracePeriodSeconds": 300,
                "intervalSeconds": 2,
                "timeoutSeconds": 20,
                "maxConsecutiveFailures": 3,
            }
        ],
    }
    put(mysql)
    port = healthy(mysql)["ports"][0]
    client = {
        "id": "/client",
        "cmd": f"{ask} -h 192.168.1.1 -P {port} -e 'select 6*7' shop; exec sleep 1000",
        "cpus": 0.1,
        "mem": 64,
        "container": {
            "type": "DOCKER",
            "docker": {"image": f"{REGISTRY}/mysql:1", "network": "HOST"},
        },
    }
    put(client)
    wait_for_log(client, "42")
    remove(client)
    remove(mysql)

with subtest("a registry with a login gives to who has it, and whoever has not is told so, without the password"):
    # As `htpasswd -nbB shop geheim` says it.
    one.succeed("cat >/root/htpasswd <<'END'\nshop:$2y$04$hQFOHH5Qc826R6NMhMRb0eQUfghaAkPhsxd9os8b1Im9hyaSLgz36\nEND")
    settings = {"HTTP_ADDR": "127.0.0.1:5001", "AUTH": "htpasswd", "AUTH_HTPASSWD_REALM": "shop"}
    settings["AUTH_HTPASSWD_PATH"] = "/root/htpasswd"
    words = " ".join(f"--setenv=REGISTRY_{name}={value}" for name, value in settings.items())
    one.succeed(f"systemd-run --unit locked {words} /payload/bin/docker-registry serve /payload/registry.yml")
    one.wait_for_open_port(5001, timeout=60)
    one.succeed("sed -i '1i docker_config = \"/root/logins.json\"' /etc/tepui/agentd.toml")

    def log_in(password):
        encoded = one.succeed(f"printf %s shop:{password} | base64").strip()
        logins = {"auths": {"127.0.0.1:5001": {"auth": encoded}}}
        one.succeed(f"echo '{json.dumps(logins)}' >/root/logins.json")
        run_agent_again("systemctl restart tepui-agentd.service")
        return encoded

    locked = seed("1")
    locked["id"], locked["backoffSeconds"] = "/locked", 3600
    locked["container"]["docker"]["image"] = "127.0.0.1:5001/web:1"
    secrets = ["falsch", log_in("falsch")]
    put(locked)
    last = f"curl -sf '{MARATHON}//locked?embed=app.lastTaskFailure'"
    one.wait_until_succeeds(f"{last} | grep -F lastTaskFailure", timeout=90)
    message = json.loads(one.succeed(last))["app"]["lastTaskFailure"]["message"]
    t.assertIn("failed to pull image '127.0.0.1:5001/web:1'", message)
    t.assertIn("to the given credential: authentication required", message)
    remove(locked)
    secrets += ["geheim", log_in("geheim")]
    put(locked)
    port = healthy(locked)["ports"][0]
    t.assertEqual(one.succeed(f"curl -sf -m 20 http://one:{port}/").strip(), "web 1")
    told = message + one.succeed(
        "journalctl -u tepui-agentd.service -u tepui-control-plane.service -o cat",
        "curl -sf http://one:5051/state http://one:5051/flags http://one:5050/state",
    )
    t.assertEqual([secret for secret in secrets if secret in told], [])
    remove(locked)

with subtest("nothing is left behind"):
    remove(app)
    one.wait_until_fails("pgrep tepui-runtime", timeout=60)
    retry(lambda _: one.succeed("ls /run/tepui/netns").strip() == "", 30)
    retry(lambda _: one.succeed("ls /run/tepui-agent/meta/containers").strip() == "", 30)
    one.wait_until_succeeds("nft list table inet tepui0 >/root/table && ! grep elements /root/table", timeout=30)
    one.wait_until_fails("ip -brief link show type veth | grep ^tp", timeout=30)
    one.wait_until_fails("mount | grep '^overlay on /run'", timeout=30)
