"""`tepui logs`: everything that every instance prints, once, whatever dies meanwhile."""

import contextlib
import json
import os
import signal
import subprocess
import threading

from harness import Failed, wait_for

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; [ $((i % 10)) != 1 ] || echo odd $i >&2; sleep 0.05; done"


class Follower:
    """`tepui logs -f -o jsonl` in another process, read by a thread."""

    def __init__(self, cluster, *arguments):
        self.lines, self.talk = [], []
        environment = {**os.environ, "TEPUI_ADDR": cluster.mesos, "TEPUI_MARATHON": cluster.marathon}
        self.process = subprocess.Popen(
            [str(cluster.bin / "tepui"), "-o", "jsonl", "logs", "-f", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.talk)):
            threading.Thread(target=self._read, args=(stream, into), daemon=True).start()

    @staticmethod
    def _read(stream, into):
        for line in stream:
            into.append(line.rstrip("\n"))

    def of(self, task, file="stdout"):
        """The numbers that this task has counted to, in the order in which they came."""
        found = (json.loads(line) for line in list(self.lines))
        return [int(one["line"].split()[1]) for one in found
                if one["task"] == task and one["file"] == file]

    def comes_on(self, what, task, lines=20):
        seen = len(self.of(task))
        wait_for(f"{what}: {task} is followed", lambda: len(self.of(task)) >= seen + lines, 60)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


@contextlib.contextmanager
def app(cluster, app_id, instances=2, **more):
    cluster.post_app({"id": app_id, "cmd": COUNT, "cpus": 0.1, "mem": 32, "instances": instances,
                      "backoffSeconds": 0, **more})
    try:
        yield
    finally:
        cluster.expect(200, "DELETE", f"{cluster.marathon}/v2/apps{app_id}?force=true")


def logs_follow_every_instance_through_the_death_of_both_daemons(cluster):
    with app(cluster, "/logs/count"):
        first = [task["id"] for task in cluster.wait_running("/logs/count", 2)]
        follower = Follower(cluster, "logs/count", "--since", "1h")
        try:
            for task in first:
                follower.comes_on("from the beginning", task)
            cluster.expect(200, "PUT", f"{cluster.marathon}/v2/apps//logs/count", {"instances": 3})
            tasks = [task["id"] for task in cluster.wait_running("/logs/count", 3)]
            third = next(task for task in tasks if task not in first)
            follower.comes_on("an instance that started later", third)
            cluster.kill("agent")
            cluster.start_agent()
            follower.comes_on("after the agent's death", first[0])
            cluster.kill("control_plane")
            cluster.start_control_plane()
            wait_for("the agent is back", lambda: cluster.state()["activated_slaves"] == 1, 30)
            follower.comes_on("after the control plane's death", third)
            killed = first[1]
            cluster.expect(200, "DELETE", f"{cluster.marathon}/v2/apps//logs/count/tasks/{killed}")
            now = wait_for("a replacement", lambda: [
                task["id"] for task in cluster.running("/logs/count") if task["id"] not in tasks], 40)
            follower.comes_on("a replacement", now[0])
            wait_for("the end is told", lambda: any("ended (killed)" in line for line in follower.talk), 30)
        finally:
            code = follower.end()
        for task in [*tasks, now[0]]:
            counted = follower.of(task)
            if counted != list(range(1, len(counted) + 1)):
                raise Failed(f"{task}: not each line once: {counted}")
            odd = follower.of(task, "stderr")
            if odd != list(range(1, 10 * len(odd), 10)):
                raise Failed(f"{task}: not each line of the error output once: {odd}")
        if code != 130:
            raise Failed(f"Ctrl-C ends it with {code}")
        former = cluster.cli("logs", "logs/count", "--previous", "--tail", "3", "--stdout")
        if killed not in former.stderr or len(former.stdout.splitlines()) != 3:
            raise Failed(f"--previous: {former}")
        return f"{len(follower.lines)} lines of 4 instances, each once"


def logs_are_chosen_by_time_pattern_and_number(cluster):
    with app(cluster, "/logs/chosen", instances=1):
        cluster.wait_running("/logs/chosen", 1)

        def lines(*arguments, app_id="logs/chosen"):
            done = cluster.cli("logs", app_id, *arguments)
            if done.returncode:
                raise Failed(f"{arguments}: {done.stderr}")
            return done.stdout.splitlines()

        wait_for("enough lines", lambda: "line 120" in lines("--tail", "500"), 60)
        if lines("--grep", "^line 1[0-2]$", "--tail", "2") != ["line 11", "line 12"]:
            raise Failed(f"grep: {lines('--grep', '^line 1[0-2]$')}")
        odd = lines("--stderr", "-n", "1000")
        if odd[:2] != ["odd 1", "odd 11"] or any(not line.startswith("odd") for line in odd):
            raise Failed(f"error output: {odd}")
        # 20 lines a second, and a second more because times are recorded once a second.
        lately, hour = len(lines("--stdout", "--since", "1s")), len(lines("--stdout", "--since", "1h"))
        if not 1 <= lately <= 60 or hour < 120:
            raise Failed(f"{lately} lines in the last second, {hour} in the last hour")
        times = [json.loads(line)["time"] for line in lines("-o", "jsonl", "--since", "1h")]
        if times != sorted(times) or len(set(times)) < 5:
            raise Failed(f"times: {times}")
        if lines("--stdout", "-n", "1", app_id="logs/chosen/1")[0][:5] != "line ":
            raise Failed("not the first instance")
        missing = cluster.cli("logs", "logs/chosne")
        if missing.returncode != 1 or "did you mean '/logs/chosen'" not in missing.stderr:
            raise Failed(f"an unknown app: {missing}")
        second = cluster.cli("logs", "logs/chosen/2")
        if second.returncode != 2 or "no number 2" not in second.stderr:
            raise Failed(f"an instance that is none: {second}")
    with app(cluster, "/logs/large", instances=1, cpus=1000):
        reason = wait_for("the reason", lambda: "cpus" in (
            none := cluster.cli("logs", "logs/large")).stderr and none)
        if reason.returncode != 1 or "has no instance" not in reason.stderr:
            raise Failed(f"an app without instances: {reason}")
    return f"{lately} lines since a second ago, {hour} since an hour ago"


CHECKS = [
    logs_follow_every_instance_through_the_death_of_both_daemons,
    logs_are_chosen_by_time_pattern_and_number,
]
