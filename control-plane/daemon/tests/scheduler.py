"""A scheduler for tests, over the Mesos v1 HTTP API."""

import contextlib
import http.client
import json
import threading
import time

from harness import Failed, wait_for

TASK_MB = 8
"""Memory of a task: enough for a shell where it is a limit."""
SOME_CPUS = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.001}}


class Framework:
    """A scheduler over the v1 HTTP API, JSON, one thread that reads events."""

    def __init__(self, cluster, name, role="*", capabilities=()):
        self.cluster = cluster
        self.offers, self.updates = [], []
        self.changed = threading.Condition()
        self.stream = http.client.HTTPConnection("127.0.0.1", cluster.mesos_port)
        info = {"user": "root", "name": name, "checkpoint": True, "role": role,
                "capabilities": [{"type": one} for one in ("PARTITION_AWARE", *capabilities)]}
        self._send(self.stream, {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
        self.answer = self.stream.getresponse()
        self.stream_id = self.answer.headers["Mesos-Stream-Id"]
        self.id = None
        threading.Thread(target=self._read, daemon=True).start()
        wait_for("SUBSCRIBED", lambda: self.id)
        self.calls = http.client.HTTPConnection("127.0.0.1", cluster.mesos_port)
        self.lock = threading.Lock()

    def _send(self, connection, call, **headers):
        head = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        connection.request("POST", "/api/v1/scheduler", json.dumps(call), head)

    def _read(self):
        with contextlib.suppress(Exception):
            while True:
                length = b""
                while (byte := self.answer.read(1)) != b"\n":
                    if not byte:
                        return
                    length += byte
                event = json.loads(self.answer.read(int(length)))
                self._take(event)

    def _take(self, event):
        kind = event["type"]
        if kind == "SUBSCRIBED":
            self.id = event["subscribed"]["framework_id"]["value"]
        with self.changed:
            if kind == "OFFERS":
                self.offers += event["offers"]["offers"]
            if kind == "UPDATE":
                status = event["update"]["status"]
                self.updates.append((time.monotonic(), status))
            self.changed.notify_all()
        if kind == "UPDATE" and "uuid" in event["update"]["status"]:
            status = event["update"]["status"]
            self.call({"type": "ACKNOWLEDGE", "acknowledge": {
                k: status[k] for k in ("agent_id", "task_id", "uuid")}})

    def call(self, call):
        with self.lock:
            head = {"Mesos-Stream-Id": self.stream_id}
            self._send(self.calls, {**call, "framework_id": {"value": self.id}}, **head)
            answer = self.calls.getresponse()
            text = answer.read()
            if answer.status != 202:
                raise Failed(f"{call['type']}: {answer.status} {text}")

    def offer(self, tasks=1, seconds=30):
        """An offer with room for so many tasks; smaller ones go back, to come again as one."""
        end = time.monotonic() + seconds
        while True:
            with self.changed:
                if not self.changed.wait_for(lambda: self.offers, end - time.monotonic()):
                    raise Failed(f"no offer for {tasks} tasks")
                offers, self.offers = self.offers, []
            offers.sort(key=_memory)
            best = offers.pop() if _memory(offers[-1]) >= tasks * TASK_MB else None
            if offers:
                self.call({"type": "DECLINE", "decline": {
                    "offer_ids": [one["id"] for one in offers],
                    "filters": {"refuse_seconds": 0}}})
            if best:
                return best

    def decline(self, offer, seconds):
        self.call({"type": "DECLINE", "decline": {
            "offer_ids": [offer["id"]], "filters": {"refuse_seconds": seconds}}})

    def launch(self, offer, names, command, container=None, cpus=SOME_CPUS):
        """Launches small tasks on one offer; when the call was made."""
        amount = [cpus, {"name": "mem", "type": "SCALAR", "scalar": {"value": TASK_MB}}]
        more = {"container": container} if container else {}
        tasks = [{"name": n, "task_id": {"value": n}, "agent_id": offer["agent_id"],
                  "resources": amount, "command": {"value": command}, **more} for n in names]
        operation = {"type": "LAUNCH", "launch": {"task_infos": tasks}}
        started = time.monotonic()
        self.call({"type": "ACCEPT", "accept": {
            "offer_ids": [offer["id"]], "operations": [operation],
            "filters": {"refuse_seconds": 0}}})
        return started

    def when(self, state, names, seconds=60):
        """When each task was first seen in a state."""
        wanted = set(names)

        def seen():
            found = {}
            for at, status in self.updates:
                task = status["task_id"]["value"]
                if task in wanted and status["state"] == state:
                    found.setdefault(task, at)
            return found if len(found) == len(wanted) else None

        with self.changed:
            if not self.changed.wait_for(seen, seconds):
                last = {u["task_id"]["value"]: u for _, u in self.updates}
                others = [u for n, u in last.items() if n in wanted and u["state"] != state]
                shown = [f"{u['state']}: {u.get('message')}" for u in others[:3]]
                raise Failed(f"not all {len(wanted)} tasks came to {state}: {len(others)} did "
                             f"not, {shown}")
            return seen()


def _memory(offer):
    amounts = [one["scalar"]["value"] for one in offer["resources"] if one["name"] == "mem"]
    return sum(amounts)
