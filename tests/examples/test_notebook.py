"""The notebook runs from top to bottom, and its file has the output of such a run."""

import base64
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "conversations.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells of the notebook after a run by Jupyter, in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    copy = shutil.copy(NOTEBOOK, folder)  # the notebook exports to the folder that it is in
    jupyter = Path(sysconfig.get_path("scripts")) / "jupyter-execute"
    for command in (
        # The first import looks for fonts, and prints a warning if that takes long.
        [sys.executable, "-c", "import matplotlib.font_manager"],
        [jupyter, "--inplace", copy],
    ):
        subprocess.run(  # noqa: S603 - our own notebook
            command,
            cwd=folder,
            env=os.environ | {"HOME": str(folder), "PYTHONUTF8": "1"},
            check=True,
            capture_output=True,
            timeout=300,
        )
    return nbformat.read(copy, as_version=4).cells


def list_outputs(cells):
    """Return the outputs of all cells that have outputs, each with its text."""
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [(output.output_type, output.get("data", {})) for output in outputs]


@pytest.mark.once
def test_its_output_is_in_the_file(executed):
    """The file has the output of a run: the same kinds of output, and the same numbers."""
    kept = list_outputs(nbformat.read(NOTEBOOK, as_version=4).cells)
    shown = list_outputs(executed)

    assert [(kind, set(data)) for kind, data in shown] == [(kind, set(data)) for kind, data in kept]
    assert {kind for kind, _ in shown} == {"execute_result", "display_data"}
    # The alignment of a number depends on the version of pandas.
    for (_, data), (_, old) in zip(shown, kept, strict=True):
        assert re.findall(r"\d+", data["text/plain"]) == re.findall(r"\d+", old["text/plain"])


@pytest.mark.once
def test_a_page_is_a_table(executed):
    """A page is shown as a table with a row for each of its records."""
    page = list_outputs(executed)[0][1]

    assert page["text/html"].count("<tr") >= 5


@pytest.mark.once
def test_every_conversation_is_counted(executed):
    """The tables by agent and by hour both count all conversations of the sandbox."""
    for table in (list_outputs(executed)[3], list_outputs(executed)[5]):
        counts = map(int, re.findall(r"<td>(\d+)</td>", table[1]["text/html"]))

        assert sum(counts) == 2_000


@pytest.mark.once
def test_both_charts_are_in_the_file(executed):
    """There is a chart of agents and a chart of hours. Both images are in the file."""
    kept = nbformat.read(NOTEBOOK, as_version=4).cells
    for cells in (executed, kept):
        images = [data["image/png"] for _, data in list_outputs(cells) if "image/png" in data]

        assert len(images) == 2
        assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
