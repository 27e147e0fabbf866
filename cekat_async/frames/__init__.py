"""A listing as a table: an Arrow table, a polars or pandas DataFrame, or Arrow record batches.

>>> frame = await to_pandas(cekat.conversations.list(), timezone="Asia/Jakarta")
>>> frame.groupby("handled_by_name", dropna=False).size()

Start reading in ``dataframes.py``. ``columns.py`` has the columns of every table, including the
tables of exports. ``arrow.py`` builds Arrow arrays for these columns.
"""

# pyarrow has no types of its own.
# pyright: reportUnknownVariableType=false
# ruff: noqa: PLC0415 - some names are imported on first use, see the end of the file

import typing

if typing.TYPE_CHECKING:
    from cekat_async.frames.dataframes import arrow_batches, to_arrow, to_pandas, to_polars

__all__ = ["arrow_batches", "to_arrow", "to_pandas", "to_polars"]

if not typing.TYPE_CHECKING:  # pragma: no branch
    # Import these modules on first use, because they import asyncio, which is slow. An export needs
    # only the columns.
    def __getattr__(name: str) -> object:
        if name in __all__:
            from cekat_async.frames import dataframes

            return getattr(dataframes, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
