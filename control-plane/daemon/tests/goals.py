"""Figures beside their goals and Mesos's: a table that knows whether one was missed."""

import pathlib


class Goals:
    """Rows of figures; `missed` counts those that are not as good as their goal."""

    def __init__(self, mesos):
        self.mesos = mesos
        self.missed = 0
        self.width = max(map(len, mesos))
        print(f"{'figure':{self.width}} {'Tepui':>10} {'goal':>10} {'Mesos':>8}")

    def row(self, name, value, goal, unit, at_most=True):
        good = value <= goal if at_most else value >= goal
        self.missed += not good
        sign = "<=" if at_most else ">="
        print(f"{name:{self.width}} {value:7.2f} {unit:2} {sign} {goal:6.1f} "
              f"{self.mesos[name]:8} {'ok' if good else 'MISSED'}", flush=True)


def rss_mb(pid):
    return status_kb(pid, "VmRSS:") / 1024


def peak_rss_mb(pid):
    return status_kb(pid, "VmHWM:") / 1024


def status_kb(pid, name):
    return field(f"/proc/{pid}/status", name)


def field(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
