"""Breaks the leader of three control planes and measures, on one clock, when clients are served
again; then counts acknowledged writes through random faults. Exit 1 when a goal is missed.

figures.py kills [TRIALS] | stop [SECONDS] | writes [COUNT] [SEED]"""

import contextlib
import http.client
import json
import random
import statistics
import sys
import threading
import time

PLANE = "tepui-control-plane.service"
with open("/etc/ensemble.json") as file:
    FACTS = json.load(file)
PLANES, HAND, STORE = FACTS["names"], FACTS["port"], FACTS["store"]
LEASE_SECONDS = 5.0
"""The product's default."""
PATIENCE_SECONDS = 120
RETRY_SECONDS = 0.005
WRITERS = 4
WRITES_PER_SECOND = 12.0
"""Of all writers: so that a thousand writes see some dozens of faults."""
MESOS = {"write": 10.5, "task": 11.0}


class Failed(Exception):
    """A figure could not be taken."""


def call(host, port, method, path, body=None, timeout=5.0):
    """Status and text of one request; 0 when there was no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    with contextlib.closing(connection):
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""


def hand(host, method, path):
    status, text = call(host, HAND, method, path)
    if status != 200:
        raise Failed(f"{host}: {path}: {status} {text}")
    return text


def marathon(host, path, timeout=5.0):
    """A decoded answer of Marathon's API, or None."""
    status, text = call(host, 8080, "GET", path, timeout=timeout)
    return json.loads(text) if status == 200 else None


def put(host, app, timeout=2.0):
    return call(host, 8080, "PUT", f"/v2/apps{app['id']}", app, timeout)[0] in (200, 201)


def metrics(host):
    """(term, whether it leads) of a control plane, or None."""
    status, text = call(host, 5050, "GET", "/metrics", timeout=2.0)
    values = dict(line.split(" ") for line in text.splitlines() if line.startswith("tepui_"
                  ) and "{" not in line and line.count(" ") == 1) if status == 200 else {}
    if "tepui_term" not in values:
        return None
    return int(float(values["tepui_term"])), values["tepui_leader"] == "1"


def wait_for(what, look, seconds=PATIENCE_SECONDS):
    end = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return seen


def whole():
    """The leader, when three control planes agree on it, three agents are there, and nothing is
    under way."""
    seen = [metrics(host) for host in PLANES]
    if None in seen or len({term for term, _ in seen}) != 1:
        return None
    leaders = [host for host, (_, leads) in zip(PLANES, seen) if leads]
    if len(leaders) != 1 or marathon(leaders[0], "/v2/deployments") != []:
        return None
    status, text = call(leaders[0], 5050, "GET", "/state")
    agents = json.loads(text)["slaves"] if status == 200 else []
    return leaders[0] if sum(agent["active"] for agent in agents) == 3 else None


def steady():
    """The leader of a whole cluster; some time passes, so that faults find it at any moment of
    its renewals."""
    leader = wait_for("a whole cluster", whole)
    time.sleep(1 + random.random())
    return leader


def others(leader):
    return [host for host in PLANES if host != leader]


def served_again(victim, began, app):
    """Seconds until a write is accepted, and until the task that it wants runs."""
    turn = 0
    ask = others(victim)
    while not put(ask[turn % 2], app):
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise Failed("no write is accepted")
        time.sleep(RETRY_SECONDS)
        turn += 1
    write = time.monotonic() - began
    while True:
        answer = marathon(ask[turn % 2], f"/v2/apps{app['id']}/tasks", 2.0) or {"tasks": []}
        if any(task["state"] == "TASK_RUNNING" for task in answer["tasks"]):
            return write, time.monotonic() - began
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise Failed("no task runs")
        time.sleep(RETRY_SECONDS)
        turn += 0 if answer["tasks"] else 1


def sleeper(name):
    return {"id": f"/figures/{name}", "cmd": "exec sleep 86400", "cpus": 0.01, "mem": 8}


def forget(leader, app):
    call(leader, 8080, "DELETE", f"/v2/apps{app['id']}?force=true")


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def row(name, values):
    p50, p90, p99 = statistics.median(values), percentile(values, 0.9), percentile(values, 0.99)
    good = p50 < 0.5 and p99 < 2.0
    print(f"{STORE}: leader kill -9 to next {name}: p50 {p50 * 1000:.0f} ms, p90 {p90 * 1000:.0f} ms,"
          f" p99 {p99 * 1000:.0f} ms of {len(values)} (goals: p50 < 500, p99 < 2000; Mesos"
          f" {MESOS[name] * 1000:.0f}) {'ok' if good else 'MISSED'}", flush=True)
    return good


def kills(trials=20):
    writes, tasks = [], []
    for trial in range(int(trials)):
        leader, app = steady(), sleeper(f"kill-{trial}")
        pid = hand(leader, "GET", f"/process/{PLANE}")
        began = time.monotonic()
        hand(leader, "POST", f"/signal/{pid}/KILL")
        write, task = served_again(leader, began, app)
        print(f"  {leader} killed: write {write * 1000:.0f} ms, task {task * 1000:.0f} ms", flush=True)
        writes.append(write)
        tasks.append(task)
        forget(wait_for("a whole cluster", whole), app)
    good = [row("write", writes), row("task", tasks)]
    return all(good)


def stop(seconds=30):
    leader, app = steady(), sleeper("stop")
    former = metrics(leader)[0]
    pid = hand(leader, "GET", f"/process/{PLANE}")
    since, began = int(time.time()), time.monotonic()
    hand(leader, "POST", f"/signal/{pid}/STOP")
    late = {}

    def ask_late():
        late["put"] = call(leader, 8080, "PUT", "/v2/apps/late", sleeper("late"), 300.0)[0]

    asking = threading.Thread(target=ask_late)
    asking.start()
    wait_for("a new leader", lambda: any((metrics(host) or (0,))[0] > former
                                         for host in others(leader)))
    led = time.monotonic() - began
    write, task = served_again(leader, began, app)
    time.sleep(max(0.0, began + float(seconds) - time.monotonic()))
    hand(leader, "POST", f"/signal/{pid}/CONT")
    ended = wait_for("the end of the woken leader", lambda: hand(leader, "GET", f"/ends/{PLANE}/{since}"))
    asking.join(60)
    wait_for("a whole cluster", whole)
    there = marathon(leader, "/v2/apps/late") is not None
    good = led <= LEASE_SECONDS + 1 and ended == "103" and late["put"] not in (200, 201) and not there
    print(f"{STORE}: leader stopped for {seconds} s: next leader after {led:.2f} s (goal: lease +"
          f" 1 s = {LEASE_SECONDS + 1:.0f}), write {write:.2f} s, task {task:.2f} s; the woken one"
          f" ended with {ended}, a late write was answered {late['put']}, is there: {there}"
          f" {'ok' if good else 'MISSED'}", flush=True)
    forget(wait_for("a whole cluster", whole), app)
    return good


class Faults:
    """One fault at a time, of a random kind, at a random moment."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count = {}

    def leader(self):
        known = {host: metrics(host) or (0, False) for host in PLANES}
        leaders = [(term, host) for host, (term, leads) in known.items() if leads]
        return max(leaders)[1] if leaders else self.random.choice(PLANES)

    def signal(self, host, unit, name):
        pid = hand(host, "GET", f"/process/{unit}")
        if pid != "0":
            hand(host, "POST", f"/signal/{pid}/{name}")
        return pid

    def stop_leader(self):
        host = self.leader()
        pid = self.signal(host, PLANE, "STOP")
        time.sleep(self.random.uniform(1, 2 * LEASE_SECONDS))
        with contextlib.suppress(Failed):
            hand(host, "POST", f"/signal/{pid}/CONT")

    def cut(self, host):
        seconds = self.random.uniform(1, 2 * LEASE_SECONDS)
        hand(host, "POST", f"/cut/{seconds:.2f}")
        time.sleep(seconds)

    def next(self):
        kinds = {
            "leader killed": lambda: self.signal(self.leader(), PLANE, "KILL"),
            "control plane killed": lambda: self.signal(self.random.choice(PLANES), PLANE, "KILL"),
            "store member killed": lambda: self.signal(self.random.choice(PLANES), f"{STORE}.service", "KILL"),
            "leader's host cut off": lambda: self.cut(self.leader()),
            "host cut off": lambda: self.cut(self.random.choice(PLANES)),
            "leader stopped": self.stop_leader,
        }
        kind = self.random.choice(list(kinds))
        self.count[kind] = self.count.get(kind, 0) + 1
        kinds[kind]()


class Writers:
    """Clients that write until enough is acknowledged."""

    def __init__(self, count):
        self.count = count
        self.lock = threading.Lock()
        self.acknowledged = {}
        self.unknown = 0
        self.last = time.monotonic()
        self.longest = 0.0

    def enough(self):
        return len(self.acknowledged) >= self.count

    def write(self, number):
        choice = random.Random(number)
        attempt = 0
        while not self.enough():
            word = f"{number}-{attempt}"
            app = {"id": f"/words/w{word}", "cmd": "true", "instances": 0, "labels": {"WORD": word}}
            good = put(choice.choice(PLANES), app, 5.0)
            with self.lock:
                now = time.monotonic()
                if good:
                    self.acknowledged[app["id"]] = word
                    self.longest = max(self.longest, now - self.last)
                    self.last = now
                else:
                    self.unknown += 1
            attempt += 1
            time.sleep(WRITERS / WRITES_PER_SECOND if good else RETRY_SECONDS)


def lost(acknowledged):
    """Acknowledged writes that cannot be read back as they were written."""
    leader = wait_for("a whole cluster", whole)
    apps = wait_for("all apps", lambda: marathon(leader, "/v2/apps?id=words", 60.0))["apps"]
    there = {app["id"]: app["labels"]["WORD"] for app in apps}
    return [name for name, word in acknowledged.items() if there.get(name) != word]


def writes(count=1000, seed=None):
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else int(seed)
    print(f"{STORE}: seed {seed}", flush=True)
    wait_for("a whole cluster", whole)
    faults, writers = Faults(seed), Writers(int(count))
    threads = [threading.Thread(target=writers.write, args=(one,)) for one in range(WRITERS)]
    for thread in threads:
        thread.start()
    while not writers.enough():
        time.sleep(faults.random.uniform(0, 2))
        with contextlib.suppress(Failed):
            faults.next()
        # One fault at a time: the next one finds a cluster that serves again.
        mark = time.monotonic()
        wait_for("acknowledged writes", lambda: writers.last > mark or writers.enough())
    for thread in threads:
        thread.join()
    missing = lost(writers.acknowledged)
    # What one leader shows the next one must show as well.
    leader = wait_for("a whole cluster", whole)
    faults.signal(leader, PLANE, "KILL")
    wait_for("another leader", lambda: (metrics(leader) or (0, True))[1] is False)
    missing += lost(writers.acknowledged)
    told = ", ".join(f"{kind} {times}" for kind, times in sorted(faults.count.items()))
    print(f"{STORE}: {len(writers.acknowledged)} acknowledged writes, {len(missing)} lost {missing[:5]};"
          f" {writers.unknown} answered otherwise or not at all; longest time without an"
          f" acknowledgement {writers.longest:.1f} s; faults: {told}"
          f" {'MISSED' if missing else 'ok'}", flush=True)
    return not missing


if __name__ == "__main__":
    figure, *arguments = sys.argv[1:]
    sys.exit(0 if {"kills": kills, "stop": stop, "writes": writes}[figure](*arguments) else 1)
