"""Container images for hosts: a registry's storage in the payload, and the registry to serve it.

The images are those of agentd/images/fixtures. They are pushed to a registry on this machine once
for each case; a host serves the same files with `docker-registry serve /payload/registry.yml`.
"""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

from .progress import TestFailure

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FIXTURES = REPOSITORY / "agentd/images/fixtures/make"
PATIENCE_SECONDS = 30
HOST_PORT = 5000
CONFIG = """version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}}}
  maintenance: {{readonly: {{enabled: {read_only}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def layouts() -> Path:
    """Where images stay between runs."""
    target = os.environ.get("CARGO_TARGET_DIR")
    return (Path(target) if target else REPOSITORY / "target") / "tools/container-images"


def fixture(*words: str) -> None:
    """Runs the maker of images."""
    done = subprocess.run([FIXTURES, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestFailure(f"image {' '.join(words)} was not made: {done.stderr.strip()}")


def wait_for_registry(port: int) -> None:
    """Returns when the registry answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise TestFailure("docker-registry does not answer") from None
            time.sleep(0.1)


def fill(payload: Path, images: list[str]) -> None:
    """Puts a registry with these images, named as `web:TAG` or `mysql:TAG`, into the payload."""
    program = shutil.which("docker-registry")
    if program is None:
        raise TestFailure("no docker-registry on this machine: apt-get install docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    storage = payload / "registry"
    here = payload / "registry-here.yml"
    here.write_text(CONFIG.format(folder=storage, read_only="false", port=port))
    registry = subprocess.Popen(
        [program, "serve", here], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_registry(port)
        for image in images:
            name, tag = image.split(":")
            layout = layouts() / name
            layout.parent.mkdir(parents=True, exist_ok=True)
            text = [f"{name} {tag}"] if name == "web" else []
            fixture(name, str(layout), tag, *text)
            fixture("push", str(layout), tag, f"127.0.0.1:{port}/{image}")
    finally:
        registry.terminate()
        registry.wait()
    here.unlink()
    shutil.copy(program, payload / "bin/docker-registry")
    config = CONFIG.format(folder="/payload/registry", read_only="true", port=HOST_PORT)
    (payload / "registry.yml").write_text(config)
