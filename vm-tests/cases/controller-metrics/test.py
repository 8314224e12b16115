import json
import re

CONTROLLERS = ("cpu", "memory")
APP = {"id": "/some", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 32}


def marked():
    """The metrics that a host has with these controllers, and their types."""
    lines = one.succeed("cat /etc/shown/metrics.txt").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: row[1] for row in rows if len(row) > 2 and row[2] in CONTROLLERS}


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
one.succeed(f"echo '{json.dumps(APP)}' >/run/app.json", "tepui app create -d /run/app.json")
wanted = marked()
t.assertGreater(len(wanted), 0)

with subtest("every metric of the catalogue that needs a controller is told of a task"):
    lacking: dict[str, str | None] = {}

    def all_there(_):
        text = one.succeed("curl -sf http://one:5051/metrics")
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        there = {name for name in wanted if re.search(rf'^{name}{{[^}}]*app="/some"', text, re.M)}
        lacking.clear()
        lacking.update({name: types.get(name) for name in wanted.keys() - there})
        return not lacking and all(types[name] == kind for name, kind in wanted.items())

    try:
        retry(all_there, 90)
    finally:
        t.assertEqual(lacking, {})
