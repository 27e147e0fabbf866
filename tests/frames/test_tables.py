"""Listings as tables have the schema of an export, for any records and in any time zone."""

import sys
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.malformed_records import LONE_SURROGATE, NOT_UTF_8, NUL, record
from support.parts import make_client
from support.sinks import publish

from cekat_async import (
    APIStatusError,
    CekatError,
    ConfigurationError,
    Inbox,
    MalformedRecordError,
    MissingExtraError,
    RetryPolicy,
)
from cekat_async.export import export_conversations
from cekat_async.export.sinks.files.parquet import ParquetSink
from cekat_async.frames import arrow_batches, to_arrow, to_pandas, to_polars
from cekat_async.sandbox import Faults, Sandbox

LABEL = pa.struct([(name, pa.string()) for name in ("id", "name", "color")])
EVERY = pytest.mark.parametrize("build", [to_arrow, to_pandas, to_polars])


def sort(table):
    return table.sort_by("id").combine_chunks()


async def test_it_is_the_table_of_an_export(client, tmp_path):
    """A table has the same schema and the same rows as a Parquet export of the account."""
    await export_conversations(client, tmp_path / "x.parquet")
    table = await to_arrow(client.conversations.list())

    exported = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.equals(exported.schema)
    assert sort(table).equals(sort(exported))


@pytest.mark.parametrize(
    "records",
    [
        [NUL, LONE_SURROGATE, NOT_UTF_8],
        [record(id="mistyped", contact_phone=628123, labels=[{"id": 5}, 7], created_at="soon")],
        [record(id="unknown", x_new={"deep": [1, None, "\u2028"]}, labels=[{"id": "1", "x": 2}])],
        [record(id="empty", labels=None, additional_data=None, last_message=None, notes="")],
        [b'{"id":"only"}'],
        [b'{"id":"lines",\r\n"notes":"\\n"\n}', record(id="plain")],
        [record(id="never", resolved_at="9999-12-31T23:59:59.999999Z")],
        [
            record(
                id="none", resolved_at="9999-12-31T23:59:59-05:00", created_at="0001-01-01T00:00Z"
            )
        ],
    ],
    ids=lambda records: records[0][:16].decode(),
)
async def test_unexpected_records_are_those_of_an_export(listed, tmp_path, records):
    """Unknown, mistyped and missing fields are in the same columns as in an export."""
    async with listed(records) as listing:
        table = await to_arrow(listing)
    lines = [raw.replace(b"\r", b"").replace(b"\n", b"") for raw in records]
    publish(ParquetSink(tmp_path / "x.parquet"), lines)

    table.validate(full=True)
    assert table.combine_chunks().equals(pq.read_table(tmp_path / "x.parquet").combine_chunks())


async def test_every_listing_is_a_table(client):
    """All kinds of listings of conversations give the same rows, each once."""
    listings = [
        client.conversations.list(page_size=7),
        client.conversations.list(page_size=10, segments=3),
        client.conversations.across(page_size=20),
    ]
    tables = [sort(await to_arrow(listing)) for listing in listings]

    assert tables[0].num_rows == 250
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


async def test_inboxes_are_a_table(client):
    """Inboxes have a column for each field, then ``extra`` and ``raw``."""
    table = await to_arrow(client.inboxes.list())
    inboxes = await client.inboxes.list().collect()

    fields = [name for name in Inbox.__struct_fields__ if name != "extra"]
    assert table.column_names == [*fields, "extra", "raw"]
    assert table.schema.field("flow_mode").type == pa.bool_()
    assert table.schema.field("created_at").type == pa.timestamp("us", "UTC")
    for name in fields:
        assert table[name].to_pylist() == [getattr(inbox, name) for inbox in inboxes]
    assert [msgspec.json.decode(raw)["id"] for raw in table["raw"].to_pylist()] == [
        inbox.id for inbox in inboxes
    ]


async def test_an_empty_listing_has_all_columns(client):
    """A table without records has the same schema."""
    empty = client.conversations.list(stage_status="resolved", inbox_id="no-such-inbox")
    some = await to_arrow(client.conversations.list())

    table = await to_arrow(empty)
    assert (table.num_rows, table.schema) == (0, some.schema)
    assert [*(await to_pandas(empty)).columns] == table.column_names
    assert (await to_polars(empty)).columns == table.column_names
    assert [batch async for batch in arrow_batches(empty)] == []
    assert (await to_arrow(empty, free_form="struct")).column_names == table.column_names


ZONES = [
    ("Asia/Jakarta", "Asia/Jakarta"),
    (ZoneInfo("America/New_York"), "America/New_York"),
    (UTC, "UTC"),
    (timezone(timedelta(hours=7)), "Etc/GMT-7"),
    (timezone(-timedelta(hours=3)), "Etc/GMT+3"),
]
# The hour in New York changes with its clocks, on 8 March at 07:00 UTC.
MOMENTS = ["2026-03-08T06:59:59Z", "2026-03-08T07:00:00Z", "2026-11-01T05:30:00Z"]


@pytest.mark.parametrize("zone, name", ZONES, ids=[name for _, name in ZONES])
async def test_times_are_local(listed, zone, name):
    """With ``timezone=``, all libraries show the hours of that zone.

    The moments do not change.
    """
    records = [record(id=moment, created_at=moment) for moment in MOMENTS]
    async with listed(records) as listing:
        table = await to_arrow(listing, timezone=zone)
        frame = await to_pandas(listing, timezone=zone)
        arrow_frame = await to_pandas(listing, timezone=zone, dtype_backend="pyarrow")
        polars_frame = await to_polars(listing, timezone=zone)

    moments = [datetime.fromisoformat(moment) for moment in MOMENTS]
    hours = [moment.astimezone(ZoneInfo(name)).hour for moment in moments]
    assert table.schema.field("created_at").type == pa.timestamp("us", name)
    found = table["created_at"].to_pylist()
    assert [moment.timestamp() for moment in found] == [moment.timestamp() for moment in moments]
    assert str(frame["created_at"].dtype) == f"datetime64[us, {name}]"
    assert frame["created_at"].dt.hour.tolist() == hours
    assert arrow_frame["created_at"].dt.hour.tolist() == hours
    assert polars_frame["created_at"].dt.hour().to_list() == hours


async def test_the_ends_of_the_calendar(listed):
    """If a time has no datetime in the local zone, it is null, so that every value can be read."""
    ends = record(created_at="0001-01-01T00:00:00Z", resolved_at="9999-12-31T23:59:59Z")
    async with listed([ends]) as listing:
        table = await to_arrow(listing, timezone="Asia/Jakarta")
        exact = await to_arrow(listing)

    assert table["resolved_at"].to_pylist() == table["created_at"].to_pylist() == [None]
    assert [one["resolved_at"].year for one in exact.to_pylist()] == [9999]


@pytest.mark.parametrize(
    "zone",
    ["Mars/Olympus", "", "../etc/passwd", "+07:00", timezone(timedelta(minutes=330)), None, 7],
)
async def test_an_unknown_time_zone(client, zone):
    """If one of the libraries does not know a zone, an error with advice is raised.

    No request is sent before that.
    """
    with pytest.raises(ConfigurationError, match="use an IANA name such as 'Asia/Jakarta'"):
        arrow_batches(client.conversations.list(), timezone=zone)


async def test_labels_are_structs_everywhere(listed):
    """A label is a struct of id, name and color in each library."""
    labels = [{"id": "1", "name": "VIP"}, {"id": "2", "name": "é", "color": "#fff"}]
    expected = [{"color": None} | labels[0], labels[1]]
    async with listed([record(id="a", labels=labels), record(id="b", labels=[])]) as listing:
        table = await to_arrow(listing)
        frame = await to_pandas(listing)
        polars_frame = await to_polars(listing)

    assert table.schema.field("labels").type == pa.list_(LABEL)
    assert table["labels"].to_pylist() == [expected, []]
    assert frame["labels"].tolist() == [expected, []]
    names = frame.explode("labels")["labels"].struct.field("name")
    assert names.tolist() == ["VIP", "é", pd.NA]
    assert polars_frame["labels"].to_list() == [expected, []]
    assert isinstance(polars_frame.schema["labels"].inner, pl.Struct)


async def test_pandas_has_the_types_of_read_parquet(client, tmp_path):
    """Except for labels, the types are those that pandas gives to a Parquet export."""
    await export_conversations(client, tmp_path / "x.parquet")
    read = pd.read_parquet(tmp_path / "x.parquet").drop(columns="labels")
    frame = (await to_pandas(client.conversations.list())).drop(columns="labels")

    def sort(frame):
        return frame.sort_values("id", ignore_index=True)

    pd.testing.assert_frame_equal(sort(frame), sort(read))


async def test_pandas_with_arrows_types(client):
    """With ``dtype_backend="pyarrow"``, every column keeps its Arrow type."""
    table = await to_arrow(client.conversations.list())
    frame = await to_pandas(client.conversations.list(), dtype_backend="pyarrow")

    assert [dtype.pyarrow_dtype for dtype in frame.dtypes] == table.schema.types


@EVERY
async def test_columns_are_chosen(client, build):
    """The table has exactly the named columns, in that order."""
    frame = await build(client.conversations.list(), columns=["created_at", "id", "labels"])

    names = frame.column_names if build is to_arrow else [*frame.columns]
    assert (len(frame), names) == (250, ["created_at", "id", "labels"])


WRONG = [
    ({"columns": ["id", "x"]}, "columns must be different names out of id, inbox_id, .*'x'"),
    ({"columns": ["id", "id"]}, "columns must be different names"),
    ({"columns": []}, "columns must be different names"),
    ({"columns": "x"}, "columns must be different names"),
    ({"free_form": "text"}, "free_form must be 'json' or 'struct', not 'text'"),
]


@EVERY
@pytest.mark.parametrize("options, message", WRONG)
async def test_wrong_arguments(sandbox, client, build, options, message):
    """A wrong argument raises an error before any request."""
    with pytest.raises(ConfigurationError, match=message):
        await build(client.conversations.list(), **options)
    assert client.traffic.requests == 0


@EVERY
@pytest.mark.parametrize("listing", [[], None, "listing"])
async def test_only_listings_are_tables(build, listing):
    """Any other object raises an error, which names the method that returns a listing."""
    with pytest.raises(ConfigurationError, match="must be a Listing, such as client"):
        await build(listing)


async def test_a_wrong_dtype_backend(client):
    """A ``dtype_backend`` that pandas does not have raises an error."""
    with pytest.raises(ConfigurationError, match="'pyarrow' or None, not 'numpy_nullable'"):
        await to_pandas(client.conversations.list(), dtype_backend="numpy_nullable")


@pytest.mark.parametrize(
    "build, module, extra",
    [
        (to_arrow, "pyarrow", "arrow"),
        (to_polars, "pyarrow", "polars"),
        (to_polars, "polars", "polars"),
        (to_pandas, "pyarrow", "pandas"),
        (to_pandas, "pandas", "pandas"),
    ],
)
async def test_a_missing_extra(client, monkeypatch, build, module, extra):
    """If the library is missing, no request is sent, and the error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(MissingExtraError, match=rf"pip install 'cekat-async\[{extra}\]'$"):
        await build(client.conversations.list())
    assert client.traffic.requests == 0


MALFORMED = [[record(id="a"), b"17", record(id="b")], [record(id="c")]]


async def test_malformed_records_are_those_of_the_listing(listed):
    """A malformed record is an error, or goes to ``on_malformed`` and is not in the table."""
    async with listed(*MALFORMED) as listing:
        with pytest.raises(MalformedRecordError):
            await to_arrow(listing)
    malformed = []
    async with listed(*MALFORMED, on_malformed=malformed.append) as listing:
        table = await to_arrow(listing)

    assert table["id"].to_pylist() == ["a", "b", "c"]
    assert [msgspec.json.decode(raw)["id"] for raw in table["raw"].to_pylist()] == ["a", "b", "c"]
    assert [one.raw for one in malformed] == [b"17"]


@EVERY
async def test_a_failure_is_raised(build):
    """If a request fails, there is no table."""
    async with (
        Sandbox(250, quota=None, faults=Faults(error=1.0)) as sandbox,
        make_client(sandbox, retry=RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(APIStatusError):
            await build(client.conversations.list())


async def test_batches_have_the_wanted_rows(client):
    """Each batch has the given number of rows, whatever the page size is.

    The last batch has the remaining rows.
    """
    for rows, page_size in [(100, 100), (99, 10), (7, 100), (249, 100), (250, 50), (10_000, 100)]:
        listing = client.conversations.list(page_size=page_size)
        batches = [batch async for batch in arrow_batches(listing, rows=rows)]

        assert [batch.num_rows for batch in batches] == [
            min(rows, 250 - begin) for begin in range(0, 250, rows)
        ]
        assert pa.Table.from_batches(batches).equals(await to_arrow(listing))


@pytest.mark.parametrize("rows", [0, -1, 1.5, "7"])
async def test_wrong_rows(client, rows):
    """The number of rows must be a whole number of at least 1.

    Any other number raises an error before any request.
    """
    with pytest.raises(ConfigurationError, match="rows must be"):
        arrow_batches(client.conversations.list(), rows=rows)


async def test_batches_end_before_an_error(listed):
    """Before an error is raised, all records before it have been yielded in a batch."""
    async with listed(*MALFORMED) as listing:
        batches = arrow_batches(listing, rows=50)
        batch = await anext(batches)
        with pytest.raises(CekatError):
            await anext(batches)

    assert batch["id"].to_pylist() == ["a", "b"]


async def test_break_ends_the_walk(sandbox, client):
    """If a loop breaks early, at most one page was fetched for nothing."""
    async for batch in arrow_batches(client.conversations.list(page_size=10), rows=20):
        assert batch.num_rows == 20
        break

    assert client.traffic.requests <= 3


async def test_large_records_make_smaller_batches(client, monkeypatch):
    """A batch ends early if its records reach the maximum number of bytes.

    So no text column overflows.
    """
    monkeypatch.setattr("cekat_async.frames.table_reader._PART_BYTES", 1)
    monkeypatch.setattr("cekat_async.frames.table_reader._BATCH_BYTES", 100_000)
    batches = [
        batch async for batch in arrow_batches(client.conversations.list(page_size=50), rows=250)
    ]

    assert 2 <= len(batches) <= 5
    assert sum(batch.num_rows for batch in batches) == 250
