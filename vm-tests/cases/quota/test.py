import json

MB = 1 << 20
HOSTS = {"ext4": ext4, "xfs": xfs}
MAKE = {
    "ext4": "mkfs.ext4 -q -O quota,project -E quotatype=prjquota /root/disk.img",
    "xfs": "mkfs.xfs -q /root/disk.img",
}
REFUSAL = {"ext4": "Disk quota exceeded", "xfs": "No space left on device"}
# What it is told goes elsewhere: XFS takes no more of its output either.
FILL = "head -c 20M /dev/zero 2>/tmp/refused >big; exec sleep 3333"


def ask(path):
    return json.loads(plane.succeed(f"curl -sf http://{path}"))


def create(name, host, cmd, **more):
    """Starts an app of one instance on a host; one that fails stays away."""
    app = {
        "id": f"/{name}",
        "cmd": cmd,
        "cpus": 0.1,
        "mem": 32,
        "disk": 10,
        "user": "nobody",
        "constraints": [["hostname", "LIKE", host]],
        "backoffSeconds": 3600,
        **more,
    }
    document = json.dumps(app).replace("'", "'\\''")
    plane.succeed(f"echo '{document}' >/root/app.json", "tepui app create -d /root/app.json")


def delete(name, host=None):
    """Ends an app, and waits until its sandbox is gone."""
    plane.succeed(f"tepui app delete --force /{name}")
    if host is not None:
        host.wait_until_fails(f"ls -d /srv/work/slaves/*/frameworks/*/executors/{name}.*", timeout=120)


def failure(name):
    """The message of an app's last failure."""
    found = {}

    def look(_):
        app = ask(f"plane:8080/v2/apps/{name}")["app"]
        found.update(app.get("lastTaskFailure", {}))
        return bool(found)

    retry(look, 120)
    return found["message"]


def running(name):
    plane.wait_until_succeeds(
        f"curl -sf http://plane:8080/v2/apps/{name} | grep '\"tasksRunning\":1'", timeout=120
    )


def sandbox(name, host):
    return host.succeed(f"ls -d /srv/work/slaves/*/frameworks/*/executors/{name}.*/runs/latest").strip()


def statistics(name):
    """What the only run of a host uses."""
    containers = ask(f"{name}:5051/monitor/statistics")
    return containers[0]["statistics"] if containers else {}


def project(host, place):
    return host.succeed(f"lsattr -pd $(realpath {place})").split()[0]


def leave(host, name):
    """What a container meets that gives its sandbox another project, or has new files get none."""
    words = "python3 /usr/local/share/leave.py $MESOS_SANDBOX"
    docker = {"image": "docker-archive:/root/plain.tar", "network": "HOST"}
    usr = {"containerPath": "/usr", "hostPath": "/usr", "mode": "RO"}
    container = {"type": "DOCKER", "docker": docker, "volumes": [usr]}
    create("leaver", name, f"{words} >$MESOS_SANDBOX/answer; exec sleep 7777", container=container, user="root")
    running("leaver")
    place = sandbox("leaver", host)
    host.wait_until_succeeds(f"test -s {place}/answer", timeout=60)
    t.assertIn(project(host, place), ("7", "8"))
    answer = host.succeed(f"cat {place}/answer").split()
    delete("leaver", host)
    return answer


start_all()
plane.wait_for_unit("tepui-control-plane.service")
for name, host in HOSTS.items():
    host.wait_for_unit("tepui-agentd.service")
    with subtest(f"{name}: without project quotas the agent says what is missing"):
        lacking = json.loads(host.succeed("curl -sf http://localhost:5051/flags"))["flags"]
        t.assertIn(f"disk/{name}: ", lacking["isolation_missing"])
        t.assertNotIn(f"disk/{name}", lacking["isolation"])
    host.succeed(
        "systemctl stop tepui-agentd.service",
        "rm -rf /srv/work/*",
        "truncate -s 400M /root/disk.img",
        "modprobe loop",
        MAKE[name],
        "mount -o loop,prjquota /root/disk.img /srv/work 2>&1",
        "systemctl start tepui-agentd.service",
    )
    plane.wait_until_succeeds(f"tepui agent list | grep -w {name}", timeout=60)

for name, host in HOSTS.items():
    with subtest(f"{name}: the agent has the file system's isolator"):
        flags = json.loads(host.succeed("curl -sf http://localhost:5051/flags"))["flags"]
        t.assertIn(f"disk/{name}", flags["isolation"].split(","))

    with subtest(f"{name}: who writes more than its disk is refused, and goes on"):
        create("full", name, FILL)
        running("full")
        place = sandbox("full", host)
        host.wait_until_succeeds(f"grep '{REFUSAL[name]}' /tmp/refused", timeout=60)
        size = int(host.succeed(f"stat -c %s {place}/big"))
        t.assertTrue(9 * MB < size <= 10 * MB, size)
        host.succeed("pgrep -x -f 'sleep 3333'")

    with subtest(f"{name}: what it holds is told without looking at its files"):
        retry(lambda _: statistics(name).get("disk_used_bytes", 0) > 9 * MB, 60)
        t.assertLessEqual(statistics(name)["disk_used_bytes"], 10 * MB)
        t.assertEqual(statistics(name)["disk_limit_bytes"], 10 * MB)
        metrics = host.succeed("curl -sf http://localhost:5051/metrics")
        t.assertRegex(metrics, r"(?m)^tepui_task_disk_limit_bytes\{.*\} 10485760$")
        t.assertRegex(metrics, r"(?m)^tepui_task_disk_bytes\{.*\} 1\d{7}$")

    with subtest(f"{name}: a new agent finds the project again"):
        before = project(host, place)
        t.assertIn(before, ("7", "8"))
        host.succeed("systemctl restart tepui-agentd.service")
        plane.wait_until_succeeds(f"tepui agent list | grep -w {name}", timeout=60)
        t.assertEqual(project(host, place), before)
        retry(lambda _: statistics(name).get("disk_used_bytes", 0) > 9 * MB, 60)

    with subtest(f"{name}: ids are used again when their sandboxes are removed, not before"):
        create("second", name, "exec sleep 4444")
        running("second")
        t.assertEqual({project(host, sandbox(one, host)) for one in ("full", "second")}, {"7", "8"})
        create("third", name, "exec sleep 5555")
        t.assertIn("all 2 project ids of xfs_project_range are in use", failure("third"))
        delete("third")
        delete("second", host)
        create("fourth", name, "exec sleep 6666")
        running("fourth")
        t.assertNotEqual(project(host, sandbox("fourth", host)), before)
        delete("fourth", host)
        delete("full", host)
        host.succeed("rm /tmp/refused")

for name, host in HOSTS.items():
    with subtest(f"{name}: root of a container does not leave its project"):
        host.copy_from_host("vm-tests/cases/quota/leave.py", "/usr/local/share/leave.py")
        host.copy_from_host("vm-tests/cases/hostile-image/image.py", "/root/image.py")
        host.succeed("python3 /root/image.py /root/plain.tar", "mkdir -p /srv/work/free")
        # Where nobody filters it the kernel lets the owner do it, so a refusal says something.
        t.assertEqual(
            host.succeed("python3 /usr/local/share/leave.py /srv/work/free").split(), ["read", "left", "shed"]
        )
        host.succeed("rmdir /srv/work/free")
        t.assertEqual(leave(host, name), ["read", "EPERM", "EPERM"])

with subtest("root, whom ext4 refuses nothing, is ended when it is seen to hold more"):
    create("root", "ext4", FILL, user="root")
    t.assertRegex(failure("root"), r"^Disk usage \(\d+\w+\) exceeds quota \(10MB\)")
    delete("root", ext4)
    ext4.succeed("rm /tmp/refused")

with subtest("root is refused by XFS like anybody"):
    create("root", "xfs", FILL, user="root")
    running("root")
    xfs.wait_until_succeeds(f"grep '{REFUSAL['xfs']}' /tmp/refused", timeout=60)
    delete("root", xfs)
    xfs.succeed("rm /tmp/refused")

for name, host in HOSTS.items():
    with subtest(f"{name}: where the operator wants it so, who exceeds its disk is ended"):
        host.succeed(
            "echo 'xfs_kill_containers = true' >>/etc/tepui/agentd.toml",
            "systemctl restart tepui-agentd.service",
        )
        plane.wait_until_succeeds(f"tepui agent list | grep -w {name}", timeout=60)
        create("killed", name, FILL)
        t.assertRegex(failure("killed"), r"^Disk usage \(\d+\w+\) exceeds quota \(10MB\)")
        delete("killed", host)
