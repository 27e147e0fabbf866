"""Docstrings become Markdown, with links for roles and with examples that can be copied."""

import importlib.util

import pytest

from .conftest import ROOT, require_generator


@pytest.fixture(scope="module")
def rewriting():
    """The extension, and the package as griffe read it."""
    require_generator()
    import griffe  # noqa: PLC0415 - a dependency of the site

    path = ROOT / ".ci" / "site" / "docstrings.py"
    spec = importlib.util.spec_from_file_location("docstrings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, griffe.load("cekat_async", search_paths=[ROOT])


@pytest.mark.parametrize(
    "where,text,expected",
    [
        (
            "errors.CekatError",
            ":class:`~cekat_async.Listing`",
            "[`Listing`][cekat_async.resources.listing.Listing]",
        ),
        (
            "client.CekatClient.get",
            ":meth:`aclose`",
            "[`aclose`][cekat_async.client.CekatClient.aclose]",
        ),
        (
            "client.CekatClient",
            ":attr:`Timeout.deadline`",
            "[`Timeout.deadline`][cekat_async.config.Timeout.deadline]",
        ),
        ("models.conversation", ":class:`~datetime.datetime`", "`datetime`"),
        ("errors", ":exc:`OSError`", "`OSError`"),
        ("errors", ":class:`Gone`", "[`Gone`][Gone]"),
        ("errors", "``None``", "``None``"),
        ("config", "quota (docs/api.md#limits).", "quota ([the API](../../api.md#limits))."),
    ],
    ids=["path", "member", "of a class", "standard", "builtin", "unknown", "code", "citation"],
)
def test_a_reference_becomes_a_link(where, text, expected, rewriting):
    """A role becomes a link to its object, and a citation becomes a link to its page.

    A name from another library becomes plain code. A misspelt name remains a link, which fails the
    build.
    """
    module, package = rewriting

    assert module.to_markdown(text, package[where]) == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        (
            ">>> async with client:\n...     await client.get()\n5\n\nAfter it.",
            "\n```python\nasync with client:\n    await client.get()\n# 5\n```\n\n\nAfter it.",
        ),
        (
            "Before.\n\n::\n\n    page = 1\n\nAfter.",
            "Before.\n\n\n```python\npage = 1\n```\n\n\nAfter.",
        ),
        ("It is::\n\n    a ─ tree", "It is:\n\n```text\na ─ tree\n```\n"),
        ("Examples:\n    >>> x = 1\n\nText.", "**Example:**\n\n\n```python\nx = 1\n```\n\n\nText."),
    ],
    ids=["doctest", "literal", "text", "section"],
)
def test_examples_become_code(text, expected, rewriting):
    """An example becomes a block without prompts. Other literal text does not change."""
    module, package = rewriting

    assert module.to_markdown(text, package) == expected
