"""Several control planes on one ZooKeeper or etcd of their own, as processes of this host."""

import contextlib
import glob
import json
import pathlib
import signal
import subprocess
import tempfile

from harness import Failed, free_port, listening, request, wait_for

JAVA = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "/usr/share/java/*",
        "org.apache.zookeeper.server.ZooKeeperServerMain"]


class Stack(contextlib.ExitStack):
    """Processes that end, the last first, with the block that uses them."""

    def start(self, log, *words, cwd=None):
        with open(log, "ab") as output:
            process = subprocess.Popen([str(word) for word in words], stdout=output,
                                       stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True)
        self.callback(end, process)
        return process


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_zookeeper(stack, folder):
    """Its address, without a path."""
    if not glob.glob("/usr/share/java/zookeeper.jar"):
        raise Failed("the package zookeeper is missing: ./test installs it")
    folder = pathlib.Path(folder)
    port = free_port()
    settings = folder / "zoo.cfg"
    settings.write_text(f"tickTime=500\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                        f"dataDir={folder}/data\nadmin.enableServer=false\n")
    stack.start(folder / "zookeeper.log", *JAVA, settings, cwd=folder)
    wait_for("ZooKeeper serves", lambda: listening(port), 60)
    return f"zk://127.0.0.1:{port}"


class Planes:
    """Control planes that share a store, and an agent that finds the leader by it."""

    def __init__(self, binaries, folder, store, count, options=(), listen="127.0.0.1"):
        self.bin, self.folder, self.store = pathlib.Path(binaries), pathlib.Path(folder), store
        self.options, self.listen = list(options), listen
        self.ports = [[free_port() for _ in range(3)] for _ in range(count)]
        self.processes = [None] * count
        self.stack = Stack()

    def __enter__(self):
        self.stack.__enter__()
        for number in range(len(self.processes)):
            self.start(number)
        self.leader()
        return self

    def __exit__(self, *failure):
        """Ends every task first: none ends with its agent."""
        with contextlib.suppress(Exception):
            self.clear()
        return self.stack.__exit__(*failure)

    def clear(self):
        url = self.marathon(self.leader(5))
        for app in request("GET", f"{url}/v2/apps")[1]["apps"]:
            request("DELETE", f"{url}/v2/apps{app['id']}?force=true")
        wait_for("all tasks end", lambda: not request("GET", f"{url}/v2/tasks")[1]["tasks"], 20)

    def mesos(self, number):
        return f"http://127.0.0.1:{self.ports[number][0]}"

    def marathon(self, number):
        return f"http://127.0.0.1:{self.ports[number][1]}"

    def start(self, number):
        mesos, marathon, agents = self.ports[number]
        self.processes[number] = self.stack.start(
            self.folder / f"plane-{number}.log", self.bin / "tepui-control-plane",
            "--listen", f"{self.listen}:{mesos}", "--marathon-listen", f"{self.listen}:{marathon}",
            "--agent-listen", f"{self.listen}:{agents}", "--store", self.store,
            "--state-dir", self.folder / f"plane-{number}", *self.options,
        )
        wait_for("it serves", lambda: request("GET", f"{self.mesos(number)}/health")[0] == 200)

    def start_agent(self, resources="cpus:8;mem:8192;disk:10240"):
        port = free_port()
        self.stack.start(
            self.folder / "agent.log", self.bin / "tepui-agentd", "--control-plane", self.store,
            "--listen", f"127.0.0.1:{port}", "--work-dir", self.folder / "agent",
            "--resources", resources,
        )
        wait_for("the agent registers", self.has_agent)

    def has_agent(self):
        state = request("GET", f"{self.mesos(self.leader())}/state")[1]
        return state["activated_slaves"] == 1

    def leads(self, number):
        """Whether that one leads, by its own metrics."""
        try:
            return self.snapshot(number)["master/elected"] == 1.0
        except OSError:
            return False

    def snapshot(self, number):
        return request("GET", f"{self.mesos(number)}/metrics/snapshot", timeout=5)[1]

    def exposition(self, number):
        """The samples for Prometheus, by name with labels."""
        text = request("GET", f"{self.mesos(number)}/metrics", timeout=5)[1]
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def leader(self, seconds=30):
        def found():
            all_leading = [n for n, process in enumerate(self.processes)
                           if process.poll() is None and self.leads(n)]
            return [all_leading[0]] if len(all_leading) == 1 else None

        return wait_for("one of them leads", found, seconds)[0]

    def kill(self, number):
        """kill -9."""
        self.processes[number].kill()
        self.processes[number].wait()

    def cli(self, *arguments, address, timeout=90):
        return subprocess.run([str(self.bin / "tepui"), "--address", address, *arguments],
                              capture_output=True, text=True, timeout=timeout, check=False)

    def logs(self):
        parts = []
        for file in sorted(self.folder.glob("*.log")):
            lines = file.read_text(errors="replace").splitlines()[-15:]
            parts.append(f"--- {file.name}\n" + "\n".join(lines))
        return "\n".join(parts)


@contextlib.contextmanager
def on_zookeeper(binaries, count, path="/mesos", options=(), listen="127.0.0.1"):
    """Control planes on a ZooKeeper, with an agent."""
    with tempfile.TemporaryDirectory(prefix="tepui-ensemble-") as folder, Stack() as stack:
        store = start_zookeeper(stack, folder) + path
        with Planes(binaries, folder, store, count, options, listen) as planes:
            planes.start_agent()
            try:
                yield planes
            except Exception as error:
                raise Failed(f"{error!r}\n{planes.logs()}") from error


def as_json(done):
    """What a command printed; Failed when it failed."""
    if done.returncode != 0:
        raise Failed(f"{done.args[1:]} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)
