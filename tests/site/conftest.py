"""The documentation site, which is built once for all tests of the site."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Everything that the site is built from.
SOURCES = (".ci/site", "cekat_async", "docs", "examples")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def build(project: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a project strictly: a warning is a failure."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    result = subprocess.run(  # noqa: S603 - our own command
        command, cwd=project, capture_output=True, text=True, check=False
    )
    result.stdout, result.stderr = (_COLOR.sub("", text) for text in (result.stdout, result.stderr))
    return result


def require_generator() -> None:
    """Skip a test if the site cannot be built."""
    missing = [name for name in ("zensical", "mkdocstrings_handlers") if find_spec(name) is None]
    if missing:
        pytest.skip("the dependency group docs is not installed")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site.

    The build runs in a copy, so that it does not disturb a developer's own build.
    """
    require_generator()
    project = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__", ".venv")
    for name in SOURCES:
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for path in (ROOT / "zensical.toml", *ROOT.glob("*.md")):
        shutil.copy(path, project)

    result = build(project)

    assert result.returncode == 0, result.stdout + result.stderr
    return project / "site"
