import json

GOOD = {"id": "/good", "cmd": "exec busybox httpd -f -p $PORT0", "cpus": 0.1, "mem": 16}
BAD = {"id": "/bad", "cmd": "exec busybox nc -l -p 8081", "cpus": 0.1, "mem": 16}


def app(name):
    return json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{name}"))["app"]


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)

with subtest("the agent says that the kernel enforces ports"):
    state = json.loads(one.succeed("curl -sf http://one:5050/slaves"))
    t.assertEqual(state["slaves"][0]["attributes"]["port_enforcement"], "kernel")
    kernel = json.loads(one.succeed("curl -sf http://one:5051/tepui/v1/kernel"))
    t.assertEqual(kernel["port_enforcement"]["by"], "kernel")
    t.assertIn("tepui_agent_port_enforcement 1", one.succeed("curl -sf http://one:5051/metrics"))

with subtest("an app listens on the port that it was offered"):
    one.succeed(f"echo '{json.dumps(GOOD)}' >/root/app.json", "tepui app create --timeout 60s /root/app.json")
    one.wait_for_open_port(app("good")["tasks"][0]["ports"][0], addr="one", timeout=60)

with subtest("an app that binds another port fails, and is told which and why"):
    one.succeed(f"echo '{json.dumps(BAD)}' >/root/app.json", "tepui app create -d /root/app.json")
    retry(lambda _: "lastTaskFailure" in app("bad"), 60)
    message = app("bad")["lastTaskFailure"]["message"]
    t.assertRegex(message, r"8081")
    one.fail("nc -z one 8081")
    t.assertEqual(app("good")["tasksRunning"], 1)

with subtest("it is refused while no agent runs, too"):
    task = app("good")["tasks"][0]["ports"][0]
    one.succeed("systemctl kill --signal=SIGKILL tepui-agentd.service")
    one.wait_for_open_port(task, addr="one", timeout=60)
    one.fail("nc -z one 8081")
