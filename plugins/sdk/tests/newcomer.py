"""A newcomer's plugin: the sdk's first page, followed to the letter in a folder of its own, loaded by
a control plane and asked by a cluster at work.

    python3 plugins/sdk/tests/newcomer.py --bin target/debug
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SDK = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = SDK.parent.parent
sys.path.insert(0, str(REPOSITORY / "control-plane/daemon/tests"))
import harness  # noqa: E402

NAME = "first-come"
SETTINGS = f"""
allocator = "{NAME}"
plugin_dir = "%s"

[plugins.{NAME}.settings]
favourites = ["*"]
"""


def blocks():
    """The manifest and the code of the first page."""
    lines = [line for line in (SDK / "src/lib.rs").read_text().splitlines() if line[:3] == "//!"]
    page = "\n".join(line[4:] for line in lines)
    manifest = re.search(r"```toml\n(.*?)```", page, re.S)
    code = re.search(r"```\n(use .*?)```", page, re.S)
    if not manifest or not code:
        raise harness.Failed("the first page has no manifest or no code")
    return manifest[1].replace("…/plugins/sdk", str(SDK)), code[1]


def cargo(folder, target, *words):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0"}
    done = subprocess.run(
        ["cargo", *words, "--offline"], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise harness.Failed(f"cargo {' '.join(words)}:\n{done.stderr[-4000:]}")


def build(folder, target):
    """`cargo new`, the two blocks, `cargo test`, `cargo build`: the library."""
    cargo(folder, target, "new", "--quiet", "--lib", "--vcs", "none", NAME)
    plugin = folder / NAME
    manifest, code = blocks()
    (plugin / "Cargo.toml").write_text(manifest)
    (plugin / "src/lib.rs").write_text(code)
    # Versions that are here; a newcomer has the network instead.
    shutil.copy(REPOSITORY / "Cargo.lock", plugin)
    cargo(plugin, target, "test", "--quiet")
    cargo(plugin, target, "build", "--quiet")
    return target / "debug/libfirst_come.so"


def listed(cluster):
    _, answer, _ = harness.request("GET", f"{cluster.mesos}/tepui/v1/plugins")
    return {plugin["name"]: plugin for plugin in answer["plugins"]}


def state(cluster, name):
    return listed(cluster).get(name, {}).get("state")


def metrics(cluster):
    return harness.request("GET", f"{cluster.mesos}/metrics")[1]


def decides(folder, binaries, library):
    plugins = folder / "plugins"
    plugins.mkdir(mode=0o755)
    shutil.copy(library, plugins)
    os.chmod(plugins / library.name, 0o644)
    config = folder / "control-plane.toml"
    config.write_text(SETTINGS % plugins)
    options = ["--config", str(config)]
    with harness.Cluster(
        binaries, folder, "cpus:4;mem:2048;ports:[31000-31099]", control_plane_options=options
    ) as cluster:
        harness.wait_for("it is in use", lambda: state(cluster, NAME) == "in_use")
        cluster.post_app({"id": "/web", "cmd": "sleep 1000", "cpus": 0.1, "mem": 16})
        cluster.wait_running("/web", 1)
        count = f'tepui_plugin_call_seconds_count{{hook="round",plugin="{NAME}"}}'
        harness.wait_for("its calls are counted", lambda: count in metrics(cluster))
        if state(cluster, "drf") != "stands_by":
            raise harness.Failed(f"the built-in allocator does not stand by: {listed(cluster)}")
        config.write_text("")
        os.kill(cluster.control_plane.pid, signal.SIGHUP)
        harness.wait_for("it retires", lambda: state(cluster, NAME) == "retired")
        cluster.post_app({"id": "/more", "cmd": "sleep 1000", "cpus": 0.1, "mem": 16})
        cluster.wait_running("/more", 1)
        cluster.wait_running("/web", 1)
        print(cluster.cli("plugin", "list").stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, type=pathlib.Path, help="folder of the programs")
    arguments = parser.parse_args()
    binaries = arguments.bin.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        library = build(folder, binaries.parent / "newcomer")
        decides(folder, binaries, library)
    print("newcomer: built, loaded, decided, measured, swapped away again")


if __name__ == "__main__":
    try:
        main()
    except harness.Failed as failure:
        sys.exit(f"newcomer: {failure}")
