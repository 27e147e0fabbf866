"""Running an example as its reader does: as a process, with an account in the environment."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from cekat_async.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def account():
    """A sandbox in a thread, with 250 conversations in 3 inboxes."""
    with Sandbox(250, 3, quota=None) as sandbox:
        yield sandbox


@pytest.fixture
def run_example(account, tmp_path):
    """A function that runs a file of ``examples/`` to its end, in an empty folder.

    The environment has the URL and the key of ``account``, and the scripts of this installation.
    A Python file is run by this Python, and any other one by itself.
    """
    paths = [sysconfig.get_path("scripts"), os.environ["PATH"]]
    environment = os.environ | {
        "CEKAT_BASE_URL": account.base_url,
        "CEKAT_API_KEY": account.api_key,
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join(paths),
        "PYTHONUTF8": "1",
    }

    def run_example(name, *arguments, **more):
        program = [sys.executable] if str(name).endswith(".py") else []
        return subprocess.run(  # noqa: S603 - our own examples
            [*program, str(EXAMPLES / name), *map(str, arguments)],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )

    return run_example
