"""The notebook: it runs from top to bottom, and its file has the output that it gives."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "conversations.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells of the notebook after a run by Jupyter, in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    target = folder / "executed.ipynb"
    subprocess.run(  # noqa: S603 - our own notebook
        [Path(sysconfig.get_path("scripts")) / "jupyter-execute", f"--output={target}", NOTEBOOK],
        cwd=folder,
        env=os.environ | {"HOME": str(folder), "PYTHONUTF8": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    return nbformat.read(target, as_version=4).cells


def list_outputs(cells):
    """Return the outputs of all cells that have some, each with its text."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [(output.output_type, output.get("data", {})) for output in outputs]


@pytest.mark.once
def test_its_output_is_in_the_file(executed):
    """What is kept in the file is what a run shows: the same kinds of output, the same numbers."""
    kept = list_outputs(nbformat.read(NOTEBOOK, as_version=4).cells)
    shown = list_outputs(executed)

    assert [(kind, set(data)) for kind, data in shown] == [(kind, set(data)) for kind, data in kept]
    assert {kind for kind, _ in shown} == {"execute_result"}
    # How a number is aligned depends on the version of pandas.
    for (_, data), (_, old) in zip(shown, kept, strict=True):
        assert re.findall(r"\d+", data["text/plain"]) == re.findall(r"\d+", old["text/plain"])


@pytest.mark.once
def test_a_page_is_a_table(executed):
    """The page is shown as a table with a row for each of its records."""
    page = list_outputs(executed)[0][1]

    assert page["text/html"].count("<tr") >= 5


@pytest.mark.once
def test_every_conversation_is_counted(executed):
    """The table by hour and inbox counts all conversations of the sandbox."""
    table = list_outputs(executed)[3][1]["text/html"]

    assert sum(map(int, re.findall(r"<td>(\d+)</td>", table))) == 2_000
