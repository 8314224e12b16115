"""The shipped allocators as libraries: loaded by a control plane at work, swapped live without losing a
task, watched beside one another, recorded, and the recording played to all of them, built in and as files. Under `priority` revocable
work makes room for who comes first.

    python3 control-plane/daemon/tests/allocators.py --bin target/debug
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import preemption
import replays
from harness import Cluster, Failed, request, wait_for

SHIPPED = ("priority", "binpack")
CONFIG = """
plugin_dir = "{plugins}"
allocator_record = "{record}"
{chosen}

[plugins.priority.settings]
priorities = {{ prod = 20, "*" = 10, batch = 5 }}
"""


def fill(folder, binaries):
    """The folder of plugins, as an operator fills it."""
    folder.mkdir(mode=0o755)
    for name in SHIPPED:
        library = folder / f"{name}.so"
        built = binaries / f"libtepui_plugin_{name}.so"
        if not built.is_file():
            raise Failed(f"no {built}: cargo build -p tepui-plugin-{name}")
        shutil.copy(built, library)
        os.chmod(library, 0o644)


def states(cluster):
    _, answer, _ = request("GET", f"{cluster.mesos}/tepui/v1/plugins")
    return {plugin["name"]: plugin["state"] for plugin in answer["plugins"]}


def shadow(cluster):
    return request("GET", f"{cluster.mesos}/tepui/v1/allocator/shadow")[1]


class Story:
    """A cluster whose allocator is changed by configuration."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.config = folder / "control-plane.toml"
        self.record = folder / "allocator.rec"

    def write(self, chosen):
        self.config.write_text(
            CONFIG.format(plugins=self.folder / "plugins", record=self.record, chosen=chosen)
        )

    def swap(self, name):
        """Another allocator in the file, and word to the daemon."""
        self.write(f'allocator = "{name}"')
        os.kill(self.cluster.control_plane.pid, signal.SIGHUP)
        wait_for(f"{name} is in use", lambda: states(self.cluster).get(name) == "in_use")

    def run_app(self, name):
        app = {"id": f"/{name}", "cmd": "exec sleep 86400", "cpus": 0.1, "mem": 16}
        self.cluster.post_app(app)
        self.cluster.wait_running(f"/{name}", 1)

    def tasks(self):
        tasks = self.cluster.get("/v2/tasks")["tasks"]
        return {task["id"] for task in tasks if task["state"] == "TASK_RUNNING"}

    def tell(self):
        cluster = self.cluster
        wait_for("priority is in use", lambda: states(cluster).get("priority") == "in_use")
        self.run_app("first")
        wait_for("binpack decides beside it", lambda: shadow(cluster)["rounds"] > 0)
        beside = shadow(cluster)
        if not beside["running"] or states(cluster)["binpack"] != "beside":
            raise Failed(f"binpack does not follow: {beside} {states(cluster)}")
        first = self.tasks()
        for name in ("binpack", "drf", "priority"):
            self.swap(name)
            self.run_app(f"under-{name}")
            if not first <= self.tasks():
                raise Failed(f"{first - self.tasks()} lost with {name}")
        metrics = request("GET", f"{cluster.mesos}/metrics")[1]
        for name in SHIPPED:
            if f'tepui_plugin_call_seconds_count{{hook="round",plugin="{name}"}}' not in metrics:
                raise Failed(f"no calls of {name} are counted")
        return first

    def placed(self):
        """How many of the recorded tasks each allocator places, once all of them place some."""
        rows = json.loads(self.said("--output", "json", "allocator", "replay", str(self.record)))
        placed = {row["allocator"]: row["tasks_placed"] for row in rows}
        return placed if all(placed.get(name) for name in ("drf", *SHIPPED)) else None

    def said(self, *words):
        done = self.cluster.cli(*words)
        if done.returncode != 0:
            raise Failed(f"tepui {' '.join(words)}: {done.stderr}")
        return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, type=pathlib.Path, help="folder of the programs")
    binaries = parser.parse_args().bin.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        fill(folder / "plugins", binaries)
        replays.tell(binaries, folder / "replays", folder / "plugins")
        options = ["--config", str(folder / "control-plane.toml")]
        cluster = Cluster(binaries, folder, preemption.RESOURCES, control_plane_options=options)
        story = Story(cluster, folder)
        story.write('allocator = "priority"\nshadow_allocator = "binpack"')
        with cluster:
            first = story.tell()
            # What is recorded is on disk as soon as nothing happens for a second.
            wait_for("the recording is played to all", story.placed)
            print(story.said("allocator", "replay", str(story.record)))
            preemption.tell(cluster)
            if not first <= story.tasks():
                raise Failed(f"{first - story.tasks()} lost by pre-emption")
            cluster.kill("control_plane")
            story.write('allocator = "drf"')
            cluster.start_control_plane()
            wait_for("its tasks are known again", lambda: first <= story.tasks())
    print("allocators: loaded, swapped, followed, recorded, replayed, and pre-empted")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"allocators: {failure}")
