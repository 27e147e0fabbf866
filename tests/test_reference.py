"""The reference pages of the documentation list exactly what the code has."""

import re
from pathlib import Path

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
