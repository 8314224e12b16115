"""Values of Nix expressions. Needs nix-instantiate, and neither a store nor root."""

import json
import os
import subprocess
from typing import Any


class NixFailure(Exception):
    """An expression has no value; the text is what nix says of it."""


def value_of(*words: str) -> Any:
    """The value of what the words name: `-E` and an expression, or a file and its arguments."""
    done = subprocess.run(
        [
            "nix-instantiate", "--store", "dummy://", "--readonly-mode", "--eval", "--strict",
            "--json", *words,
        ],
        capture_output=True, text=True, check=False,
        env={**os.environ, "NIX_CONFIG": "build-users-group ="},
    )  # fmt: skip
    if done.returncode != 0:
        raise NixFailure(done.stderr)
    return json.loads(done.stdout)
