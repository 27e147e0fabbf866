"""The site is built strictly: a mistake on a page fails the build."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, build, require_generator

CONFIG = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]


def find_pages(entries: list[Any]) -> Iterator[str]:
    """Yield each page of a navigation, in order."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else find_pages(value)


NAVIGATION = [*find_pages(CONFIG["nav"])]


def test_the_site_builds(site: Path) -> None:
    """The site builds without a warning and has a page for each entry of the navigation."""
    for page in NAVIGATION:
        name = page.removesuffix(".md").removesuffix("index").strip("/")

        assert (site / name / "index.html").is_file()


def test_each_page_is_in_the_navigation_once() -> None:
    """Each page of docs/ is in the navigation exactly once, and no other page is."""
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]

    assert sorted(NAVIGATION) == sorted(pages)


@pytest.mark.parametrize(
    "text,message",
    [
        ("[gone](no-such-page.md)", "page does not exist"),
        ("[gone](#no-such-heading)", "anchor"),
        ("[gone](../README.md)", "page does not exist"),
        ("[`Gone`][cekat_async.Gone]", "unresolved autoref"),
        ("::: cekat_async.Gone", "could not be found"),
        ('--8<-- "examples/gone.py"', "could not be found"),
    ],
    ids=["page", "anchor", "outside", "reference", "object", "file"],
)
def test_what_is_dead_fails_the_build(text: str, message: str, tmp_path: Path) -> None:
    """The build fails for a dead link, anchor or reference, and for a missing object or file."""
    require_generator()
    for name in (".ci/site", "cekat_async"):
        shutil.copytree(ROOT / name, tmp_path / name)
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    without_pages = re.sub(
        r"^nav = .*?^\]$", 'nav = ["index.md"]', config, flags=re.MULTILINE | re.DOTALL
    )
    (tmp_path / "zensical.toml").write_text(without_pages, encoding="utf-8")
    page = tmp_path / "docs" / "index.md"
    page.parent.mkdir()

    page.write_text(f"# Home\n\n{text}\n", encoding="utf-8")
    dead = build(tmp_path)

    assert dead.returncode != 0
    assert message in dead.stdout + dead.stderr


def test_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    """No page loads a script, a style, a font or an image from another host."""
    loads = re.compile(
        r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(https?:)?//[^>]*>"
    )
    found = {
        (str(path.relative_to(site)), match.group())
        for path in site.rglob("*.html")
        for match in loads.finditer(path.read_text(encoding="utf-8"))
    }

    assert found == set()


def test_llms_txt_lists_each_page(site: Path) -> None:
    """llms.txt is at the root of the site. It describes each page of the navigation, in order."""
    text = (site / "llms.txt").read_text(encoding="utf-8")
    title, _, summary, *_ = text.splitlines()
    entries = re.findall(r"^- \[.+?\]\((.+?)\): .+$", text, re.MULTILINE)

    assert title == "# cekat_async"
    assert summary.startswith("> ")
    assert text.count("](") == len(entries)
    names = [f"{page.removesuffix('.md')}/".removesuffix("index/") or "./" for page in NAVIGATION]
    assert entries == names
