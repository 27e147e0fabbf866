"""Where an export's records go. One small interface, and the sink for JSON Lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from cekat_async import ConfigurationError, TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from cekat_async import ConversationPage

__all__ = ["JsonLinesSink", "Sink", "json_line", "sink_for"]

T = TypeVar("T")


class Sink(Protocol):
    """What an export writes to. Methods are called one after the other, never at once.

    ``open`` comes first, then any number of ``write``, then either ``finish`` or ``abort``. Each
    raises :class:`~cekat_async.TargetError` where the target does not play along.
    """

    target: str
    """Where the records are, once the export is whole, for a person."""

    @property
    def unfinished(self) -> str | None:
        """Where what was written is until then, or ``None`` if there is nothing."""

    async def open(self) -> None:
        """Make ready, or say at once why it cannot be: before the first request is spent."""

    async def write(self, page: ConversationPage) -> None:
        """Take a page's records, ``page.raw``, in their order."""

    async def finish(self) -> None:
        """Make all that was written durable, and only then visible as the target."""

    async def abort(self) -> None:
        """Let go after a failure. What was written may stay, but not look like the target."""


class JsonLinesSink:
    """A file with one record a line, each exactly as the API sent it.

    Only a line break between two tokens of a record, which JSON Lines cannot hold, is left away.
    Writing happens in a thread of its own, so that a slow disk does not stop the event loop.

    Args:
        path: The file. One that exists is replaced, when the export is whole.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".partial")
        self._file: BinaryIO | None = None
        # One thread: what is asked for happens in order, also when a task is cancelled while it
        # waits for a write and goes on to close the file.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cekat-sink")
        self.target = str(self._path)

    @property
    def unfinished(self) -> str | None:
        """The name of the unfinished file, while there is one."""
        return str(self._partial) if self._partial.exists() else None

    async def open(self) -> None:
        """Create the unfinished file beside the target, in place of an earlier one."""
        await self._run(self._open)

    async def write(self, page: ConversationPage) -> None:
        """Append a page's records."""
        await self._run(lambda: self._append(page))

    async def finish(self) -> None:
        """Bring the file to the disk and give it its name."""
        await self._run(self._publish)
        self._thread.shutdown()

    async def abort(self) -> None:
        """Close the unfinished file and leave it where it is, unless it is empty."""
        # Closing flushes, which fails again where writing had failed: the first error is the one
        # that says why.
        with contextlib.suppress(TargetError):
            await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            raise TargetError(f"cannot write {self.target}: {error.strerror or error}") from error

    def _open(self) -> None:
        if self._path.is_dir():
            raise TargetError(f"cannot write {self.target}: it is a folder")
        if not self._path.parent.is_dir():
            raise TargetError(f"cannot write {self.target}: there is no folder {self._path.parent}")
        self._file = self._partial.open("wb")

    def _append(self, page: ConversationPage) -> None:
        lines = [json_line(raw) for raw in page.raw]
        self._opened().write(b"".join(lines))

    def _publish(self) -> None:
        file = self._opened()
        file.flush()
        os.fsync(file.fileno())
        file.close()
        self._partial.replace(self._path)
        _sync_folder(self._path.parent)

    def _close(self) -> None:
        if self._file is None:
            return
        self._file.close()
        if self._partial.stat().st_size == 0:
            self._partial.unlink()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise TargetError(f"{self.target} is not open: call open() first")
        return self._file


def json_line(raw: msgspec.Raw) -> bytes:
    """Return a record as a line of JSON Lines: as sent, but for line breaks between its tokens."""
    record = bytes(raw)
    # Inside of a string JSON has no raw line breaks, so that what is left away is between tokens.
    if b"\n" in record or b"\r" in record:
        record = record.replace(b"\n", b"").replace(b"\r", b"")
    return record + b"\n"


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk, where the system lets one open a folder for that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sink_for(target: str | os.PathLike[str]) -> Sink:
    """Return the sink that a target's name asks for.

    Raises:
        ConfigurationError: No sink goes by that name; the message lists those that there are.
    """
    name = os.fspath(target)
    if not name.endswith(".jsonl") or Path(name).name == ".jsonl" or "\0" in name:
        raise ConfigurationError(f"cannot export to {name!r}: give a file name that ends in .jsonl")
    return JsonLinesSink(name)
