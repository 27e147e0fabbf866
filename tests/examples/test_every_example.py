"""Every example in the folder has a test and is listed for readers."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path for path in (ROOT / "examples").iterdir() if path.name not in {"README.md", "__pycache__"}
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_has_a_test(example):
    """Each file and each folder has a test file with the same name."""
    assert (ROOT / "tests" / "examples" / f"test_{example.stem}.py").exists()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_listed(example):
    """The table of examples links to each of them."""
    table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")

    assert f"]({example.name})" in table
