"""Returns a listing as an Arrow table, a polars or pandas DataFrame, or Arrow record batches.

Importing a library and converting a whole table take long, so a thread does both. The arrays are
built in the event loop's thread, from a few hundred records at a time.
"""

# pyarrow has no types of its own.
# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from cekat_async import ConfigurationError, Listing, MissingExtraError
from cekat_async.config import require_count
from cekat_async.frames.table_reader import TableReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from datetime import tzinfo

    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["arrow_batches", "to_arrow", "to_pandas", "to_polars"]


def arrow_batches(
    listing: Listing[Any, Any],
    *,
    rows: int = 10_000,
    columns: Iterable[str] | None = None,
    timezone: str | tzinfo = "UTC",
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Yield the records of a listing as Arrow record batches with the same schema.

    Memory use does not grow with the size of the listing: only one batch and the prefetched pages
    are in memory. ``break`` ends the walk. Use ``async with aclosing(…)`` to wait until the walk
    has ended.

    Args:
        listing: The listing, such as ``client.conversations.list()``.
        rows: The number of records in each batch except the last. A batch has fewer records if that
            many would take more than 256 MiB. Default 10,000.
        columns: The names of the columns that you need, in the order you want. Default: all. A
            table without ``raw``, the exact JSON of each record, takes half the memory.
        timezone: The time zone of all times: an IANA name, a ``ZoneInfo``, or a fixed offset of
            whole hours. The moments stay the same, but hours, days and printed times are local.
            Default: UTC.

    Raises:
        ConfigurationError: An argument is wrong. This error is raised before the iteration begins.
        MissingExtraError: The ``arrow`` extra is not installed.
        CekatError: A request failed, or a record is malformed. This error is raised after a last
            batch, which contains all earlier records.

    Examples:
        >>> async for batch in arrow_batches(cekat.conversations.list(), rows=100):
        ...     print(batch.num_rows)
        100
        100
        50
    """
    require_count("rows", rows)
    return TableReader(listing, columns, timezone, "arrow").batches(rows)


async def to_arrow(
    listing: Listing[Any, Any],
    *,
    columns: Iterable[str] | None = None,
    timezone: str | tzinfo = "UTC",
    free_form: Literal["json", "struct"] = "json",
) -> pa.Table:
    """Return all records of a listing as an Arrow table.

    A table of conversations has the columns and types of an export to Parquet. A table of other
    records has a column for each field, and then ``extra`` and ``raw``. Even a table without
    records has all columns.

    Args:
        listing: The listing, such as ``client.conversations.list()``.
        columns: The names of the columns that you need, in the order you want. Default: all. A
            table without ``raw``, the exact JSON of each record, takes half the memory.
        timezone: The time zone of all times: an IANA name, a ``ZoneInfo``, or a fixed offset of
            whole hours. The moments stay the same, but hours, days and printed times are local.
            Default: UTC.
        free_form: How to return values whose form the account chooses (``additional_data``,
            ``extra`` and the like). ``"json"``, the default, returns JSON text, so that the types
            of all tables are the same. ``"struct"`` returns structs and lists, whose types depend
            on the values.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The ``arrow`` extra is not installed.
        CekatError: A request failed, or a record is malformed and the listing has no
            ``on_malformed``. To keep the records before the error, use :func:`arrow_batches`.

    Examples:
        >>> table = await to_arrow(cekat.conversations.list(), columns=["id", "created_at"])
        >>> table.num_rows
        250
    """
    return await TableReader(listing, columns, timezone, "arrow").read(free_form)


async def to_polars(
    listing: Listing[Any, Any],
    *,
    columns: Iterable[str] | None = None,
    timezone: str | tzinfo = "UTC",
    free_form: Literal["json", "struct"] = "json",
) -> pl.DataFrame:
    """Return all records of a listing as a polars DataFrame.

    Args:
        listing: The listing, such as ``client.conversations.list()``.
        columns: The names of the columns that you need, in the order you want. Default: all. A
            table without ``raw``, the exact JSON of each record, takes half the memory.
        timezone: The time zone of all times: an IANA name, a ``ZoneInfo``, or a fixed offset of
            whole hours. The moments stay the same, but hours, days and printed times are local.
            Default: UTC.
        free_form: How to return values whose form the account chooses (``additional_data``,
            ``extra`` and the like). ``"json"``, the default, returns JSON text, so that the types
            of all tables are the same. ``"struct"`` returns structs and lists, whose types depend
            on the values.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The ``polars`` extra is not installed.
        CekatError: A request failed, or a record is malformed and the listing has no
            ``on_malformed``. To keep the records before the error, use :func:`arrow_batches`.

    Examples:
        >>> frame = await to_polars(cekat.conversations.list(), timezone="Asia/Jakarta")
        >>> frame.height
        250
    """
    reader = TableReader(listing, columns, timezone, "polars")
    polars = await asyncio.to_thread(_import_polars)
    table = await reader.read(free_form)
    return cast("pl.DataFrame", await asyncio.to_thread(polars.from_arrow, table))


async def to_pandas(
    listing: Listing[Any, Any],
    *,
    columns: Iterable[str] | None = None,
    timezone: str | tzinfo = "UTC",
    free_form: Literal["json", "struct"] = "json",
    dtype_backend: Literal["pyarrow"] | None = None,
) -> pd.DataFrame:
    """Return all records of a listing as a pandas DataFrame.

    The DataFrame has the types that ``pandas.read_parquet`` would give to an export of the listing.
    Times are ``datetime64[us, timezone]``, and texts have the text type of your version of pandas.
    ``labels`` and structs keep Arrow's types, which need no Python objects. If you read a cell of
    ``labels``, you get a list of dictionaries. You can use ``explode`` and the accessors ``.list``
    and ``.struct``.

    Args:
        listing: The listing, such as ``client.conversations.list()``.
        columns: The names of the columns that you need, in the order you want. Default: all. A
            table without ``raw``, the exact JSON of each record, takes half the memory.
        timezone: The time zone of all times: an IANA name, a ``ZoneInfo``, or a fixed offset of
            whole hours. The moments stay the same, but hours, days and printed times are local.
            Default: UTC.
        free_form: How to return values whose form the account chooses (``additional_data``,
            ``extra`` and the like). ``"json"``, the default, returns JSON text, so that the types
            of all tables are the same. ``"struct"`` returns structs and lists, whose types depend
            on the values.
        dtype_backend: The kind of types. ``"pyarrow"`` keeps Arrow's types in all columns, so that
            nothing is copied. The argument has the same meaning in ``pandas.read_parquet``. Default
            ``None``: pandas' own types.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The ``pandas`` extra is not installed.
        CekatError: A request failed, or a record is malformed and the listing has no
            ``on_malformed``. To keep the records before the error, use :func:`arrow_batches`.

    Examples:
        >>> frame = await to_pandas(cekat.conversations.list(), timezone="Asia/Jakarta")
        >>> counts = frame.groupby("inbox_name", dropna=False).size()
    """
    if dtype_backend not in {None, "pyarrow"}:
        raise ConfigurationError(f"dtype_backend must be 'pyarrow' or None, not {dtype_backend!r}")
    reader = TableReader(listing, columns, timezone, "pandas")
    pandas = await asyncio.to_thread(_import_pandas)
    table = await reader.read(free_form)
    types = pandas.ArrowDtype if dtype_backend else partial(_keep_nested, pandas.ArrowDtype)
    # With one thread, the conversion takes a third of the CPU time that it takes with several.
    return await asyncio.to_thread(table.to_pandas, types_mapper=types, use_threads=False)


def _keep_nested(dtype: Callable[[Any], Any], type_: Any) -> Any:
    """Return pandas' type for a nested Arrow type. ``None`` leaves the choice to pyarrow."""
    from pyarrow.types import is_nested  # noqa: PLC0415 - an extra

    return dtype(type_) if is_nested(type_) else None


def _import_polars() -> Any:
    try:
        import polars as pl  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "polars is not installed: pip install 'cekat-async[polars]'"
        ) from error
    return pl


def _import_pandas() -> Any:
    try:
        import pandas as pd  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "pandas is not installed: pip install 'cekat-async[pandas]'"
        ) from error
    return pd
