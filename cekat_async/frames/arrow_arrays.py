"""Builds Arrow arrays of texts and times, with or without ``pyarrow.array``.

``pyarrow.array`` is fast, but it imports pandas if pandas is installed. This import needs 45 MB of
memory, and for a third of a second, no other thread can run. So exports use :class:`BufferArrays`
instead.
"""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from struct import pack
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from cekat_async import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized


__all__ = [
    "Arrays",
    "BufferArrays",
    "PyarrowArrays",
    "build_from_buffers",
    "fill",
    "get_offsets",
    "pack_bits",
]

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = timedelta()
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = bytes.maketrans(b"\0\1", b"01")


class Arrays(Protocol):
    """Builds Arrow arrays.

    Attributes:
        pyarrow: The library.
    """

    pyarrow: Any

    def build_texts(self, values: Sequence[str | None]) -> Any:
        """Return texts as an array of strings."""

    def build_times(self, values: Sequence[timedelta | None], type_: Any) -> Any:
        """Return times, each as the duration since 1970, as an array of microseconds."""


class BufferArrays:
    """Builds arrays from buffers, without pandas.

    Args:
        extra: The extra that the caller needs, for the error if pyarrow is not installed.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, extra: str) -> None:
        self.pyarrow: Any = _import_pyarrow(extra)

    def build_texts(self, values: Sequence[str | None]) -> Any:
        """Return texts as an array of strings."""
        texts, validity = fill(values, "")
        text = "".join(texts)
        parts: Sequence[Sized] = texts if text.isascii() else [*map(str.encode, texts)]
        type_ = self.pyarrow.string()
        return build_from_buffers(
            self.pyarrow, type_, len(texts), validity, get_offsets(parts), text.encode()
        )

    def build_times(self, values: Sequence[timedelta | None], type_: Any) -> Any:
        """Return times, each as the duration since 1970, as an array of microseconds."""
        durations, validity = fill(values, _ZERO)
        times = array("q", [duration // _MICROSECOND for duration in durations])
        return build_from_buffers(self.pyarrow, type_, len(times), validity, times)


class PyarrowArrays:
    """Builds arrays with ``pyarrow.array``, in less than half the time of ``BufferArrays``.

    Args:
        extra: The extra that the caller needs, for the error if pyarrow is not installed.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, extra: str) -> None:
        self.pyarrow: Any = _import_pyarrow(extra)
        self._text = self.pyarrow.string()
        self._duration = self.pyarrow.duration("us")
        self.build_texts([])  # makes pyarrow import pandas now

    def build_texts(self, values: Sequence[str | None]) -> Any:
        """Return texts as an array of strings."""
        return self.pyarrow.array(values, self._text)

    def build_times(self, values: Sequence[timedelta | None], type_: Any) -> Any:
        """Return times, each as the duration since 1970, as an array of microseconds."""
        return self.pyarrow.array(values, self._duration).view(type_)


def _import_pyarrow(extra: str) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            f"pyarrow is not installed: pip install 'cekat-async[{extra}]'"
        ) from error
    return pa


def build_from_buffers(
    pa: Any, type_: Any, count: int, *buffers: Any, children: Sequence[Any] = ()
) -> Any:
    """Return an array built from buffers, the first of which is a bitmap of non-null values."""
    wrapped = [None if data is None else pa.py_buffer(data) for data in buffers]
    return pa.Array.from_buffers(type_, count, wrapped, children=[*children])


def fill(values: Sequence[T | None], empty: T) -> tuple[Sequence[T], bytes | None]:
    """Replace each ``None`` with ``empty``, and also return a bitmap of the other values.

    If no value is ``None``, the bitmap is ``None``.
    """
    if None not in values:
        return cast("Sequence[T]", values), None
    is_there = bytes([value is not None for value in values])
    return [empty if value is None else value for value in values], pack_bits(is_there)


def pack_bits(bits: bytes) -> bytes:
    """Return a bitmap for bytes that are 0 or 1. The lowest bit of each byte is the first."""
    # Parsing a text of binary digits takes linear time.
    number = int(bits[::-1].translate(_DIGITS), 2)
    return number.to_bytes((len(bits) + 7) // 8, "little")


def get_offsets(parts: Sequence[Sized]) -> bytes:
    """Return, as 32-bit integers, the offset of each part and the end of the last part."""
    return pack(f"{len(parts) + 1}i", *accumulate(map(len, parts), initial=0))
