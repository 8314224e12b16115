"""What tasks could leave behind on a host, counted before and after."""

import contextlib
import ctypes
import os
import pathlib
import platform
import re
import subprocess

from harness import Failed, wait_for

SLACK = {"descriptors of the agent": 8, "shims": 8, "control groups": 8}
"""Some warm shims are always there, and what the agent happens to do."""
BPF_CALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
NEXT_IDS = {"BPF programs": 11, "BPF maps": 12, "BPF links": 31}
"""Commands of bpf(2) that walk the ids of all that the kernel has."""


def field(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise Failed(f"no {name} of process {pid}")


def _output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def _lines(*words):
    return len(_output(*words).splitlines())


def _bpf_objects(command):
    """How many objects of one kind the kernel has; None where it does not tell."""
    if BPF_CALL is None:
        return None
    call = ctypes.CDLL(None, use_errno=True).syscall
    ids = (ctypes.c_uint32 * 3)()
    count = 0
    while call(BPF_CALL, command, ctypes.byref(ids), ctypes.sizeof(ids)) == 0:
        ids[0] = ids[1]
        count += 1
    return count


def _descriptors(pid):
    """What a process has open; what it closes while we look is not held."""
    links = []
    for one in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(one))
    return links


def holdings(agent, work_dir):
    """Everything that is counted, by name."""
    groups = pathlib.Path("/sys/fs/cgroup")
    groups = groups / "unified" if (groups / "unified").is_dir() else groups
    pins = pathlib.Path("/sys/fs/bpf")
    links = _descriptors(agent)
    rules = re.sub(r"(?m)^\s*counter.*$", "", _output("nft", "list", "ruleset"))
    spaces = pathlib.Path("/run/tepui/netns")
    bundles = pathlib.Path(work_dir) / "meta/containers"
    scratch = pathlib.Path("/run/tepui/containers")

    def entries(folder):
        return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0

    counted = {
        "descriptors of the agent": len(links),
        "BPF descriptors of the agent": sum("bpf" in link for link in links),
        "BPF pins": sum(1 for _ in pins.rglob("*")) if pins.is_dir() else 0,
        "control groups": sum(1 for _ in groups.rglob("tepui-*")),
        "mounts": len(pathlib.Path(f"/proc/{agent}/mounts").read_text().splitlines()),
        "network interfaces": _lines("ip", "-oneline", "link"),
        "network namespaces": entries(spaces),
        # A set of ports is printed on lines of its own length, so elements count, not lines.
        "words of nftables": len(rules.split()),
        "folders of containers": entries(bundles),
        "folders of containers in memory": sum(1 for _ in scratch.glob("*/*")),
        "units": _lines("systemctl", "list-units", "--all", "--plain", "--no-legend",
                        "tepui-task-*"),
        "shims": _lines("pgrep", "-x", "tepui-shim"),
        "runtimes of containers": _lines("pgrep", "-x", "tepui-runtime"),
    }
    for name, command in NEXT_IDS.items():
        counted[name] = _bpf_objects(command)
    return {name: count for name, count in counted.items() if count is not None}


def leaks(before, count):
    """What is more than before, once it is quiet, as name: (before, now)."""

    def more():
        now = count()
        return {k: (before[k], n) for k, n in now.items() if n > before[k] + SLACK.get(k, 0)}

    try:
        wait_for("nothing is left", lambda: not more(), 60)
        return {}
    except Failed:
        return more()
