"""The project's prose is plain English: docstrings, comments, names, messages and Markdown.

A sentence with one of the patterns below often has to be read twice. But a pattern cannot judge a
sentence: "behind the door" is right. So a few matches per 10,000 words are allowed.
"""

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

# Patterns, and what to write instead. A space in a pattern also matches a line break.
START = r"(?:^|(?<=[.:;!?] ))"  # the start of a sentence
QUESTION = r"(?![^.;]*\?)"  # "Who pays?" is fine
REPLACEMENTS = {
    rf"{START}Who\b{QUESTION}|\b[Ww]hoever\b|\bfor who\b": "a caller that …, if you …",
    rf"{START}What\b{QUESTION}": "a noun: the file that …, everything that …",
    rf"{START}Of (?!course)": "subject, verb, object: the last of them is …",
    r"\b(?:has|have|had) come\b|\bcame\b|\bcomes? (?:again|late|once|twice)\b": "arrive",
    r"\b(?:go|goes|going|gone|went) on\b": "continue, resume",
    r"\b(?:is|are|was|were|be|been|being) told\b": "is reported, the error says",
    r"\b(?:told|tells?) of\b|\btold (?:in|later|apart)\b": "report, distinguish",
    r"\b(?:stands?|stood)\b(?! (?:for|in for|out))": "is, are",
    r"\bbehind (?:it|them|this|that|all|another|each|the (?:page|cursor|record))\b": "after",
    r"\bbeside\b": "next to",
    r"\banew\b|\bonce more\b": "again",
    r"\bmeanwhile\b": "in the meantime, or nothing",
    r"\bin vain\b": "without effect",
    r"\bbut for\b": "except, without",
    r"\bat the (?:most|least|begin)\b|\bthe begin\b": "at most, at least, the beginning",
    r"\bso (?:many|much|few|long|deep|often|far back)\b(?! (?:as|that))": "that many, the number",
    r"\bspent day\b|\b(?:day|quota) is spent\b": "the daily quota is used up",
    r"\boutdo(?:es|ne)?\b|\bhas no say\b": "overrides, is ignored",
    r"\b(?:its|his|her|their) word\b|\bno word of\b": "what the server reports",
    r"\blet(?:s|ting)? go of\b": "release",
    r"\bodd (?:record|value|page|one)s?\b": "malformed",
    r"\b(?:a|the|each|every|its|no|longest|server's) hold\b": "pause",
    r"\bfor granted\b|\bas good as\b|\bhears? of\b|\bbehind \w+ backs?\b": "say it literally",
    r";[^.;()|…-]*;": "several sentences, or a list",
}
PATTERNS = {
    re.compile(pattern.replace(" (", r"\s(").replace(" ", r"\s"), re.MULTILINE): instead
    for pattern, instead in REPLACEMENTS.items()
}

# The maximum number of matches per 10,000 words. Lower a limit when a group improves. Never raise
# it.
LIMITS = {"package": 5, "tests": 1, "docs": 3, "README": 15, "programs": 2}
FILES = {
    "package": ["cekat_async/**/*.py"],
    "tests": ["tests/**/*.py"],
    "docs": ["docs/**/*.md", "[!R]*.md", ".github/**/*.md"],
    "README": ["README.md"],
    "programs": [
        *("examples/**/*", "benchmarks/**/*", "*.py", "*.toml", "Dockerfile"),
        *(".ci/**/*", ".github/**/*.yml", ".pre-commit-config.yaml"),
    ],
}
SHELL = {".sh", ".toml", ".yaml", ".yml", ".service", ".timer", ""}  # files with comments after #
# A string in quotes, or a comment in one of these files. A # within a word begins no comment.
COMMENT = re.compile(r"""(?<!\w)(?:"(?:\\.|[^"\\])*"|'[^']*')|(?:^|(?<=\s))#(?!!)(.*)""")
MESSAGES = {"debug", "info", "warning", "error", "exception", "warn", "echo", "fail"}
TEXTS = {"help", "short_help", "epilog"}


class Prose(NamedTuple):
    line: int
    text: str


def read_docstrings(tree: ast.Module) -> Iterator[Prose]:
    """Yield the docstrings. Yield the names of functions and classes too, as words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield Prose(node.lineno, node.name.replace("_", " ").strip())
        elif not isinstance(node, ast.Module):
            continue
        if text := ast.get_docstring(node):
            yield Prose(node.body[0].lineno, text)


def read_messages(tree: ast.Module) -> Iterator[Prose]:
    """Yield the texts of errors, of log calls, and of the command line's help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            parts = node.exc.args
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in MESSAGES:
            parts = node.args
        elif isinstance(node, ast.keyword) and node.arg in TEXTS:
            parts = [node.value]
        else:
            continue
        for part in parts:
            texts = [one.value for one in ast.walk(part) if isinstance(one, ast.Constant)]
            yield Prose(part.lineno, "…".join(text for text in texts if isinstance(text, str)))


def read_comments(lines: list[tuple[int, str]]) -> Iterator[Prose]:
    """Yield comments. Comments on consecutive lines are one comment."""
    block: list[tuple[int, str]] = []
    for number, text in [*lines, (-1, "")]:
        if block and number != block[-1][0] + 1:
            yield Prose(block[0][0], "\n".join(text for _, text in block))
            block = []
        block.append((number, text.lstrip("#: ")))


def read_python(path: Path) -> Iterator[Prose]:
    """Yield the prose of a Python file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from read_docstrings(tree)
    yield from read_messages(tree)
    with path.open("rb") as file:
        comments = [
            (token.start[0], token.string)
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT
        ]
    yield from read_comments(comments)


def read_shell(path: Path) -> Iterator[Prose]:
    """Yield the comments of a shell script or a configuration file."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    found = [(number, match[1]) for number, text in lines for match in COMMENT.finditer(text)]
    yield from read_comments([(number, text) for number, text in found if text])


def read_markdown(path: Path) -> Iterator[Prose]:
    """Yield the paragraphs of a page, without its code blocks."""
    text = re.sub(
        r"^( *)```.*?^\1```",
        lambda fenced: "\n" * fenced[0].count("\n"),
        path.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    line = 1
    for paragraph in re.split(r"(\n\n+|\n(?= *(?:[-*|]|\d+\.) ))", text):
        if not paragraph.startswith("#"):  # "What it costs" is a good heading
            yield Prose(line, re.sub(r"^ *(?:[-*]|\d+\.) ", "", paragraph))
        line += paragraph.count("\n")


def read(path: Path) -> Iterator[Prose]:
    """Yield the prose of a file, without the code in backticks."""
    readers = {".py": read_python, ".md": read_markdown} | dict.fromkeys(SHELL, read_shell)
    for line, text in readers[path.suffix](path) if path.suffix in readers else ():
        yield Prose(line, re.sub(r"(`+)[^`]+\1", "…", text))


def find_files(group: str) -> list[Path]:
    found = {path for pattern in FILES[group] for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts)


def find_places(path: Path, line: int, text: str) -> Iterator[str]:
    """Find the matches in a text, with their places and what to write instead."""
    for pattern, instead in PATTERNS.items():
        for match in pattern.finditer(text):
            number = line + text.count("\n", 0, match.start())
            yield f"{path}:{number}: {' '.join(match[0].split())!r}: write {instead!r}"


@pytest.mark.parametrize("group", LIMITS)
def test_prose_needs_one_reading(group: str) -> None:
    """Each part of the project has few sentences that must be read twice."""
    words, places = 0, []
    for path in find_files(group):
        for line, text in read(path):
            words += len(re.findall(r"[A-Za-z']+", text))
            places += find_places(path.relative_to(ROOT), line, text)

    rate = 10_000 * len(places) / max(words, 1)
    assert rate <= LIMITS[group], (
        f"{len(places)} phrasings in {words:,} words of {group} need two readings: {rate:.0f} "
        f"per 10,000, more than {LIMITS[group]}. Rewrite some of them:\n" + "\n".join(places)
    )


@pytest.mark.parametrize(
    "before,after",
    [
        ("Killed, the same command goes on.", "If it is killed, run the same command again."),
        ("Who stops early pays.", "If you stop early, you pay. Who pays?"),
        ("One has come\nagain, once\nmore.", "The cursor is repeated."),
        ("A wrong filter is told.", "The error names a wrong filter."),
        ("It stands beside the target.", "It stands for the target, which is next to it."),
        ("What is lost is fetched.", "A lost page is fetched, whatever it is."),
        ("Of two, one is used.", "One of the two is used, of course."),
        ("Sent; kept; lost.", "Sent; kept."),
    ],
)
def test_phrasings_are_found(before: str, after: str) -> None:
    """The check finds a phrasing that needs two readings, and accepts the better one."""
    assert [*find_places(ROOT, 1, before)]
    assert [*find_places(ROOT, 1, after)] == []


def test_every_kind_of_prose_is_read(tmp_path: Path) -> None:
    """The check reads docstrings, names, comments, messages and paragraphs, but no code."""
    script, page, config = (tmp_path / name for name in ("a.py", "b.md", "c.toml"))
    script.write_text(
        '"""One."""\ndef two_words():\n    """Three."""\n    # Four,\n    # five.\n'
        '    raise ValueError(f"six {seven!r} eight")\nrun(help="nine", code="no")\n'
    )
    page.write_text("# Heading\n\none `code`\n\n```sh\nno\n```\n\n- two\n- three\n")
    config.write_text(
        "# one\n# two\nkey = 'no # no'  # three\n\n  # four's\n  \"#no\",\n  don't#no # five\n"
    )

    assert sorted(read(script)) == [
        (1, "One."),
        (2, "two words"),
        (3, "Three."),
        (4, "Four,\nfive."),
        (6, "six … eight"),
        (7, "nine"),
    ]
    assert [text.strip() for _, text in read(page) if text.strip()] == ["one …", "two", "three"]
    assert [*read(config)] == [(1, "one\ntwo\nthree"), (5, "four's"), (7, "five")]
