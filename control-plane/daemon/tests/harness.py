"""A one-host cluster of the real daemons for tests: start it, break it, ask it."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

STEP = 0.05


class Failed(Exception):
    """A check did not hold; the text says what was seen."""


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, condition, seconds=30.0):
    """The first true value of condition; Failed with the last seen value otherwise."""
    end = time.monotonic() + seconds
    seen = None
    while time.monotonic() < end:
        try:
            seen = condition()
            if seen:
                return seen
        except (OSError, urllib.error.URLError, http.client.HTTPException, KeyError) as error:
            seen = error
        time.sleep(STEP)
    raise Failed(f"{what}: not within {seconds:.0f} s, last seen: {seen!r}")


def request(method, url, body=None, headers=None, timeout=30):
    """(status, decoded body, headers) of one request; JSON bodies are decoded."""
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json", **(headers or {})}
    call = urllib.request.Request(url, data=data, method=method, headers=head)
    try:
        with urllib.request.urlopen(call, timeout=timeout) as answer:
            text, status, kind = answer.read(), answer.status, answer.headers
    except urllib.error.HTTPError as error:
        text, status, kind = error.read(), error.code, error.headers
    if "json" in (kind.get("Content-Type") or "") and text:
        return status, json.loads(text), kind
    return status, text.decode(errors="replace"), kind


class Cluster:
    """Control plane and agent as two processes, as in production."""

    def __init__(
        self, binaries, folder, resources=None, control_plane_options=(), agent_options=()
    ):
        self.bin = pathlib.Path(binaries).resolve()
        self.folder = pathlib.Path(folder)
        self.resources = resources
        self.options = list(control_plane_options)
        self.agent_options = list(agent_options)
        self.mesos_port, self.marathon_port = free_port(), free_port()
        self.agent_link_port, self.agent_port = free_port(), free_port()
        self.mesos = f"http://127.0.0.1:{self.mesos_port}"
        self.marathon = f"http://127.0.0.1:{self.marathon_port}"
        self.agent_url = f"http://127.0.0.1:{self.agent_port}"
        self.control_plane = None
        self.agent = None

    def _spawn(self, name, *arguments):
        log = open(self.folder / f"{name}.log", "ab")
        with log:
            return subprocess.Popen(
                [str(self.bin / name), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_control_plane(self):
        self.control_plane = self._spawn(
            "tepui-control-plane",
            "--listen", f"127.0.0.1:{self.mesos_port}",
            "--marathon-listen", f"127.0.0.1:{self.marathon_port}",
            "--agent-listen", f"127.0.0.1:{self.agent_link_port}",
            "--state-dir", str(self.folder / "control-plane"),
            *self.options,
        )
        self._await(self.control_plane, "tepui-control-plane", f"{self.mesos}/health")

    def start_agent(self):
        more = ["--resources", self.resources] if self.resources else []
        self.agent = self._spawn(
            "tepui-agentd",
            "--control-plane", f"http://127.0.0.1:{self.agent_link_port}",
            "--listen", f"127.0.0.1:{self.agent_port}",
            "--work-dir", str(self.folder / "agent"),
            *more,
            *self.agent_options,
        )
        self._await(self.agent, "tepui-agentd", f"{self.agent_url}/health")

    def _await(self, process, name, url):
        def up():
            if process.poll() is not None:
                raise Failed(f"{name} ended with {process.returncode}: {self.log(name)}")
            return request("GET", url, timeout=2)[0] == 200

        wait_for(f"{name} serves", up, 30)

    def log(self, name):
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-25:])

    def __enter__(self):
        try:
            self.start_control_plane()
            self.start_agent()
            wait_for("the agent registers", lambda: self.state()["activated_slaves"] == 1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Ends every task, then the daemons; nothing stays behind."""
        with contextlib.suppress(Exception):
            self.clear()
        for process in (self.agent, self.control_plane):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def clear(self):
        for app in self.get("/v2/apps")["apps"]:
            request("DELETE", f"{self.marathon}/v2/apps{app['id']}?force=true")
        wait_for("all tasks end", lambda: not self.get("/v2/tasks")["tasks"], 20)

    def kill(self, which):
        """kill -9 of a daemon."""
        process = getattr(self, which)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def state(self):
        return self.expect(200, "GET", f"{self.mesos}/state")

    def get(self, path):
        return self.expect(200, "GET", f"{self.marathon}{path}")

    def expect(self, status, method, url, body=None):
        seen, answer, _ = request(method, url, body)
        if seen != status:
            raise Failed(f"{method} {url}: {seen} instead of {status}: {answer}")
        return answer

    def post_app(self, app):
        return self.expect(201, "POST", f"{self.marathon}/v2/apps", app)

    def app(self, app_id):
        return self.get(f"/v2/apps/{app_id}")["app"]

    def running(self, app_id):
        tasks = self.app(app_id)["tasks"]
        return [task for task in tasks if task["state"] == "TASK_RUNNING"]

    def wait_running(self, app_id, count, seconds=40):
        def reached():
            app = self.app(app_id)
            tasks = [task for task in app["tasks"] if task["state"] == "TASK_RUNNING"]
            done = len(tasks) == count == len(app["tasks"]) and not app["deployments"]
            return tasks if done else None

        return wait_for(f"{app_id} reaches {count} running", reached, seconds) if count else None

    def deployed(self, seconds=60):
        wait_for("deployments end", lambda: self.get("/v2/deployments") == [], seconds)

    def cli(self, *arguments, timeout=60):
        environment = {**os.environ, "TEPUI_ADDR": self.mesos, "TEPUI_MARATHON": self.marathon}
        return subprocess.run(
            [str(self.bin / "tepui"), *arguments],
            env=environment, capture_output=True, text=True, timeout=timeout, check=False,
        )

    def pids(self, marker):
        """Processes whose environment names this marker in MARATHON_APP_ID, shells of tasks."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                values = dict(v.split(b"=", 1) for v in environment if b"=" in v)
                if values.get(b"MARATHON_APP_ID") != marker.encode():
                    continue
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                start = stat[19]
                # The task's main process leads its session.
                if stat[3] == entry.name:
                    found[values[b"MESOS_TASK_ID"].decode()] = (int(entry.name), start)
            except (OSError, ValueError):
                continue
        return found


def listening(port):
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
