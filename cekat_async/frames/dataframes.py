"""A listing as an Arrow table, as a polars or pandas DataFrame, or as a stream of record batches.

What takes long runs in a thread: importing the libraries, and converting a whole table. Arrays are
built in the event loop, from a few hundred records at a time.
"""

# pyarrow and pandas have no types of their own.
# pyright: reportMissingTypeStubs=false
# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false

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

    import pandas as pd  # type: ignore[import-untyped]
    import polars as pl
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["arrow_batches", "to_arrow", "to_pandas", "to_polars"]


def arrow_batches(
    listing: Listing[Any, Any],
    *,
    rows: int = 10_000,
    columns: Iterable[str] | None = None,
    timezone: str | tzinfo = "UTC",
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Yield the records of a listing as Arrow record batches, which all have the same schema.

    Memory does not grow with the listing: one batch is kept, and the pages that are fetched ahead.
    If you ``break``, the walk ends. Use ``async with aclosing(…)`` to wait until it has ended.

    Args:
        listing: What ``client.conversations.list()`` or any other method returns as a ``Listing``.
        rows: The number of records in each batch but the last one. A batch has fewer if they have
            more than 256 MiB.
        columns: As for :func:`to_arrow`.
        timezone: As for :func:`to_arrow`.

    Raises:
        ConfigurationError: An argument is wrong. It is raised at once.
        MissingExtraError: The extra ``arrow`` is not installed.
        CekatError: A request failed, or a record is malformed. It is raised after a batch with all
            records before it.
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

    Conversations have the columns and types of an export to Parquet. Other records have a column
    for each field, then ``extra`` and ``raw``. A table of no records has all columns, too.

    Args:
        listing: What ``client.conversations.list()`` or any other method returns as a ``Listing``.
        columns: The names of the columns that you need, in the order you want. By default all.
            Without ``raw``, the exact JSON of each record, a table takes half of the memory.
        timezone: The zone of all times: an IANA name, a ``ZoneInfo``, or a fixed offset of whole
            hours. The moments are the same, but hours, days and printed times are local. By
            default UTC.
        free_form: ``"json"`` keeps values whose form the account chooses (``additional_data``,
            ``extra`` and the like) as JSON text, so that the types of all tables are the same.
            ``"struct"`` turns them into structs and lists, whose types follow from the values.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The extra ``arrow`` is not installed.
        CekatError: A request failed, or a record is malformed and the listing has no
            ``on_malformed``. There is no table then: to keep the records before the error, use
            :func:`arrow_batches`.
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
        listing: As for :func:`to_arrow`, like all other arguments.
        columns: The names of the columns that you need.
        timezone: The zone of all times.
        free_form: Whether free-form values are JSON text or structs.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The extra ``polars`` is not installed.
        CekatError: As for :func:`to_arrow`.
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

    Its types are those that ``pandas.read_parquet`` gives the same export: times are
    ``datetime64[us, timezone]``, texts what your version of pandas uses for text. Only ``labels``
    and structs keep Arrow's types, which need no Python objects: a list of labels reads as a list
    of dictionaries, and the accessors ``.list`` and ``.struct`` and ``explode`` work.

    Args:
        listing: As for :func:`to_arrow`, like all arguments but ``dtype_backend``.
        columns: The names of the columns that you need.
        timezone: The zone of all times.
        free_form: Whether free-form values are JSON text or structs.
        dtype_backend: ``"pyarrow"`` keeps Arrow's types in all columns, as in
            ``pandas.read_parquet``, so that nothing is copied.

    Raises:
        ConfigurationError: An argument is wrong.
        MissingExtraError: The extra ``pandas`` is not installed.
        CekatError: As for :func:`to_arrow`.
    """
    if dtype_backend not in {None, "pyarrow"}:
        raise ConfigurationError(f"dtype_backend must be 'pyarrow' or None, not {dtype_backend!r}")
    reader = TableReader(listing, columns, timezone, "pandas")
    pandas = await asyncio.to_thread(_import_pandas)
    table = await reader.read(free_form)
    types = pandas.ArrowDtype if dtype_backend else partial(_keep_nested, pandas.ArrowDtype)
    # More threads only get in each other's way: with one, this takes a third of the CPU.
    return await asyncio.to_thread(table.to_pandas, types_mapper=types, use_threads=False)


def _keep_nested(dtype: Callable[[Any], Any], type_: Any) -> Any:
    """Return pandas' type for a nested Arrow type; ``None`` leaves the choice to pyarrow."""
    from pyarrow.types import is_nested  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

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
