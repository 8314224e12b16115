"""What others take for the same: systemd's own command, and other runtimes of containers."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

SLEEP = ["/bin/sh", "-c", "exec sleep 100000"]
RUNTIMES = ("crun", "runc")


def systemd_run(count):
    """Seconds that systemd's own command takes until the program is executed."""
    delays = []
    for number in range(count):
        unit = f"tepui-peer-{number}"
        started = time.monotonic()
        subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={unit}", "-p", "Type=exec",
                        "sleep", "100000"], check=True)
        delays.append(time.monotonic() - started)
        subprocess.run(["systemctl", "stop", unit], check=True)
    return delays


def tepui_runtime(program, order, folder, count):
    """Seconds from the start of our runtime until it says that the task is executed. It mounts the
    container's layers in that time; the others find them mounted."""
    delays = []
    for number in range(count):
        bundle = pathlib.Path(folder) / f"own-{number}"
        bundle.mkdir()
        # In memory, as the agent has it.
        scratch = tempfile.mkdtemp(prefix="tepui-peer-", dir="/run")
        own = {**order, "run": bundle.name, "scratch": scratch}
        (bundle / "order.json").write_text(json.dumps(own))
        answer, theirs = os.pipe()
        started = time.monotonic()
        # A shell gives it the one descriptor that it takes, and becomes it.
        runtime = subprocess.Popen(
            ["sh", "-c", f'exec 3>&{theirs} {theirs}>&-; exec "$0" run "$1"', program, bundle],
            pass_fds=[theirs], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        refusal = os.read(answer, 4096)
        delays.append(time.monotonic() - started)
        os.close(answer)
        runtime.send_signal(signal.SIGKILL)
        said = runtime.communicate()[1]
        if refusal:
            raise RuntimeError(f"tepui-runtime refused: {refusal!r} {said!r}")
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
    return delays


@contextlib.contextmanager
def _bundle(runtime, layers, folder):
    """The same layers as a bundle, as the runtime's own command describes it."""
    bundle = pathlib.Path(folder) / runtime
    for name in ("rootfs", "upper", "work"):
        (bundle / name).mkdir(parents=True)
    subprocess.run([runtime, "spec"], cwd=bundle, check=True, capture_output=True)
    file = bundle / "config.json"
    config = json.loads(file.read_text())
    config["process"] |= {"terminal": False, "args": SLEEP}
    config["root"]["readonly"] = False
    spaces = config["linux"]["namespaces"]
    # As ours, on the host's network.
    config["linux"]["namespaces"] = [one for one in spaces if one["type"] != "network"]
    config["mounts"] = [one for one in config["mounts"] if one["destination"] != "/sys"]
    file.write_text(json.dumps(config))
    options = (f"lowerdir={':'.join(reversed(layers))},upperdir={bundle}/upper,"
               f"workdir={bundle}/work")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, bundle / "rootfs"],
                   check=True)
    try:
        yield bundle
    finally:
        subprocess.run(["umount", bundle / "rootfs"], check=True)
        shutil.rmtree(bundle)


def other_runtime(runtime, layers, folder, count):
    """(seconds of each, None), or (None, why it does not run here)."""
    if not shutil.which(runtime):
        return None, "is not installed here"
    delays = []
    with _bundle(runtime, layers, folder) as bundle:
        for number in range(count):
            name = f"tepui-peer-{os.getpid()}-{number}"
            started = time.monotonic()
            # Its words into a file: the container keeps a pipe open.
            with open(bundle / "words", "w+b") as words:
                done = subprocess.run([runtime, "run", "--detach", "--bundle", bundle, name],
                                      stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                                      check=False)
                delays.append(time.monotonic() - started)
                words.seek(0)
                said = words.read().decode(errors="replace").strip()
            subprocess.run([runtime, "delete", "--force", name], check=False, capture_output=True)
            if done.returncode != 0:
                return None, f"refuses this host: {said.splitlines()[-1] if said else 'silently'}"
    return delays, None
