import json
import re

WEB = {
    "id": "/web",
    "cmd": "echo shop_orders_total 7 >metrics; exec busybox httpd -f -p $PORT0",
    "cpus": 0.1,
    "mem": 32,
    "disk": 16,
    "instances": 2,
    "constraints": [["hostname", "UNIQUE"]],
    "labels": {"TEPUI_METRICS": "true"},
}
CRASH = {
    "id": "/crash",
    "cmd": "sleep 0.2; exit 1",
    "cpus": 0.1,
    "mem": 16,
    "backoffSeconds": 1,
    "maxLaunchDelaySeconds": 1,
}
BIG = {"id": "/big", "cmd": "exec sleep 1", "cpus": 0.1, "mem": 1000000}
# What nothing here gives rise to: the app that is looked at does not wait, no plugin is loaded.
NOT_HERE = {
    "tepui-app: Waits for",
    "tepui-allocator: Calls",
    "tepui-allocator: Errors",
}


def asked(path, **fields):
    """What Prometheus answers."""
    words = " ".join(f"--data-urlencode '{key}={value}'" for key, value in fields.items())
    answer = json.loads(one.succeed(f"curl -s -G http://one:9090/api/v1/{path} {words}"))
    t.assertEqual(answer["status"], "success", f"{path} {fields}: {answer}")
    return answer["data"]


def query(expr):
    t.assertNotIn("'", expr)
    return asked("query", query=expr)["result"]


def wait_for(expr, count):
    retry(lambda _: len(query(expr)) == count, 90)


def alerts():
    """States by name and app."""
    found = asked("alerts")["alerts"]
    return {
        (alert["labels"]["alertname"], alert["labels"].get("app")): alert["state"]
        for alert in found
    }


def names():
    """What Prometheus knows of our metrics."""
    return {name for name in asked("label/__name__/values") if name.startswith("tepui_")}


def catalogue():
    """Per metric: its type, and what a host needs to have it."""
    lines = one.succeed("cat /etc/shown/metrics.txt").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows}


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("prometheus.service")
for host in (one, two):
    host.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w two", timeout=60)
for app in (WEB, CRASH, BIG):
    one.succeed(f"echo '{json.dumps(app)}' >/root/app.json", "tepui app create -d /root/app.json")

with subtest("both daemons are scraped"):
    wait_for('up{job="tepui-control-plane"} == 1', 1)
    wait_for('up{job="tepui-agent"} == 1', 2)

with subtest("the tasks of an app that wants it are found and scraped"):
    wait_for('shop_orders_total{job="tepui-apps", app="/web"} == 7', 2)
    t.assertEqual(query('up{job="tepui-apps", app!="/web"}'), [])

with subtest("the rules are loaded and sound"):
    groups = asked("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    t.assertGreater(sum(rule["type"] == "alerting" for rule in rules), 15)
    retry(lambda _: all(
        rule["health"] == "ok"
        for group in asked("rules")["groups"] for rule in group["rules"]
    ), 30)  # fmt: skip

with subtest("an app that crashes again and again raises an alert, others do not"):
    retry(lambda _: alerts().get(("TepuiTaskCrashLoop", "/crash")) == "firing", 120)
    t.assertNotIn(("TepuiTaskCrashLoop", "/web"), alerts())
    t.assertNotIn(("TepuiNoLeader", None), alerts())

with subtest("what waits is told with its reason"):
    waits = query('tepui_app_waiting_instances{app="/big"}')
    t.assertEqual([wait["metric"]["reason"] for wait in waits], ["InsufficientMemory"])

with subtest("a task is called what its host calls it"):
    wait_for('tepui_task_info{app="/web", runtime="systemd"}', 2)
    for task in query('tepui_task_info{app="/web"}'):
        named = task["metric"]
        host = one if named["instance"].startswith("one:") else two
        group = host.succeed(f"systemctl show -P ControlGroup '{named['unit']}'").strip()
        t.assertEqual(host.succeed(f"stat -c %i '/sys/fs/cgroup{group}'").strip(), named["cgroup_id"])

with subtest("metrics are those of the catalogue"):
    known = catalogue()
    controllers = one.succeed("cat /sys/fs/cgroup/cgroup.controllers").split()
    there = names()
    histograms = {name for name, (kind, _) in known.items() if kind == "histogram"}
    parts = {name + end for name in histograms for end in ("_bucket", "_sum", "_count")}
    t.assertEqual(there - parts - known.keys(), set())
    must = {
        f"{name}_count" if kind == "histogram" else name
        for name, (kind, needs) in known.items()
        if name.startswith("tepui_") and (not needs or needs in controllers)
    }
    retry(lambda _: must <= names(), 60)

with subtest("every panel is understood, and shows something"):
    empty = set()
    if "cpu" not in controllers:
        NOT_HERE.add("tepui-app: Throttled periods")
    for name in ("cluster", "app", "agent", "allocator"):
        page = json.loads(one.succeed(f"cat /etc/shown/dashboards/{name}.json"))
        for panel in page["panels"]:
            for target in panel.get("targets", []):
                expr = re.sub(r"\$__(rate_interval|range|interval)", "30s", target["expr"])
                expr = expr.replace("$app", "/web").replace("$instance", "one:5051")
                lacking = {
                    metric
                    for metric, (_, needs) in known.items()
                    if needs and needs not in controllers and re.search(rf"\b{metric}(_bucket|_sum|_count)?\b", expr)
                }
                if not query(expr) and not lacking:
                    empty.add(f"{page['uid']}: {panel['title']}")
    t.assertEqual(empty - NOT_HERE, set())

with subtest("what mesos_exporter would say is said"):
    text = one.succeed("curl -sf http://one:5050/metrics/mesos http://two:5051/metrics/mesos")
    for line in (
        "mesos_master_elected 1",
        'mesos_master_slaves_state{state="connected_active"} 2',
        "mesos_slave_registered 1",
    ):
        t.assertIn(line + "\n", text)
    t.assertRegex(text, r'mesos_agent_cpus_limit\{id="web[^"]+",framework_id="[^"]+",source="')

with subtest("a lost agent is seen, and an alert is under way"):
    two.succeed("systemctl stop tepui-agentd.service")
    wait_for('tepui_agents{state="unreachable"} == 1', 1)
    for name in ("TepuiAgentsUnreachable", "TepuiDaemonDown"):
        retry(lambda _: alerts().get((name, None)) == "pending", 30)
