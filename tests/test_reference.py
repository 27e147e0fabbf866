"""The reference pages of the documentation list exactly what the code has."""

import re
from inspect import getdoc, getsource
from pathlib import Path

import pytest

from cekat_async import errors
from cekat_async._api.status import get_error_class
from cekat_async._request.retry import is_retryable
from cekat_async.cli.exit_codes import get_exit_code

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def read_page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def get_anchors(text: str) -> set[str]:
    """Get the anchors of the headings of a page, in the way that the site makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


def get_code_files() -> list[Path]:
    return sorted([*(ROOT / "cekat_async").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])


def test_code_refers_to_pages_that_exist():
    """Each page and section of the documentation that the code names exists."""
    named = {
        (page, anchor)
        for path in get_code_files()
        for page, anchor in re.findall(
            r"\bdocs/([\w/-]+\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8")
        )
    }

    assert ("api.md", "limits") in named
    assert {
        (page, anchor)
        for page, anchor in named
        if not (DOCS / page).exists() or (anchor and anchor not in get_anchors(read_page(page)))
    } == set()


def read_rows(page: str, section: str) -> list[list[str]]:
    """Read the rows of the tables of one section: its cells, without the headings."""
    (text,) = re.findall(
        rf"^## {section}\n(.*?)(?=^## |\Z)", read_page(page), re.MULTILINE | re.DOTALL
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    headings = {number - 1 for number, line in enumerate(lines) if set(line) <= set("|-")}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for number, line in enumerate(lines)
        if number not in headings and number - 1 not in headings
    ]


def get_names(cell: str) -> list[str]:
    """Get the names in a cell that are written as code."""
    return re.findall(r"`([^`]+)`", cell)


def test_errors_are_complete():
    """The table lists each error class once, below its base class."""
    above = [errors.CekatError]
    listed = []
    for cell, *_ in read_rows("reference/errors.md", "All classes"):
        depth, (name,) = cell.count("↳"), get_names(cell)
        kind = getattr(errors, name)
        if listed:
            above[depth + 1 :] = [kind]
            assert kind.__bases__[0] is above[depth], name
        listed.append(name)

    assert sorted(listed) == sorted(errors.__all__)


STATUSES = {
    errors.BadRequestError: 400,
    errors.AuthenticationError: 401,
    errors.PermissionDeniedError: 403,
    errors.NotFoundError: 404,
    errors.RateLimitError: 429,
    errors.ServerError: 503,
    errors.APIStatusError: 418,
}


@pytest.mark.parametrize("row", read_rows("reference/errors.md", "All classes")[1:], ids="".join)
def test_errors_are_retried_as_documented(row):
    """The table says which errors are retried, and the exit code of each."""
    cell, _when, retried, code, _advice = row
    kind = getattr(errors, get_names(cell)[0])
    error = kind("", status=STATUSES[kind]) if kind in STATUSES else kind("")

    assert is_retryable(error) == retried.startswith("yes")
    assert get_exit_code(error) == int(re.findall(r"\d+", code)[0])


@pytest.mark.parametrize("row", read_rows("reference/errors.md", "By HTTP status"), ids="".join)
def test_statuses_have_the_documented_class(row):
    """The table has the class of each status."""
    statuses = [int(status) for status in re.findall(r"\d+", row[0])] or [302, 408, 418]

    assert {get_error_class(status).__name__ for status in statuses} == set(get_names(row[1]))


def test_attributes_of_errors_are_complete():
    """The table lists each attribute that an error class documents, and its class."""
    described = {
        (kind, name)
        for kind in errors.__all__
        for name in re.findall(
            r"^    (\w+): ",
            getdoc(getattr(errors, kind)).partition("Attributes:")[2],
            re.MULTILINE,
        )
    }
    listed = {
        (kind, name)
        for names, kinds, _ in read_rows("reference/errors.md", "Attributes")
        for name in get_names(names)
        for kind in get_names(kinds) or ["CekatError"]
    }

    assert described <= listed
    assert all(is_attribute(getattr(errors, kind), name) for kind, name in listed)


def is_attribute(kind: type, name: str) -> bool:
    return hasattr(kind, name) or f"self.{name} =" in getsource(kind)
