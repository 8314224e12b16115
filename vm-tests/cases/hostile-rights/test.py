import json
import shlex

AGENT = "tepui-agentd.service"
ADDRESS = "192.168.1.1"
SCRIPT = "/usr/local/share/attacks.py"
# What a task of root may do because the files are root's: who runs strangers' tasks gives them a user or
# an image.
OWNED_BY_ROOT = {
    "F-69 the agent's records",
    "F-71 environment of the agent",
    "F-71 program of the agent overwritten",
    "the host's passwords",
}
# Refusals that do not come from the confinement, so they are there without it.
ALWAYS = {"F-71 a descriptor beyond standard error", "T-52 inheritable capabilities"}
# What the kernel of these hosts does not have answers with an error of its own.
ABSENT = {"ENOSYS", "EAFNOSUPPORT"}


def parsed(output):
    lines = [line.split(": ", 1) for line in output.splitlines() if ": " in line]
    return {name: answer for name, answer in lines}


def attacked_by(name, user):
    """What a task of that user met."""
    variables = {"VICTIM": agent, "SETUID": "/usr/local/bin/setuid-id", "ADDRESS": ADDRESS}
    app = {
        "id": f"/{name}", "cpus": 0.1, "mem": 64, "user": user, "env": variables,
        "cmd": f"python3 {SCRIPT} >answers; touch finished; sleep 1000",
    }  # fmt: skip
    text = shlex.quote(json.dumps(app))
    one.succeed(f"printf %s {text} >/root/app.json", "tepui app create /root/app.json --timeout 60s")
    task = json.loads(one.succeed(f"curl -sf http://one:8080/v2/apps/{name}/tasks"))["tasks"][0]["id"]
    sandbox = one.succeed(f"echo /var/lib/tepui/agent/slaves/*/frameworks/*/executors/{task}/runs/latest").strip()
    one.wait_until_succeeds(f"test -e {sandbox}/finished", timeout=120)
    print(one.succeed(f"cat {sandbox}/stderr"))
    return parsed(one.succeed(f"cat {sandbox}/answers"))


start_all()
one.wait_for_unit("tepui-control-plane.service")
one.wait_for_unit(AGENT)
one.wait_until_succeeds("tepui agent list | grep -w one", timeout=60)
agent = one.get_unit_property(AGENT, "MainPID")
one.copy_from_host("vm-tests/cases/hostile-rights/attacks.py", SCRIPT)
one.succeed(
    "install -m 4755 /usr/bin/id /usr/local/bin/setuid-id",
    "cp /usr/local/bin/tepui-shim /usr/local/bin/tepui-shim.victim",
)

with subtest("without confinement everything gets through, so that a refusal says something"):
    variables = f"VICTIM={agent} SETUID=/usr/local/bin/setuid-id ADDRESS={ADDRESS}"
    plain = parsed(one.succeed(f"{variables} PLAIN=1 python3 {SCRIPT}"))
    t.assertGreater(len(plain), 25)
    shut = {name: answer for name, answer in plain.items() if answer != "OPEN" and answer not in ABSENT}
    t.assertEqual(set(shut) - ALWAYS, set(), shut)

for user in ("nobody", "root"):
    with subtest(f"nothing gets through for a task of {user}"):
        answers = attacked_by(f"hostile-{user}", user)
        print("\n".join(f"{name}: {answer}" for name, answer in answers.items()))
        t.assertEqual(answers.keys(), plain.keys())
        gone_through = {name for name, answer in answers.items() if answer == "OPEN"}
        t.assertEqual(gone_through, OWNED_BY_ROOT & gone_through if user == "root" else set())

with subtest("the agent ran nothing for tasks, and everything for the operator"):
    one.succeed("test -e /run/hostile-by-plain", "test ! -e /run/hostile-by-task")
    known = one.succeed("curl -sf 'http://localhost:5051/containers?show_standalone=true'")
    for way in ("v4", "v6", "mapped", "own"):
        t.assertRegex(known, f"hostile-by-plain-[0-9]+-{way}\\b")
    t.assertNotIn("hostile-by-task", known)
    told = json.loads(one.succeed("curl -sf http://localhost:5051/tepui/v1/kernel"))
    t.assertEqual(told["callers"], {"by": "kernel", "reason": None})

with subtest("the agent went through all of it without a restart"):
    t.assertEqual(one.get_unit_property(AGENT, "MainPID"), agent)
