"""Positions: opaque, small, and readable by every later version."""

import pickle
from datetime import timedelta
from math import inf, nan
from random import Random

import msgspec
import pytest
from support.listing import ModelListing, replay

from cekat_async import ConfigurationError, DecodeError
from cekat_async._parallel.walk import ParallelWalk
from cekat_async.export.manifest import Manifest
from cekat_async.positions import Cursor, Edge, Part, Position, Stage, WalkState

EDGE = Edge(Cursor("a", "b"), 1.5)
STATE = WalkState(
    parts=(Part(Cursor("c", "d"), 3, 4, ("x",), 5.0, EDGE, is_over=True),),
    stage=Stage.BEHIND,
    top=EDGE,
    newest=EDGE,
    tail=EDGE.cursor,
)


def test_a_position_survives_as_bytes():
    """After a round trip as bytes or by pickle, a position is equal and has an equal hash."""
    position = Position.from_state(STATE)

    for copy in (
        Position.from_bytes(position.to_bytes()),
        Position.from_bytes(position.to_bytes().decode()),
        pickle.loads(pickle.dumps(position)),  # noqa: S301 - our own
    ):
        assert copy == position
        assert hash(copy) == hash(position)
        assert copy.state == STATE
    assert position != Position()
    assert position != STATE
    assert "behind" in repr(position)


@pytest.mark.parametrize(
    "data", [b"", b"7", b'{"stage":"nowhere"}', b'{"parts":7}', b"\xff", "\ud800"]
)
def test_other_bytes_are_refused(data):
    """Other bytes are not read as the start of the listing."""
    with pytest.raises(DecodeError, match="not a position"):
        Position.from_bytes(data)


@pytest.mark.parametrize("overlap", [-1, inf, nan, timedelta(1), "900"])
def test_an_overlap_is_a_number_of_seconds(overlap):
    """Any other overlap would lose changes or make the position unreadable."""
    with pytest.raises(ConfigurationError, match="overlap must be a finite number of seconds"):
        Position.from_state(STATE).since(overlap)


def test_again_and_since_of_a_walk_that_has_not_begun():
    """``again()`` and ``since()`` return the start, because nothing is known."""
    assert Position().again() == Position().since() == Position()


@pytest.mark.parametrize(
    "state",
    [
        {"order": -1},
        {"order": 1},
        {"order": -1, "by_activity": 1},
        {"order": -1, "by_activity": 1, "by_creation": 1, "watermark": Cursor("a", "b")},
        {"order": -1, "by_activity": 1, "is_unordered": True, "watermark": Cursor("a", "b")},
        {"by_activity": 1, "watermark": Cursor("a", "b")},
    ],
)
def test_since_is_everything_if_changes_cannot_be_recognized(state):
    """Changes are not recognized without an order or a watermark, or in an order by creation."""
    assert Position.from_state(WalkState(**state)).since() == Position()


def test_since_reads_down_to_the_watermark():
    """The overlap is in microseconds.

    An ascending listing is read from its last page.
    """
    cursor = Cursor("a", "b")
    walked = {"by_activity": 9, "watermark": cursor, "tail": Cursor("c", "d"), "passes": 2}

    down = Position.from_state(WalkState(order=-1, **walked)).since(overlap=2)
    up = Position.from_state(WalkState(order=1, **walked)).since()

    known = {"by_activity": 9, "is_serial": True}
    assert down.state == WalkState(order=-1, down_to=cursor, overlap=2_000_000, **known)
    assert up.state == WalkState(order=1, tail=Cursor("c", "d"), **known)


# --- as version 0.1.0 (7ba6577) wrote them

ENDED = {
    False: (
        b'{"parts":[],"down_to":null,"overlap":0,"origin":{"cursor_id":"558c25166a.59","cursor_ts"'
        b':"2026-01-03T11:17:00.000"},"order":-1,"by_creation":0,"by_activity":14,"is_unordered":f'
        b'alse,"is_honoured":true,"is_serial":true,"watermark":{"cursor_id":"558c25166a.59","curso'
        b'r_ts":"2026-01-03T11:17:00.000"},"stage":"settled","top":{"cursor":{"cursor_id":"558c251'
        b'66a.59","cursor_ts":"2026-01-03T11:17:00.000"},"depth":0},"coming":{"cursor":{"cursor_id'
        b'":"558c25166a.59","cursor_ts":"2026-01-03T11:17:00.000"},"depth":0},"tail":{"cursor_id":'
        b'"eb67a9c378.5","cursor_ts":"2026-01-01T05:17:00.000"},"requests":15,"passes":0}'
    ),
    True: (
        b'{"parts":[],"down_to":null,"overlap":0,"origin":{"cursor_id":"62d82c07cd.0","cursor_ts":'
        b'"2026-01-01T00:17:00.000"},"order":1,"by_creation":0,"by_activity":13,"is_unordered":fal'
        b'se,"is_honoured":true,"is_serial":true,"watermark":{"cursor_id":"62d82c07cd.0","cursor_t'
        b's":"2026-01-01T00:17:00.000"},"stage":"tail","top":{"cursor":{"cursor_id":"62d82c07cd.0"'
        b',"cursor_ts":"2026-01-01T00:17:00.000"},"depth":0},"coming":{"cursor":{"cursor_id":"62d8'
        b'2c07cd.0","cursor_ts":"2026-01-01T00:17:00.000"},"depth":0},"tail":{"cursor_id":"ff82086'
        b'5d6.54","cursor_ts":"2026-01-03T06:17:00.000"},"requests":15,"passes":0}'
    ),
}
MIDWAY = {
    False: (
        b'{"parts":[{"cursor":{"cursor_id":"1703983ca8.35","cursor_ts":"2026-01-02T11:17:00.000"},'
        b'"begin":0,"at":86400000000,"landmarks":["1fb4e1357d.58","7deece328b.55","4d1beb3711.56",'
        b'"558c25166a.59","4a8d1fd9b7.57"],"landmarks_end":0,"until":null,"is_over":false},{"curso'
        b'r":{"cursor_id":"8f78de5857.24","cursor_ts":"2026-01-02T00:17:00.000"},"begin":109200000'
        b'000,"at":126000000000,"landmarks":["34e9bb17bc.28","8f78de5857.24","506f25e2a2.26","a39c'
        b'6316b9.27","5a19c78df4.25"],"landmarks_end":126000000000,"until":null,"is_over":false},{'
        b'"cursor":{"cursor_id":"558c25166a.59","cursor_ts":"2026-01-01T14:57:00.000"},"begin":159'
        b'600000000,"at":159600000000,"landmarks":[],"landmarks_end":null,"until":null,"is_over":f'
        b'alse}],"down_to":null,"overlap":0,"origin":{"cursor_id":"558c25166a.59","cursor_ts":"202'
        b'6-01-03T11:17:00.000"},"order":-1,"by_creation":0,"by_activity":7,"is_unordered":false,"'
        b'is_honoured":true,"is_serial":false,"watermark":{"cursor_id":"558c25166a.59","cursor_ts"'
        b':"2026-01-03T11:17:00.000"},"stage":"pass","top":null,"coming":{"cursor":{"cursor_id":"5'
        b'58c25166a.59","cursor_ts":"2026-01-03T11:17:00.000"},"depth":0},"tail":{"cursor_id":"558'
        b'c25166a.59","cursor_ts":"2025-12-31T20:17:00.000"},"requests":7,"passes":0}'
    ),
    True: (
        b'{"parts":[{"cursor":{"cursor_id":"8f78de5857.24","cursor_ts":"2026-01-02T00:17:00.000"},'
        b'"begin":0,"at":86400000000,"landmarks":["e3c2094cac.1","0a6baa9455.2","7c82e2e662.4","f7'
        b'42485e3a.3","62d82c07cd.0"],"landmarks_end":0,"until":null,"is_over":false},{"cursor":{"'
        b'cursor_id":"1703983ca8.35","cursor_ts":"2026-01-02T11:17:00.000"},"begin":109200000000,"'
        b'at":126000000000,"landmarks":["ebce164dba.33","0f42af9fc3.32","85dd84f39e.31","1703983ca'
        b'8.35","ea8c778ea6.34"],"landmarks_end":126000000000,"until":null,"is_over":false},{"curs'
        b'or":{"cursor_id":"62d82c07cd.0","cursor_ts":"2026-01-02T20:37:00.000"},"begin":159600000'
        b'000,"at":159600000000,"landmarks":[],"landmarks_end":null,"until":null,"is_over":false}]'
        b',"down_to":null,"overlap":0,"origin":{"cursor_id":"62d82c07cd.0","cursor_ts":"2026-01-01'
        b'T00:17:00.000"},"order":1,"by_creation":0,"by_activity":7,"is_unordered":false,"is_honou'
        b'red":true,"is_serial":false,"watermark":{"cursor_id":"62d82c07cd.0","cursor_ts":"2026-01'
        b'-01T00:17:00.000"},"stage":"pass","top":null,"coming":{"cursor":{"cursor_id":"62d82c07cd'
        b'.0","cursor_ts":"2026-01-01T00:17:00.000"},"depth":0},"tail":{"cursor_id":"62d82c07cd.0"'
        b',"cursor_ts":"2026-01-03T15:17:00.000"},"requests":7,"passes":0}'
    ),
}
SINCE = {
    False: (
        b'{"parts":[],"down_to":{"cursor_id":"558c25166a.59","cursor_ts":"2026-01-03T11:17:00.000"'
        b'},"overlap":0,"origin":null,"order":-1,"by_creation":0,"by_activity":14,"is_unordered":f'
        b'alse,"is_honoured":false,"is_serial":true,"watermark":null,"stage":"new","top":null,"com'
        b'ing":null,"tail":null,"requests":0,"passes":0}'
    ),
    True: (
        b'{"parts":[],"down_to":null,"overlap":0,"origin":null,"order":1,"by_creation":0,"by_activ'
        b'ity":13,"is_unordered":false,"is_honoured":false,"is_serial":true,"watermark":null,"stag'
        b'e":"pass","top":null,"coming":null,"tail":{"cursor_id":"ff820865d6.54","cursor_ts":"2026'
        b'-01-03T06:17:00.000"},"requests":2,"passes":0}'
    ),
}
MANIFEST = (
    b'{"format":1,"version":"0.1.0","account":"acme","target":"c.jsonl","filters":{"inbox_ids":[],'
    b'"by_inbox":false,"stage_status":null},"incremental":false,"complete":true,'
    b'"began":"2026-04-10T00:00:00Z","ended":"2026-04-10T01:00:00Z","runs":1,"conversations":60,'
    b'"fetched":60,"repeats":0,"odd_records":0,"unknown_fields":{},"pages":12,"requests":15,'
    b'"retries":0,"refused":0,"seconds":0.0,"waited":0.0,"partitions":[{"inbox_id":null,'
    b'"records":60,"pages":12,"position":%s,"error":null}],"checksum":"sha256:00"}'
) % ENDED[False]


def make_listing(*, rising: bool) -> ModelListing:
    """Return the listing of the positions above: one record each hour, at 17 minutes past."""
    return ModelListing([n * 3_600_000 + 1_020_000 for n in range(60)], limit=5, rising=rising)


def read(listing, position) -> tuple[set[str], int]:
    before = len(listing.requests)
    pages, _ = replay(ParallelWalk(position, 3, print), listing, walkers=3)
    return {item.id for page in pages for item in page}, len(listing.requests) - before


@pytest.mark.parametrize("rising", [False, True])
def test_an_export_of_0_1_is_resumed(rising):
    """After a kill in the middle, an export with three segments reads exactly what is missing."""
    listing = make_listing(rising=rising)
    position = Position.from_bytes(MIDWAY[rising])

    found, requests = read(listing, position)

    ids = [id_ for id_, _ in sorted(listing.times.items(), key=lambda one: one[1])]
    # The export had read the newest or the oldest 25, and the five at which the second segment
    # began.
    missing = ids[25:31] + ids[36:] if rising else ids[:24] + ids[29:35]
    assert set(missing) <= found
    assert requests <= 12
    assert Position.from_bytes(position.to_bytes()) == position


@pytest.mark.parametrize("rising", [False, True])
def test_an_incremental_export_continues_from_one_of_0_1(rising):
    """The export reads only the changes since that export began, with at most three requests."""
    listing = make_listing(rising=rising)
    moved = Random(1).sample(sorted(listing.times), 3)
    for id_ in moved:
        listing.move(id_)

    for position in (
        Position.from_bytes(ENDED[rising]).since(overlap=0),
        Position.from_bytes(ENDED[rising]).again(),
        Position.from_bytes(SINCE[rising]),
    ):
        found, requests = read(listing, position)
        assert set(moved) <= found
        assert requests <= 4
        assert len(found) < 20


def test_a_manifest_of_0_1_has_positions():
    """The positions in an old manifest are read, and are written again in the same form."""
    manifest = Manifest.from_json(MANIFEST)

    (partition,) = manifest.partitions
    assert partition.position == Position.from_bytes(ENDED[False])
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert msgspec.json.decode(MANIFEST)["partitions"][0]["position"] == msgspec.json.decode(
        partition.position.to_bytes()
    )
