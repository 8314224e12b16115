"""A recording played to plugins' files: what those decide that are built in, too, is the same to the last
figure; what a control plane would refuse is refused, and a failure is told with its round."""

import json
import os
import pathlib
import shutil
import subprocess

from harness import Failed

PRIORITIES = {"priorities": {"urgent": 20, "*": 5}}
SETTINGS = """
listen = "127.0.0.1:1"
[plugins.priority.settings]
priorities = { urgent = 20, "*" = 5 }
"""


def library(binaries, name, folder):
    """A copy that nobody else can change, whatever the folder is that it was built in."""
    built = binaries / f"lib{name}.so"
    built = built if built.is_file() else binaries / f"examples/lib{name}.so"
    copy = pathlib.Path(shutil.copy(built, folder))
    os.chmod(copy, 0o644)
    return copy


class Replays:
    """`tepui allocator replay` of a simulated cluster."""

    def __init__(self, binaries, folder):
        self.bin, self.folder, self.day = binaries, folder, folder / "day.tepui"
        subprocess.run([binaries / "tepui-sim", "record", self.day, "--minutes", "3"],
                       check=True, stdout=subprocess.DEVNULL)

    def run(self, *words):
        command = [self.bin / "tepui", "--output", "json", "allocator", "replay", self.day, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def rows(self, *words):
        """What became of it with each allocator, without the recording's own and without names."""
        done = self.run(*words)
        if done.returncode != 0:
            raise Failed(f"replay {words}: {done.stderr}")
        rows = json.loads(done.stdout)[1:]
        return [row.pop("allocator") for row in rows], rows

    def refused(self, why, *words):
        """The lines of those allocators that are not refused."""
        done = self.run("--allocator", "drf", *words)
        if done.returncode != 1 or why not in done.stderr:
            raise Failed(f"replay {words}: {done.returncode}, {done.stderr!r} instead of {why!r}")
        return done.stdout


def tell(binaries, folder, plugins):
    """`plugins`: a folder as an operator fills it."""
    folder.mkdir(mode=0o755)
    replays = Replays(binaries, folder)
    priority = f"priority={json.dumps(PRIORITIES)}"
    names, wanted = replays.rows("--allocator", priority, "--allocator", "binpack")
    if names != ["priority", "binpack"] or not all(row["tasks_placed"] for row in wanted):
        raise Failed(f"nothing is compared: {names} {wanted}")

    files = [library(binaries, f"tepui_plugin_{name}", folder) for name in names]
    by_file = ["--allocator", f"{files[0]}={json.dumps(PRIORITIES)}", "--allocator", files[1]]
    settings = folder / "control-plane.toml"
    settings.write_text(SETTINGS)
    by_name = ["--plugins", plugins, "--settings", settings]
    by_name += ["--allocator", "priority", "--allocator", "binpack"]
    for words in (by_file, by_name):
        if replays.rows(*words) != (["priority.so", "binpack.so"], wanted):
            raise Failed(f"not what is built in decides: {replays.rows(*words)}, {wanted}")

    broken = library(binaries, "misbehaves", folder)
    for how, round_, why in (
        ("panics", "1, ", "round panicked: lost the plan"),
        ("invents", "", "round answered nonsense: "),
    ):
        words = ["--allocator", f'{broken}={{"how": "{how}"}}']
        told = replays.refused(f"plugin misbehaves.so failed in round {round_}", *words)
        replays.refused(why, *words)
        if [row["allocator"] for row in json.loads(told)] != ["as recorded", "drf"]:
            raise Failed(f"beside {how} there is {told}")
    for how, why in (("refuses", "open was refused: "), ("x", "unknown variant `x`")):
        replays.refused(why, "--allocator", f'{broken}={{"how": "{how}"}}')
    cut = folder / "libcut.so"
    cut.write_bytes(broken.read_bytes()[:9999])
    replays.refused("not a whole library: 9999 of ", "--allocator", cut)
    os.chmod(broken, 0o666)
    replays.refused("can be changed by others than its owner (mode 0666)", "--allocator", broken)
    replays.refused("no plugin of that name", "--plugins", plugins, "--allocator", "mine")
