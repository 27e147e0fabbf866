"""Writes the results of benchmarks into the page of the documentation, and draws its picture."""

# matplotlib does not have types for some arguments.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import statistics
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rivals import BY_HAND, RIVALS
from suite import Claim, Result, as_markdown, claims_table, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

DOCS = Path(__file__).parents[1] / "docs" / "explanation"
PAGE, PICTURE = DOCS / "benchmarks.md", DOCS / "benchmarks.svg"
# The rest of the page is written by hand.
BEGIN, END = "<!-- the results begin -->", "<!-- the results end -->"
_OURS, _THEIRS, _REFERENCE = "#2f7ed8", "#9aa5b1", "#5b6876"
# These colors are readable on white and on black.
_INK = "#808890"
_TITLES = {
    "walk": "A walk",
    "instructions": "Instructions per page",
    "telemetry": "Hooks and telemetry",
    "decode": "Decoding",
    "raw": "Raw export",
    "frames": "DataFrames",
    "latency": "One call",
    "request": "Parts of a request",
    "hold": "The event loop",
    "blocking": "The longest block of the event loop",
    "import": "Starting",
    "memory": "Memory",
    "growth": "Growth",
    "accounts": "Many accounts",
    "concurrency": "Latency and concurrency",
    "export": "Exports",
    "limiter": "The limiter",
    "quota": "The quota, on a virtual clock",
    "quota_cases": "The quota, named cases",
    "quota_sockets": "The quota, named cases over sockets",
    "quota_contenders": "The quota, over sockets",
    "budgets": "Budgets",
}
_IMAGE = "![CPU microseconds per conversation of a walk, by client](benchmarks.svg)"


def write(document: dict[str, Any]) -> None:
    """Write page and picture.

    Without matplotlib, or without results of a walk, the page has no picture.
    """
    results = {
        name: msgspec.convert(found, list[Result])
        for name, found in document["benches"].items()
        if found
    }
    has_picture = "walk" in results and find_spec("matplotlib") is not None
    if has_picture:
        draw(results["walk"][0], PICTURE)
    text = "\n\n".join([BEGIN, *_page(document, results, has_picture=has_picture), END])
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{text}{tail}", encoding="utf-8")


def _page(
    document: dict[str, Any], results: dict[str, list[Result]], *, has_picture: bool
) -> Iterator[str]:
    if document["size"] == "tiny":
        yield "**This was a run at a tiny size. Its figures only show that the scripts work.**"
    if has_picture:
        yield _IMAGE
    yield "## Targets"
    yield as_markdown(claims_table(_claims(results)))
    for name, found in results.items():
        yield f"## {_TITLES[name]}"
        for result in found:
            yield from _section(result)
    yield f"## Versions\n\n{_machine(document)}"
    rows = [[name, version] for name, version in document["versions"].items()]
    yield as_markdown([["", "version"], *rows])


def _claims(results: dict[str, list[Result]]) -> Iterator[Claim]:
    for name, found in results.items():
        for result in found:
            for claim in result.claims:
                what = f"{_TITLES[name]}: {claim.what}"
                yield msgspec.structs.replace(claim, what=what)


def _section(result: Result) -> Iterator[str]:
    title = result.title[0].upper() + result.title[1:]
    yield f"{title}:"
    yield as_markdown(table(result))
    if result.notes:
        yield "\n".join(f"- {note}" for note in result.notes)


def _machine(document: dict[str, Any]) -> str:
    machine = document["machine"]
    return (
        f"Measured on {document['date']}, with {machine['implementation']} on {machine['system']}, "
        f"{machine['cpus']} CPUs ({machine['processor']})."
    )


def draw(walk: Result, path: Path) -> None:
    """Draw the CPU of each rival of a walk as a bar.

    The same figures always give the same bytes.
    """
    import matplotlib as mpl  # noqa: PLC0415 - it takes a second

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    cpu = {
        name.replace("`", ""): statistics.median(sample["cpu"] for sample in samples)
        for name, samples in walk.samples.items()
    }
    names = sorted(cpu, key=cpu.__getitem__, reverse=True)
    style: dict[RcKeyType, Any] = {
        "svg.hashsalt": "benchmarks",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(8, 0.36 * len(names) + 0.9), layout="constrained")
        bars = axes.barh(names, [cpu[name] for name in names], color=_colours(names), height=0.7)
        axes.bar_label(bars, [f"{cpu[name]:.1f}" for name in names], padding=4)
        _dress(axes)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def _colours(names: Iterable[str]) -> list[str]:
    special = {RIVALS[BY_HAND].title: _REFERENCE}
    return [
        _OURS if name.startswith("cekat_async") else special.get(name, _THEIRS) for name in names
    ]


def _dress(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(left=1)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("CPU µs per conversation of a walk (logarithmic; less is better)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels():
        if label.get_text().startswith("cekat_async"):
            label.set(fontweight="bold", color=_OURS)
