EXECUTOR = """
import base64, sys, threading, time
sys.path.insert(0, "/payload/clients")
from pymesos import Executor, MesosExecutorDriver

class Doubler(Executor):
    def launchTask(self, driver, task):
        def work():
            base = {"task_id": task["task_id"], "timestamp": time.time()}
            driver.sendStatusUpdate(dict(base, state="TASK_RUNNING"))
            number = int(base64.b64decode(task["data"]))
            driver.sendFrameworkMessage(base64.b64encode(b"at work").decode())
            data = base64.b64encode(str(2 * number).encode()).decode()
            driver.sendStatusUpdate(dict(base, state="TASK_FINISHED", data=data))
        threading.Thread(target=work).start()

MesosExecutorDriver(Doubler()).run()
"""

FRAMEWORK = """
import base64, sys, threading
sys.path.insert(0, "/payload/clients")
from pymesos import MesosSchedulerDriver, Scheduler

def amounts(cpus, mem):
    return [{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}}]

class Recorder(Scheduler):
    def __init__(self, tasks):
        self.tasks, self.lock = tasks, threading.Lock()

    def say(self, *words):
        print(*words, flush=True)

    def registered(self, driver, framework_id, master_info):
        self.say("registered", framework_id["value"])

    def reregistered(self, driver, master_info):
        self.say("reregistered")
        driver.reconcileTasks([{"task_id": {"value": "sleeper"}}])

    def resourceOffers(self, driver, offers):
        with self.lock:
            for offer in offers:
                wanted, self.tasks = self.tasks, []
                for task in wanted:
                    task["agent_id"] = offer["agent_id"]
                driver.launchTasks(offer["id"], wanted, {"refuse_seconds": 1})

    def statusUpdate(self, driver, status):
        data = base64.b64decode(status["data"]).decode() if "data" in status else ""
        self.say(status["task_id"]["value"], status["state"], data)

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        self.say("message:", base64.b64decode(message).decode())

tasks = [
    {"task_id": {"value": "double"}, "name": "double", "resources": amounts(0.1, 32),
     "data": base64.b64encode(b"21").decode(),
     "executor": {"executor_id": {"value": "doubler"}, "name": "doubler",
                  "command": {"value": "exec python3 /root/executor.py"},
                  "resources": amounts(0.1, 64)}},
    {"task_id": {"value": "sleeper"}, "name": "sleeper", "resources": amounts(0.1, 32),
     "command": {"value": "exec sleep 86400"}},
]
info = {"user": "root", "name": "client", "checkpoint": True, "failover_timeout": 60}
driver = MesosSchedulerDriver(Recorder(tasks), info, "one:5050")
driver.run()
"""


def said(line):
    """Waits until the framework says so."""
    one.wait_until_succeeds(f"grep -qx '{line} *' /root/said", timeout=90)


start_all()
one.wait_for_unit("tepui-control-plane.service")
two.wait_for_unit("tepui-agentd.service")
one.wait_until_succeeds("tepui agent list | grep -w two", timeout=60)
two.succeed(f"cat >/root/executor.py <<'END'\n{EXECUTOR}\nEND")
one.succeed(f"cat >/root/framework.py <<'END'\n{FRAMEWORK}\nEND")
one.succeed("systemd-run --unit=framework sh -c 'exec python3 -u /root/framework.py >/root/said 2>&1'")

with subtest("it subscribes and is seen"):
    one.wait_until_succeeds("grep -q '^registered ' /root/said", timeout=60)
    one.wait_until_succeeds("tepui framework list | grep -w client", timeout=30)

with subtest("a task with its own executor does its work and says what came of it"):
    said("double TASK_RUNNING")
    said("message: at work")
    said("double TASK_FINISHED 42")

with subtest("a command task runs on the other host"):
    said("sleeper TASK_RUNNING")
    two.succeed("pgrep -x -f 'sleep 86400'")

with subtest("it and its task outlive the control plane"):
    pid = two.succeed("pgrep -x -f 'sleep 86400'")
    one.succeed("systemctl kill --signal=SIGKILL tepui-control-plane.service")
    said("reregistered")
    one.wait_until_succeeds("test $(grep -c 'sleeper TASK_RUNNING' /root/said) -ge 2", timeout=90)
    t.assertEqual(two.succeed("pgrep -x -f 'sleep 86400'"), pid)

with subtest("torn down, it leaves nothing"):
    found = one.succeed("sed -n 's/^registered //p' /root/said").split()[0]
    one.succeed(f"curl -sf -d frameworkId={found} http://one:5050/teardown")
    two.wait_until_fails("pgrep -x -f 'sleep 86400'", timeout=60)
