"""Pods and sessions, over nothing but the v1 HTTP APIs of control plane and agent."""

import base64
import contextlib
import http.client
import json
import socket
import threading

from harness import Failed, wait_for
from scheduler import Framework

RECORDIO = "application/recordio"
JSON = "application/json"


AMOUNTS = [{"name": name, "type": "SCALAR", "scalar": {"value": value}}
           for name, value in (("cpus", 0.05), ("mem", 32), ("disk", 16))]
"""Of each task, and of the pod itself."""


def launch_group(framework, name, commands):
    """A pod of these tasks on the next offer."""
    offer = framework.offer()
    tasks = [{"name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"],
              "resources": AMOUNTS, "command": {"value": command}}
             for task, command in commands.items()]
    executor = {"type": "DEFAULT", "executor_id": {"value": name},
                "framework_id": {"value": framework.id}, "resources": AMOUNTS}
    operation = {"type": "LAUNCH_GROUP", "launch_group": {
        "executor": executor, "task_group": {"tasks": tasks}}}
    framework.call({"type": "ACCEPT", "accept": {
        "offer_ids": [offer["id"]], "operations": [operation], "filters": {"refuse_seconds": 0}}})


def statuses(framework, task):
    return [status for _, status in framework.updates if status["task_id"]["value"] == task]


def container_of(framework, task):
    told = [status for status in statuses(framework, task) if status["state"] == "TASK_RUNNING"]
    container = told[0]["container_status"]["container_id"]
    if "parent" not in container:
        raise Failed(f"{task} is no task of a pod: {container}")
    return container


def record(message):
    text = json.dumps(message).encode()
    return str(len(text)).encode() + b"\n" + text


class Agent:
    """The agent's API."""

    def __init__(self, cluster):
        self.port = cluster.agent_port

    def send(self, call, timeout=60, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        head = {"Content-Type": JSON, "Accept": JSON, **headers}
        connection.request("POST", "/api/v1", json.dumps(call), head)
        return connection.sock, connection.getresponse()

    def call(self, kind, container, status=200, **more):
        _, answer = self.send({"type": kind, kind.lower(): {"container_id": container, **more}})
        text = answer.read()
        if answer.status != status:
            raise Failed(f"{kind}: {answer.status} instead of {status}: {text}")
        return json.loads(text).get(kind.lower()) if text and status == 200 else None

    def containers(self):
        _, answer = self.send({"type": "GET_CONTAINERS"})
        return json.loads(answer.read())["get_containers"].get("containers", [])

    def wait(self, container):
        return self.call("WAIT_NESTED_CONTAINER", container)

    def attach_output(self, container):
        return Printed(*self.send(
            {"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": container}},
            Accept=RECORDIO, **{"Message-Accept": JSON}))

    def session(self, container, line, size=None):
        """A shell beside a task: what it prints; with a terminal of this size."""
        info = {"type": "MESOS"}
        if size:
            info["tty_info"] = {"window_size": {"rows": size[0], "columns": size[1]}}
        arguments = ["sh", "-c", line] if line else ["sh"]
        return Printed(*self.send({
            "type": "LAUNCH_NESTED_CONTAINER_SESSION",
            "launch_nested_container_session": {
                "container_id": container, "container": info,
                "command": {"shell": False, "value": "sh", "arguments": arguments}},
        }, Accept=RECORDIO, **{"Message-Accept": JSON}))


class Printed:
    """What a session prints, read by a thread until it is over."""

    def __init__(self, sock, answer):
        if answer.status != 200:
            raise Failed(f"no session: {answer.status} {answer.read()}")
        self.sock, self.answer = sock, answer
        self.out, self.err = b"", b""
        self.over = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while True:
                length = b""
                while (byte := self.answer.read(1)) != b"\n":
                    if not byte:
                        return self._end()
                    length += byte
                said = json.loads(self.answer.read(int(length)))
                data = said.get("data", {})
                piece = base64.b64decode(data.get("data", ""))
                if data.get("type") == "STDOUT":
                    self.out += piece
                if data.get("type") == "STDERR":
                    self.err += piece
        self._end()

    def _end(self):
        self.over = True

    def shows(self, text):
        with contextlib.suppress(Failed):
            wait_for(text, lambda: text.encode() in self.out or self.over, 30)
        if text.encode() not in self.out:
            raise Failed(f"no '{text}' in {self.out} {self.err}")

    def ends(self):
        wait_for("the session is over", lambda: self.over, 30)
        return self.out

    def leave(self):
        """As a client that dies."""
        self.sock.shutdown(socket.SHUT_RDWR)


class Input:
    """ATTACH_CONTAINER_INPUT: one request whose body goes on."""

    def __init__(self, agent, container):
        self.connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
        self.connection.putrequest("POST", "/api/v1")
        for name, value in (("Content-Type", RECORDIO), ("Message-Content-Type", JSON),
                            ("Accept", JSON), ("Transfer-Encoding", "chunked")):
            self.connection.putheader(name, value)
        self.connection.endheaders()
        self._say({"type": "CONTAINER_ID", "container_id": container})

    def _say(self, what):
        data = record({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": what})
        self.connection.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _io(self, what):
        self._say({"type": "PROCESS_IO", "process_io": what})

    def type(self, text):
        data = base64.b64encode(text.encode()).decode()
        self._io({"type": "DATA", "data": {"type": "STDIN", "data": data}})

    def resize(self, rows, columns):
        size = {"window_size": {"rows": rows, "columns": columns}}
        self._io({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": size}})

    def beat(self):
        self._io({"type": "CONTROL", "control": {
            "type": "HEARTBEAT", "heartbeat": {"interval": {"nanoseconds": 30_000_000_000}}}})

    def end(self):
        """The answer to it all."""
        self.connection.send(b"0\r\n\r\n")
        return self.connection.getresponse().status


def a_pod_runs_takes_sessions_and_falls_as_one(cluster):
    framework, agent = Framework(cluster, "pods"), Agent(cluster)
    launch_group(framework, "pod", {
        "steady": "echo shared >../../shared; exec sleep 1000",
        "fragile": "while [ ! -e go ]; do sleep 0.1; done; exit 7",
    })
    framework.when("TASK_RUNNING", ["steady", "fragile"])
    steady, fragile = container_of(framework, "steady"), container_of(framework, "fragile")
    if steady["parent"] != fragile["parent"]:
        raise Failed(f"two pods: {steady} {fragile}")

    session = {"value": "terminal", "parent": steady}
    shell = agent.session(session, "", size=(40, 100))
    watched = agent.attach_output(session)
    words = Input(agent, session)
    words.type("stty size; echo task=$MESOS_TASK_ID; test -t 0 && echo answer=$((6*7))\n")
    for text in ("40 100", "task=steady", "answer=42"):
        shell.shows(text)
    words.beat()
    words.resize(50, 132)
    words.type("stty size\n")
    shell.shows("50 132")
    words.type("sh -c 'echo under''way; while :; do sleep 0.1; done'\n")
    shell.shows("underway")
    words.type("\x03")
    words.type("echo status=$?; exit 3\n")
    shell.shows("status=130")
    shell.ends()
    watched.shows("answer=42")
    watched.ends()
    waited = agent.wait(session)
    if waited.get("exit_status") != 3 << 8:
        raise Failed(f"the end of the session: {waited}")
    if words.end() != 200:
        raise Failed("the input was not taken")

    plain = {"value": "plain", "parent": steady}
    piped = agent.session(plain, "read line; echo got $line; echo why >&2; exit 5")
    words = Input(agent, plain)
    words.type("a line\n")
    piped.ends()
    if (piped.out, piped.err, agent.wait(plain)["exit_status"]) != (b"got a line\n", b"why\n", 5 << 8):
        raise Failed(f"pipes: {piped.out} {piped.err}")

    doomed = {"value": "doomed", "parent": steady}
    killed = agent.session(doomed, "echo up; exec sleep 1000")
    killed.shows("up")
    agent.call("KILL_NESTED_CONTAINER", doomed, signal=15)
    killed.ends()
    if agent.wait(doomed)["exit_status"] != 15:
        raise Failed(f"killed: {agent.wait(doomed)}")

    left = {"value": "left", "parent": steady}
    lonely = agent.session(left, "echo up; exec sleep 1000")
    lonely.shows("up")
    lonely.leave()
    if agent.wait(left)["exit_status"] != 9:
        raise Failed(f"a session whose client is gone: {agent.wait(left)}")
    agent.call("WAIT_NESTED_CONTAINER", {"value": "nobody", "parent": steady}, status=404)
    agent.call("KILL_NESTED_CONTAINER", {"value": "nobody", "parent": steady}, status=404)

    open_one = agent.session({"value": "open", "parent": steady}, "echo up; exec sleep 1000")
    open_one.shows("up")
    agent.session({"value": "trigger", "parent": fragile}, "touch go").ends()
    framework.when("TASK_FAILED", ["fragile"])
    framework.when("TASK_KILLED", ["steady"])
    open_one.ends()
    failed, killed = statuses(framework, "fragile")[-1], statuses(framework, "steady")[-1]
    # As Mesos's default executor says it: the status in the message, and no reason.
    if not failed["message"].startswith("Command exited with status 7"):
        raise Failed(f"the failed task: {failed}")
    if not killed["message"].startswith("Command terminated with signal Terminated"):
        raise Failed(f"the rest of the group: {killed}")
    for status in (failed, killed):
        if status["source"] != "SOURCE_EXECUTOR" or "reason" in status:
            raise Failed(f"not what a default executor says: {status}")
    if agent.wait(fragile)["exit_status"] != 7 << 8:
        raise Failed(f"the failed task's container: {agent.wait(fragile)}")
    orders = {task: [status["state"] for status in statuses(framework, task)]
              for task in ("steady", "fragile")}
    if orders["fragile"][-2:] != ["TASK_RUNNING", "TASK_FAILED"]:
        raise Failed(f"states: {orders}")
    def of_the_pod():
        return [one for one in agent.containers()
                if one.get("framework_id", {}).get("value") == framework.id]

    wait_for("the pod is gone", lambda: not of_the_pod(), 30)
    framework.call({"type": "TEARDOWN"})
    return "sessions on pipes and a terminal; one task failed, the other was killed"


CHECKS = [a_pod_runs_takes_sessions_and_falls_as_one]
