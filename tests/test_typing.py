"""What type checkers say of a user's code. CI asks pyright as well."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.once
def test_a_users_code_type_checks(tmp_path):
    """`mypy --strict` is happy with code that uses the public names, and sees its wrong uses."""
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}"]
    command += [f"--config-file={ROOT / 'pyproject.toml'}", "tests/typing_api.py"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own

    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
