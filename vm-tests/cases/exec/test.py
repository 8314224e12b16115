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

with subtest("it runs in the control group of the unit"):
    groups = one.succeed("tepui exec talk/1 -- cat /proc/self/cgroup")
    t.assertRegex(groups, r"tepui-task-talk\S*\.service")

with subtest("an instance that is not there is an error that says so"):
    status, output = one.execute("tepui exec talk/9 -- true 2>&1")
    t.assertNotEqual(status, 0)
    t.assertIn("talk", output)

with subtest("the task is none the wiser"):
    t.assertEqual(one.succeed("tepui app list | grep -w /talk | grep -c 2/2").strip(), "1")
