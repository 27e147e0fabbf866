"""Free-form values as structs: the values determine the types."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.malformed_records import record

from cekat_async.frames import to_arrow, to_pandas, to_polars
from cekat_async.frames.free_form import expand_json


def expand(values, parts=1):
    """Return a column of values in several chunks. The values were JSON."""
    texts = [None if value is None else json.dumps(value) for value in values]
    chunks = [pa.array(texts[part::parts], pa.string()) for part in range(parts)]
    table = pa.table({"x": pa.chunked_array(chunks, pa.string())})
    return expand_json(table, ["x"])["x"]


@pytest.mark.parametrize(
    "values, type_, expected",
    [
        ([{"a": 1}, None, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())]),
         [{"a": 1, "b": None}, None, {"a": None, "b": "x"}]),
        ([{"a": 1}, {"a": 2.5}], pa.struct([("a", pa.float64())]), [{"a": 1.0}, {"a": 2.5}]),
        ([{"a": 1}, {"a": "x"}, {"a": [True]}], pa.struct([("a", pa.string())]),
         [{"a": "1"}, {"a": "x"}, {"a": "[true]"}]),
        ([{"a": True}, {"a": None}], pa.struct([("a", pa.bool_())]), [{"a": True}, {"a": None}]),
        ([{"a": True}, {"a": 1}], pa.struct([("a", pa.string())]), [{"a": "true"}, {"a": "1"}]),
        ([2**62, 1], pa.int64(), [2**62, 1]),
        ([2**62, 1.5], pa.string(), ["4611686018427387904", "1.5"]),
        ([2**63, 1], pa.string(), ["9223372036854775808", "1"]),
        ([[1], [], None], pa.list_(pa.int64()), [[1], [], None]),
        ([[{"a": 1}], [{"b": 2}]], pa.list_(pa.struct([("a", pa.int64()), ("b", pa.int64())])),
         [[{"a": 1, "b": None}], [{"a": None, "b": 2}]]),
        ([{}, None, {"a": {}}], pa.struct([("a", pa.null())]), [{"a": None}, None, {"a": None}]),
        ([{}, None], pa.null(), [None, None]),
        ([[], []], pa.list_(pa.null()), [[], []]),
        ([], pa.null(), []),
        (["text"], pa.string(), ["text"]),
    ],
)  # fmt: skip
def test_types_follow_from_values(values, type_, expected):
    """A value keeps its type if all values in the same place have that type.

    Otherwise it becomes text.
    """
    column = expand(values)
    column.validate(full=True)

    assert (column.type, column.to_pylist()) == (type_, expected)


def nest(levels):
    value = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


def test_deep_values_stay_json():
    """If an object is nested too deeply, it becomes JSON text from that level on."""
    type_ = expand([nest(500)]).type
    depth = 0
    while pa.types.is_struct(type_):
        type_, depth = type_.field(0).type, depth + 1

    assert (depth, type_) == (16, pa.string())


def test_too_many_fields_stay_json():
    """An object whose fields are ids does not become thousands of columns."""
    values = [{"by_id": {str(number): 1}} for number in range(1_002)]
    column = expand(values)

    assert column.type == pa.struct([("by_id", pa.string())])
    assert column[7].as_py() == {"by_id": '{"7":1}'}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(
        st.characters(exclude_categories=["Cs"]), max_size=2), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, min_size=1, max_size=6), st.integers(1, 3))
def test_any_values_become_a_column(values, parts):
    """Any values become one valid column.

    Each chunk keeps its values in the same order.
    """
    column = expand(values, parts)

    column.validate(full=True)
    assert len(column) == len(values)


async def test_by_choice(listed):
    """With ``free_form="struct"``, free-form fields are structs in each library.

    By default, they are JSON text.
    """
    records = [
        record(id="a", additional_data={"Kota": "Medan", "n": 1}, pipeline={"id": 7}, x=[1, 2]),
        record(id="b", additional_data={"n": 2.5}, pipeline=None),
    ]
    async with listed(records) as listing:
        text = await to_arrow(listing)
        table = await to_arrow(listing, free_form="struct")
        frame = await to_pandas(listing, free_form="struct")
        polars_frame = await to_polars(listing, free_form="struct")

    expected = [{"Kota": "Medan", "n": 1.0}, {"Kota": None, "n": 2.5}]
    assert text["additional_data"].to_pylist() == ['{"Kota":"Medan","n":1}', '{"n":2.5}']
    assert table["additional_data"].to_pylist() == expected
    assert table["pipeline"].to_pylist() == [{"id": 7}, None]
    assert table["extra"].to_pylist() == [{"x": [1, 2]}, None]
    assert table["labels"].type == text["labels"].type
    assert frame["additional_data"].struct.field("Kota").to_list()[0] == "Medan"
    assert polars_frame["additional_data"].to_list() == expected
