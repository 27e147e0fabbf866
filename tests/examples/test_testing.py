"""The example of tests, run as a stranger runs it: in a folder and a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "testing"


def test_the_example_passes(tmp_path):
    """The tests of the copied example pass, with the plugin that pytest finds by itself."""
    folder = shutil.copytree(EXAMPLE, tmp_path / "testing", ignore=shutil.ignore_patterns("_*"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "4 passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0
