"""What `priority` takes back for a role that comes first: an unanswered offer, then revocable resources that
a task of a lower role holds, and nothing that is firmly in use."""

import contextlib
import json

from harness import Failed, request, wait_for
from scheduler import Framework


def scalar(name, value, **more):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


SPARE = scalar("cpus", 1, revocable={})
"""All the revocable resources that the agent has."""
RESOURCES = json.dumps([
    scalar("cpus", 4), scalar("mem", 2048), SPARE,
    {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31099}]}},
])
FOR_GOOD = 3600
ALIVE = ("TASK_STARTING", "TASK_RUNNING")
WHY = "Preempted: its revocable resources are for role 'prod'"


def has_spare(offer):
    return any("revocable" in one for one in offer["resources"])


def taken_back(cluster, what):
    """How much was taken back so far: offers, or tasks."""
    metrics = request("GET", f"{cluster.mesos}/metrics")[1]
    series = f'tepui_allocator_reclaims_total{{what="{what}"}} '
    return float(metrics.split(series)[1].split()[0])


def refused_until_spare(framework):
    """The first offer with revocable resources; those without are refused for good."""
    while not has_spare(offer := framework.offer()):
        framework.decline(offer, FOR_GOOD)
    return offer


@contextlib.contextmanager
def framework(cluster, name, role):
    """One that takes revocable resources; nothing of it stays behind."""
    one = Framework(cluster, name, role, ["REVOCABLE_RESOURCES"])
    try:
        yield one
    finally:
        one.call({"type": "TEARDOWN"})


def tell(cluster):
    with framework(cluster, "low", "batch") as low:
        low.launch(refused_until_spare(low), ["firm"], "exec sleep 86400")
        low.launch(refused_until_spare(low), ["spare"], "exec sleep 86400", cpus=SPARE)
        low.when("TASK_RUNNING", ["firm", "spare"])
        # It sits on an offer of what is left.
        low.offer()
        with framework(cluster, "high", "prod") as high:
            make_room(cluster, low, high)
    wait_for("both are gone", lambda: len(cluster.state()["frameworks"]) == 1)


def make_room(cluster, low, high):
    high.launch(refused_until_spare(high), ["urgent"], "exec sleep 86400", cpus=SPARE)
    high.when("TASK_RUNNING", ["urgent"])
    low.when("TASK_KILLED", ["spare"])
    ended = [one for _, one in low.updates if one["state"] not in ALIVE]
    told = [(one["task_id"]["value"], one.get("reason")) for one in ended]
    if told != [("spare", "REASON_CONTAINER_PREEMPTED")] or WHY not in ended[0].get("message", ""):
        raise Failed(f"low is told of ends: {ended}")
    seen = (taken_back(cluster, "offers") > 0, taken_back(cluster, "tasks"))
    if seen != (True, 1):
        raise Failed(f"(an offer, tasks) taken back are {seen}")
