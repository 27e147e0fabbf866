"""Where an export's records go. One small interface, and the sink for JSON Lines."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from cekat_async import ConfigurationError, TargetError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import msgspec

    from cekat_async import ConversationPage

__all__ = ["JsonLinesSink", "Sink", "json_line", "sink_for"]

T = TypeVar("T")

_OWNER_ALONE = 0o600


class Sink(Protocol):
    """What an export writes to. Methods are called one after the other, never at once.

    ``open`` comes first, then any number of ``write``, then ``finish``. When any of them fails or
    is cancelled, ``abort`` comes next, and nothing after it. Each raises
    :class:`~cekat_async.TargetError` where the target does not play along.
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
        """Let go after a failure. What was written may stay, but not look like the target.

        It should raise nothing: the failure itself says what is wrong.
        """


class JsonLinesSink:
    """A file with one record a line, each exactly as the API sent it.

    Only a line break between two tokens of a record, which JSON Lines cannot hold, is left away.
    Writing happens in a thread of its own, so that a slow disk does not stop the event loop.

    Until the export is whole its records are in a file beside the target, named as the target with
    ``.partial`` at its end. It holds whole pages: of a page that could not be written to its end,
    nothing is left. Only if the process is killed in the middle of a page its last line may be cut.

    Conversations are nobody else's business: a new file, the unfinished one too, is for its owner
    alone (mode 0600, less what the umask takes). A target that exists keeps its mode, and its owner
    and group where the system allows it; where it does not keep the group, the group loses its
    rights.

    Args:
        path: The file. One that exists is replaced, when the export is whole. A symbolic link stays
            one: the file it leads to is replaced, and the unfinished one is beside that.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._real = self._path
        self._partial = _partial_of(self._real)
        self._file: FileIO | None = None
        self._size = 0
        self._thread: ThreadPoolExecutor | None = None
        self.target = str(self._path)

    @property
    def unfinished(self) -> str | None:
        """The name of the unfinished file, once there is something in it."""
        return str(self._partial) if self._size and self._partial.exists() else None

    async def open(self) -> None:
        """Create the unfinished file beside the target, in place of an earlier one."""
        # One thread: what is asked for happens in order, also when a task is cancelled while it
        # waits for a write and goes on to close the file.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cekat-sink")
        self._size = 0
        await self._run(self._open)

    async def write(self, page: ConversationPage) -> None:
        """Append a page's records."""
        # Taken over here and not in the thread: a page that the caller was not told of, because
        # it was cancelled meanwhile, does not count.
        self._size = await self._run(lambda: self._append(page))

    async def finish(self) -> None:
        """Bring the file to the disk and give it its name.

        Once begun this is carried to its end. Who is cancelled meanwhile gets the cancellation
        after that: the target may be there then.
        """
        # What was cancelled before stops here, where it is not too late yet.
        await asyncio.sleep(0)
        publishing = self._begin(self._publish)
        cancelled = await _end_of(publishing)
        if publishing.exception() is None:
            self._end_thread()
        if cancelled is not None:
            raise cancelled
        with self._told():
            publishing.result()

    async def abort(self) -> None:
        """Close the unfinished file and leave it where it is, unless it is empty."""
        if self._thread is None:
            return
        closing = self._thread.submit(self._close)
        self._end_thread()
        # Who is cancelled once more while this waits does not stop the closing itself.
        await asyncio.shield(asyncio.wrap_future(closing))

    async def _run(self, work: Callable[[], T]) -> T:
        with self._told():
            return await self._begin(work)

    def _begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._thread is None:
            raise TargetError(f"{self.target} is not open: call open() first")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextlib.contextmanager
    def _told(self) -> Generator[None, None, None]:
        """Tell of what the system refuses as the package's own error."""
        try:
            yield
        except OSError as error:
            where = error.filename or self.target
            raise TargetError(f"cannot write {where}: {error.strerror or error}") from error

    def _end_thread(self) -> None:
        """Let the thread end when it has done what it was asked for."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    def _open(self) -> None:
        # Where the name leads is looked up once: what it leads to later is not what was opened.
        self._real = _followed(self._path)
        self._partial = _partial_of(self._real)
        folder = self._real.parent
        if self._real.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", self.target)
        if self._real.exists() and not self._real.is_file():
            # A device or a pipe would be gone, with a file in its place.
            raise OSError(errno.EINVAL, "it is not a regular file", self.target)
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", self.target)
        self._file = _open_alone(self._partial)

    def _append(self, page: ConversationPage) -> int:
        """Write a page's records and return where they end."""
        file = self._opened()
        unwritten = memoryview(b"".join(json_line(raw) for raw in page.raw))
        while unwritten:
            unwritten = unwritten[file.write(unwritten) :]
        return file.tell()

    def _publish(self) -> None:
        file = self._opened()
        _take_rights(file, self._real)
        os.fsync(file.fileno())
        if sys.platform == "win32":  # which does not rename an open file
            file.close()
        # Open still, and so locked: nobody else begins a file under the name that goes away.
        self._partial.replace(self._real)
        self._file = None
        file.close()
        _sync_folder(self._real.parent)

    def _close(self) -> None:
        if self._file is None or self._file.closed:
            return
        # It is the first error that says what is wrong, not what then fails in its wake.
        with contextlib.suppress(OSError), self._file as file:
            if self._size:
                file.truncate(self._size)
            else:
                self._partial.unlink()
        self._file = None

    def _opened(self) -> FileIO:
        if self._file is None:
            raise TargetError(f"{self.target} is not open: call open() first")
        return self._file


async def _end_of(work: asyncio.Future[None]) -> asyncio.CancelledError | None:
    """Wait until work is done, whoever is cancelled; return the last cancellation."""
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def _partial_of(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _followed(path: Path) -> Path:
    """Return what a symbolic link leads to, and any other path as it was given."""
    if not path.is_symlink():
        return path
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return real


def _open_for_owner(path: str, flags: int) -> int:
    # An unfinished file is never a link: what one leads to would be emptied in its place.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), _OWNER_ALONE)


def _narrow(file: FileIO) -> None:
    """Take an unfinished file that an earlier run left from all but its owner."""
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    if sys.platform == "win32" or not mode & ~_OWNER_ALONE:
        return
    with contextlib.suppress(OSError):  # some file systems have no modes
        os.fchmod(file.fileno(), mode & _OWNER_ALONE)


def _take_rights(file: FileIO, path: Path) -> None:
    """Give a file the mode, owner and group of the one whose place it takes, if there is one."""
    if sys.platform == "win32" or not path.exists():
        return
    old = path.stat()
    mode = old.st_mode & 0o777
    if not _take_group(file, old):
        # Other people are in the file's own group: the old one's rights are not for them.
        mode &= ~stat.S_IRWXG
    with contextlib.suppress(OSError):
        os.fchmod(file.fileno(), mode)


def _take_group(file: FileIO, old: os.stat_result) -> bool:
    """Give a file another one's owner and group, or its group alone; whether it has that now."""
    if sys.platform == "win32":
        return False
    for owner in (old.st_uid, -1):  # to give files away is for root
        with contextlib.suppress(OSError):
            os.fchown(file.fileno(), owner, old.st_gid)
            return True
    return False


def _open_alone(path: Path) -> FileIO:
    """Open a file, emptied, for one writer at a time: two would mix their lines."""
    # Not "wb": until it is locked, what is in there may be somebody's. Not buffered: what was
    # written is in the file, whatever becomes of this process.
    file = FileIO(path, "ab", opener=_open_for_owner)
    try:
        _lock(file, path)
        _narrow(file)
        file.truncate(0)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: FileIO, path: Path) -> None:
    """Lock a file as long as it is open, where the system has locks."""
    if sys.platform == "win32":
        return
    taken = BlockingIOError(errno.EAGAIN, "another export is writing it", str(path))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise taken from None
    except OSError:
        return  # some network file systems have none
    # Between opening and locking the other one may have come to its end: this is its target then.
    if not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
        raise taken


def json_line(raw: msgspec.Raw) -> bytes:
    """Return a record as a line of JSON Lines: as sent, but for line breaks between its tokens."""
    record = bytes(raw)
    # Inside of a string JSON has no raw line breaks, so that what is left away is between tokens.
    if b"\n" in record or b"\r" in record:
        record = record.replace(b"\n", b"").replace(b"\r", b"")
    return record + b"\n"


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk, where the system lets one open a folder for that.

    Where it does not, the target is there all the same, and its content is on the disk.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
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
    # Typed as text, but a path may be of bytes.
    is_text = isinstance(name, str)
    if not is_text or not name.endswith(".jsonl") or Path(name).name == ".jsonl" or "\0" in name:
        raise ConfigurationError(f"cannot export to {name!r}: give a file name that ends in .jsonl")
    return JsonLinesSink(name)
