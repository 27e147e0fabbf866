"""Arrow arrays that are built from buffers equal those of ``pyarrow.array``."""

import json
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async.frames.arrow import ArrowBuilder
from cekat_async.frames.arrow_arrays import BufferArrays, PyarrowArrays
from cekat_async.frames.columns import COLUMNS, build_row

BOTH = [BufferArrays("parquet"), PyarrowArrays("arrow")]
TIME = pa.timestamp("us", tz="UTC")
TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])))
TIMES = st.lists(st.none() | st.timedeltas(timedelta(-700_000), timedelta(2_900_000)))


@given(TEXTS)
def test_texts(values):
    """Texts of any characters are unchanged, and so is null."""
    for arrays in BOTH:
        built = arrays.build_texts(values)
        built.validate(full=True)
        assert built.type == pa.string()
        assert built.to_pylist() == values


@given(TIMES)
def test_times(values):
    """Times are exact to the microsecond."""
    expected = pa.array(values, pa.duration("us")).view(TIME)
    for arrays in BOTH:
        built = arrays.build_times(values, TIME)
        built.validate(full=True)
        assert built.equals(expected)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [column.field for column in COLUMNS[1:] if column.field] + ["new"]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), max_size=5))
def test_records(fields):
    """The row of a record equals its row in every other table, whatever its fields are."""
    records = [json.dumps({"id": "x"} | one, allow_nan=True).encode() for one in fields]
    tables = [ArrowBuilder(arrays).build_batch(records) for arrays in BOTH]

    tables[0].validate(full=True)
    assert tables[0].equals(tables[1])
    for row, raw in zip(tables[0].to_pylist(), records, strict=True):
        expected = dict(zip(row, build_row(raw), strict=True))
        del row["labels"], expected["labels"]
        assert row == expected


@pytest.mark.parametrize("arrays", BOTH)
def test_a_mistyped_label(arrays):
    """Numbers in a label become text, as they do in the record."""
    batch = ArrowBuilder(arrays).build_batch([b'{"id":"a","labels":[{"id":5,"name":true}]}'])

    assert batch["labels"].to_pylist() == [[{"id": "5", "name": "true", "color": None}]]
