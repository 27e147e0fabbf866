"""Instructions per page of a walk. The figures are the same on a busy machine and an idle one.

``callgrind.py`` explains how they are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from callgrind import measure
from page_server import SERVERS, Listing, serving
from rivals import BY_HAND, OURS, RIVALS
from suite import Claim, argument_parser, ratios, show

if TYPE_CHECKING:
    from suite import Result

_WALK = "import rivals, sys; rivals.walk(*sys.argv[1:])"
_PAGES = "documented pages"
_UNKNOWN = "15 % of records with an undocumented field"
_TWO_UNKNOWN = "two undocumented fields in each record"
_MISTYPED = "a mistyped field in each record"
_NOTE = "The hand-written loop ignores undocumented fields. It cannot read mistyped ones."


class Case(NamedTuple):
    """A rival, the kind of its records, and its target: the largest ratio to the reference."""

    rival: str
    records: str
    what: str
    wanted: float | None = None

    @property
    def title(self) -> str:
        """The name of its row."""
        return f"{RIVALS[self.rival].title}, {self.what}"


REFERENCE = Case(BY_HAND, "documented", _PAGES)
CASES = (
    REFERENCE,
    Case(OURS, "documented", _PAGES, 1.25),
    Case(OURS, "unknown", _UNKNOWN, 1.45),
    Case(OURS, "two-unknown", _TWO_UNKNOWN, 1.6),
    Case(OURS, "mistyped", _MISTYPED, 2.5),
    Case("by-hand-paced", "documented", _PAGES),
)


def run(cases: tuple[Case, ...], pages: tuple[int, int], server: str) -> Result:
    """Measure the cases."""
    kinds = {case.records for case in cases}
    listings = [
        Listing(f"{kind}-{length}", length, records=kind) for kind in kinds for length in pages
    ]
    with serving(*listings, server=server) as urls:
        walks = {
            case.title: [(case.rival, urls[f"{case.records}-{length}"]) for length in pages]
            for case in cases
        }
        result = measure(_WALK, walks, pages, reference=REFERENCE.title)
    if not result.samples:
        return result
    result.claims = [
        Claim(
            what=f"{case.what}, compared with the hand-written loop on documented pages",
            values=ratios(result, case.title, REFERENCE.title, "instructions"),
            wanted=case.wanted,
        )
        for case in cases
        if case.wanted is not None and REFERENCE in cases
    ]
    result.notes = [_NOTE]
    return result


def main() -> None:
    """Measure and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--pages", type=int, nargs=2, default=(30, 130), help="two lengths")
    parser.add_argument(
        "--few", action="store_true", help="only this package, and only documented pages"
    )
    parser.add_argument("--server", choices=SERVERS, default="auto")
    options = parser.parse_args()
    cases = CASES[1:2] if options.few else CASES
    show([run(cases, tuple(options.pages), options.server)], as_json=options.json)


if __name__ == "__main__":
    main()
