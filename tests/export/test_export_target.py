"""The target and the files next to it: an unfinished target never looks finished."""

# ruff: noqa: S603 - the processes are our own program

import asyncio
import errno
import gc
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.effort import EFFORT

from cekat_async import CheckpointError, ConfigurationError, NotFoundError, ServerError, TargetError
from cekat_async.export import Filters, Manifest, export_conversations
from cekat_async.export.checkpoint import Checkpoint
from cekat_async.export.runner import Export
from cekat_async.export.sinks.files.json_lines import JsonLinesSink
from cekat_async.sandbox import Fault, Sandbox

OLD = b'{"id":"of an earlier export"}\n'
posix_only = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")
# A first export asks for the account's business before any page. If there are several pages, it
# asks for the newest position after the first page.
ASK = PROBE = Fault.ok()


@pytest.fixture
def checkpoint(tmp_path):
    """The target's checkpoint."""
    return tmp_path / "conversations.jsonl.checkpoint"


@pytest.fixture
def new(tmp_path):
    """The path of the new target while it is being written."""
    return tmp_path / "conversations.jsonl.new"


@pytest.fixture
def manifest(tmp_path):
    """The target's manifest."""
    return tmp_path / "conversations.jsonl.manifest.json"


def _sorted(lines):
    return sorted(lines.splitlines(keepends=True))


def _is_whole(target, account):
    """Return whether the target has all conversations and a matching manifest."""
    content = target.read_bytes()
    manifest = Manifest.from_json(target.with_name(target.name + ".manifest.json").read_bytes())
    assert manifest.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return _sorted(content) == _sorted(account.lines())


def _left(folder):
    """Return the file names in a folder, without an empty journal."""
    return {
        path.name
        for path in folder.iterdir()
        if not (path.name.endswith("-journal") and path.stat().st_size == 0)
    }


FINISHED = {"conversations.jsonl", "conversations.jsonl.manifest.json"}
UNFINISHED = {"conversations.jsonl.checkpoint"}
RUNNING = {"conversations.jsonl.checkpoint-journal", "conversations.jsonl.cekat.lock"}


def _kept(checkpoint):
    """Return the records of a checkpoint, or None if there is none."""
    if not checkpoint.exists():
        return None
    opened = Checkpoint(checkpoint)
    try:
        opened.open()
        opened.find_repeats()
        return [record + b"\n" for batch in opened.latest() for record in batch]
    finally:
        opened.close()


# Which files exist when


async def test_the_old_target_is_replaced_at_the_end_and_not_before(account, target, manifest):
    """The old target and manifest do not change during an export, even for open files."""
    seen = []

    def on_progress(_):
        seen.append((target.read_bytes(), manifest.read_bytes()))

    async with account(300) as a:
        await export_conversations(a.client, target, page_size=20)
        before = (target.read_bytes(), manifest.read_bytes())
        a.sandbox.create()
        with target.open("rb") as reader:
            await export_conversations(a.client, target, page_size=20, on_progress=on_progress)

            assert set(seen) == {before}
            assert reader.read() == before[0]
        assert _is_whole(target, a)
    assert target.read_bytes() != before[0]
    assert manifest.read_bytes() != before[1]


async def test_pages_are_in_the_checkpoint_as_they_arrive(account, tmp_path, target):
    """Until all pages have arrived, only the checkpoint exists.

    The finished export removes the checkpoint.
    """
    sizes = []

    def on_progress(progress):
        assert _left(tmp_path) <= UNFINISHED | RUNNING
        sizes.append((tmp_path / "conversations.jsonl.checkpoint").stat().st_size)

    async with account(500) as a:
        await export_conversations(
            a.client, target, page_size=20, concurrency=1, on_progress=on_progress
        )

    assert sizes
    assert sizes == sorted(sizes)
    assert _left(tmp_path) == FINISHED
    assert {path.name for path in tmp_path.iterdir()} == FINISHED


async def test_leftovers_of_a_kill_are_not_used(account, tmp_path, target, new):
    """An export discards the partial target that a killed run left, and uses none of it."""
    new.write_bytes(OLD * 9999)
    (tmp_path / "conversations.jsonl.manifest.json.new").write_bytes(b"{")
    async with account(120) as a:
        await export_conversations(a.client, target)

        assert _is_whole(target, a)
    assert {path.name for path in tmp_path.iterdir()} == FINISHED


async def test_killed_after_the_last_rename(account, tmp_path, target, checkpoint):
    """An export deletes the checkpoint of a finished export and starts over."""

    class Killed(JsonLinesSink):
        def publish(self, records, manifest):
            shutil.copy(checkpoint, tmp_path / "copy")
            return super().publish(records, manifest)

    async with account(250) as a:
        await export_conversations(a.client, Killed(target))
        (tmp_path / "copy").rename(checkpoint)
        a.sandbox.create()
        report = await export_conversations(a.client, target)

        assert _is_whole(target, a)
    assert (report.manifest.runs, report.resumed, report.conversations) == (1, 0, 251)
    assert _left(tmp_path) == FINISHED


async def test_another_export_is_not_resumed(account, target, checkpoint):
    """An unfinished export with other options is reported before any request and is kept."""
    async with account(250, attempts=1) as a:
        a.sandbox.fail_next(ASK, Fault.ok(), PROBE, Fault.status(500))
        with pytest.raises(ServerError):
            await export_conversations(a.client, target, page_size=20, concurrency=1)
        before = len(a.sandbox.log.requests)
        for options in ({"by_inbox": True}, {"stage_status": "open"}):
            with pytest.raises(CheckpointError, match="restart=True"):
                await export_conversations(a.client, target, **options)
        assert len(a.sandbox.log.requests) == before
        assert len(_kept(checkpoint)) == 20

        report = await export_conversations(a.client, target, by_inbox=True, restart=True)

        assert _is_whole(target, a)
    assert (report.resumed, report.manifest.runs) == (0, 1)


async def test_a_mistake_can_be_corrected(account, tmp_path, target):
    """After an export failed before its first page, the next export may have other filters."""
    async with account(30, attempts=1) as a:
        a.sandbox.fail_next(ASK, Fault.status(404))
        with pytest.raises(NotFoundError):
            await export_conversations(a.client, target, inbox_ids=["mistaken"])
        assert list(tmp_path.iterdir()) == []
        await export_conversations(a.client, target, inbox_ids=a.sandbox.inbox_ids[:1])

        assert _sorted(target.read_bytes()) == _sorted(a.lines(inbox_id=a.sandbox.inbox_ids[0]))


@pytest.mark.parametrize("restart", [False, True], ids=["going on", "restart"])
async def test_a_file_of_somebody_elses_in_the_place_of_the_checkpoint(
    account, tmp_path, target, checkpoint, restart
):
    """A file that has the checkpoint's name but is no checkpoint is reported and kept.

    ``restart`` replaces that file.
    """
    checkpoint.write_bytes(OLD * 99)
    async with account(30) as a:
        if restart:
            await export_conversations(a.client, target, restart=True)
            assert _is_whole(target, a)
            assert _left(tmp_path) == FINISHED
        else:
            with pytest.raises(CheckpointError, match="broken"):
                await export_conversations(a.client, target)
            assert a.sandbox.log.requests == []
            assert checkpoint.read_bytes() == OLD * 99


async def test_a_relative_path_is_the_same_target(account, tmp_path, target, monkeypatch):
    """An export is resumed from any working directory, if the path leads to the same file."""
    monkeypatch.chdir(tmp_path)
    async with account(250, attempts=1) as a:
        a.sandbox.fail_next(ASK, Fault.ok(), PROBE, Fault.status(500))
        with pytest.raises(ServerError):
            await export_conversations(a.client, target.name, page_size=20, concurrency=1)
        monkeypatch.chdir("/")
        report = await export_conversations(a.client, target, page_size=20)

        assert _is_whole(target, a)
    assert report.manifest.runs == 2


# Links, pipes, folders


@posix_only
@pytest.mark.parametrize("old", [None, OLD], ids=["dangling", "old"])
async def test_a_link_stays_a_link(account, tmp_path, target, old):
    """If the target is a symbolic link, the export replaces the file to which the link points.

    All other files are next to that file.
    """
    elsewhere = tmp_path / "elsewhere" / "real"
    elsewhere.parent.mkdir()
    if old:
        elsewhere.write_bytes(old)
    target.symlink_to("elsewhere/real")
    beside = set()

    async with account(5) as a:
        report = await export_conversations(
            a.client,
            target,
            on_progress=lambda _: beside.update(_left(elsewhere.parent), _left(tmp_path)),
        )

        assert elsewhere.read_bytes() == a.lines()
    assert target.is_symlink()
    assert "real.checkpoint" in beside
    assert _left(tmp_path) == {"elsewhere", target.name}
    assert _left(elsewhere.parent) == {"real", "real.manifest.json"}
    assert report.target == str(target)


@posix_only
async def test_a_link_in_a_circle(account, target):
    """A symbolic link to itself is reported before any request."""
    target.symlink_to(target.name)
    async with account() as a:
        with pytest.raises(TargetError, match="symbolic links"):
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    assert target.is_symlink()


@posix_only
async def test_the_new_target_is_never_a_link(account, tmp_path, target, new):
    """A link with the name of the new target is removed, and the linked file is unchanged."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(OLD)
    new.symlink_to(elsewhere)
    async with account(5) as a:
        await export_conversations(a.client, target)

        assert target.read_bytes() == a.lines()
    assert not target.is_symlink()
    assert elsewhere.read_bytes() == OLD


@posix_only
@pytest.mark.parametrize("restart", [False, True], ids=["going on", "restart"])
async def test_a_link_under_the_checkpoints_name_is_not_followed(
    account, tmp_path, target, checkpoint, restart
):
    """If the checkpoint's name is a link, the linked file is not changed, even with ``restart``."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(OLD)
    checkpoint.symlink_to(elsewhere)
    async with account(5) as a:
        if restart:
            await export_conversations(a.client, target, restart=True)
        else:
            with pytest.raises((CheckpointError, TargetError)):
                await export_conversations(a.client, target)

    assert elsewhere.read_bytes() == OLD


@posix_only
async def test_a_target_that_is_no_regular_file(account, tmp_path, target):
    """A target that is a pipe or a device is reported before any request and is kept."""
    os.mkfifo(target)
    async with account() as a:
        with pytest.raises(TargetError, match="not a regular file"):
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    assert target.is_fifo()
    assert _left(tmp_path) == {target.name}


async def test_a_folder_that_is_not_there(account, tmp_path):
    """If the target's folder is missing, the error names it, and no request is sent."""
    async with account() as a:
        with pytest.raises(TargetError, match=r"there is no folder .*nowhere") as caught:
            await export_conversations(a.client, tmp_path / "nowhere" / "x.jsonl")

        assert a.sandbox.log.requests == []
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("occupied", ["target", "new", "checkpoint"])
async def test_a_folder_in_the_place_of_the_file(account, request, tmp_path, target, occupied):
    """A folder that has the name of one of the files is reported before any request and is kept."""
    request.getfixturevalue(occupied).mkdir()
    async with account() as a:
        with pytest.raises((TargetError, ConfigurationError), match=r"cannot (write|export)"):
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_target_that_becomes_a_folder_during_the_export(account, tmp_path, target):
    """If a folder takes the target's name during the export, the fetched pages are kept."""

    def on_progress(progress):
        target.mkdir(exist_ok=True)

    async with account(250) as a:
        with pytest.raises(TargetError):
            await export_conversations(a.client, target, on_progress=on_progress)
        assert _left(tmp_path) == {target.name, *UNFINISHED}
        target.rmdir()
        before = len(a.sandbox.log.requests)
        await export_conversations(a.client, target)

        assert _is_whole(target, a)
        assert len(a.sandbox.log.requests) - before <= 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_one_may_not_write_to(account, tmp_path, target):
    """A folder that is not writable is reported before any request."""
    tmp_path.chmod(0o500)
    async with account() as a:
        with pytest.raises(TargetError, match="Permission denied") as caught:
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    tmp_path.chmod(0o700)
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="no sysfs")  # noqa: PTH112 - read at import
async def test_a_place_where_nobody_may_write(account):
    """The error has the system's reason in its message, and the system's error as its cause."""
    async with account() as a:
        with pytest.raises(TargetError, match=r"cannot write /sys/x\.jsonl") as caught:
            await export_conversations(a.client, "/sys/x.jsonl")

        assert a.sandbox.log.requests == []
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_is_too_long(account, tmp_path):
    """A name that the file system refuses is reported with the reason."""
    async with account() as a:
        with pytest.raises(TargetError) as caught:
            await export_conversations(a.client, tmp_path / ("x" * 290 + ".jsonl"))

    assert caught.value.__cause__.errno == errno.ENAMETOOLONG


# File modes


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def _modes(account, target):
    """Run an export, and return the modes of checkpoint, new target, target and manifest."""
    modes = []

    class Watched(JsonLinesSink):
        def write(self, records, output):
            modes.append({_mode(path) for path in target.parent.glob("*.checkpoint*")})
            modes.append(_mode(target.with_name(f"{target.name}.new")))
            super().write(records, output)

    async with account(5) as a:
        await export_conversations(a.client, Watched(target))
    return [*modes, _mode(target), _mode(target.with_name(f"{target.name}.manifest.json"))]


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_a_new_file_is_for_its_owner_alone(account, target, umask):
    """Only the owner can read a new target and the files next to it, whatever the umask."""
    before = os.umask(umask)
    try:
        assert await _modes(account, target) == [{0o600}, 0o600, 0o600, 0o600]
    finally:
        os.umask(before)


@posix_only
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o400])
async def test_a_target_keeps_its_mode(account, target, mode):
    """A replaced target keeps its mode.

    Only its owner can read the new target while it is being written.
    """
    target.write_bytes(OLD)
    target.chmod(mode)

    assert await _modes(account, target) == [{0o600}, 0o600, mode, mode]


@posix_only
async def test_leftovers_of_a_kill_become_private(account, target, new):
    """A leftover file that others could read is made private before it is reused."""
    new.write_bytes(OLD)
    new.chmod(0o666)

    assert await _modes(account, target) == [{0o600}, 0o600, 0o600, 0o600]


@posix_only
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
async def test_a_target_keeps_owner_and_group(account, target, manifest):
    """If root replaces a target, the target keeps its owner and group."""
    target.write_bytes(OLD)
    os.chown(target, 12345, 54321)
    target.chmod(0o640)

    assert await _modes(account, target) == [{0o600}, 0o600, 0o640, 0o640]
    for path in (target, manifest):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@posix_only
async def test_a_group_that_cannot_be_kept_gives_no_rights_to_another(account, monkeypatch, target):
    """If the group cannot be kept, the new file gives no rights to its actual group."""

    def fchown(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.fchown", fchown)
    target.write_bytes(OLD)
    target.chmod(0o664)

    assert await _modes(account, target) == [{0o600}, 0o600, 0o604, 0o604]


# Failures


@pytest.mark.parametrize("old", [None, OLD], ids=["absent", "old"])
async def test_a_server_that_fails_for_good_leaves_whole_pages(
    account, tmp_path, target, checkpoint, old
):
    """After a failure, the target is unchanged, and the checkpoint has all pages fetched so far."""
    if old:
        target.write_bytes(old)
    async with account(500, attempts=1) as a:
        a.sandbox.fail_next(ASK, Fault.ok(), PROBE, Fault.ok(), Fault.status(500))
        with pytest.raises(ServerError) as caught:
            await export_conversations(a.client, target, concurrency=1)

        assert _left(tmp_path) == UNFINISHED | ({target.name} if old else set())
        assert _kept(checkpoint) == a.lines().splitlines(keepends=True)[:200]
        assert caught.value.cursor is not None
        assert (target.read_bytes() if target.exists() else None) == old

        before = len(a.sandbox.log.requests)
        report = await export_conversations(a.client, target, concurrency=1)

        assert _is_whole(target, a)
        # for the remaining pages and for a last look at the front
        assert len(a.sandbox.log.requests) - before == 3 + 1
    assert report.resumed == 200
    assert _left(tmp_path) == FINISHED


@pytest.mark.parametrize("options", [{}, {"by_inbox": True}], ids=["one listing", "by inbox"])
async def test_a_failure_before_the_first_page_leaves_nothing(account, tmp_path, target, options):
    """A failure before the first page leaves no files."""
    async with account(attempts=1) as a:
        a.sandbox.fail_next(*[Fault.status(503)] * 2)
        with pytest.raises(ServerError):
            await export_conversations(a.client, target, **options)

    assert list(tmp_path.iterdir()) == []


async def test_a_failing_progress_function_ends_the_export_cleanly(account, target, checkpoint):
    """An error in ``on_progress`` is raised unchanged, and the reported pages are kept."""

    def on_progress(progress):
        raise ZeroDivisionError

    async with account(250) as a:
        with pytest.raises(ZeroDivisionError):
            await export_conversations(a.client, target, on_progress=on_progress, concurrency=1)

        kept = _kept(checkpoint)
        assert kept
        assert kept == a.lines().splitlines(keepends=True)[: len(kept)]
        assert not target.exists()
        report = await export_conversations(a.client, target)

        assert _is_whole(target, a)
    assert report.resumed == len(kept)


@pytest.fixture
def small_disk():
    """No file of this process can grow beyond 250,000 bytes. A larger write fails halfway."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, hard))

    def make_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    yield make_room
    make_room()


@posix_only
async def test_a_disk_that_is_full(account, small_disk, target, checkpoint):
    """If the disk is full, the old target is unchanged. Once there is space, the export resumes."""
    target.write_bytes(OLD)
    async with account(1000) as a:
        with pytest.raises(TargetError, match=r"cannot write .*\.checkpoint: ") as caught:
            await export_conversations(a.client, target, concurrency=1)
        assert target.read_bytes() == OLD
        small_disk()
        kept = _kept(checkpoint)
        assert kept == a.lines().splitlines(keepends=True)[: len(kept)]
        assert 0 < len(kept) < 1000
        assert len(kept) % 100 == 0
        report = await export_conversations(a.client, target, concurrency=1)

        assert _is_whole(target, a)
    assert caught.value.__cause__ is not None
    assert report.resumed == len(kept)


# Cancellation


async def _cancelled(export, step, again=None, begins=None):
    """Cancel an export after ``step`` steps of the loop, and return whether it still ran.

    The steps are counted from the start of the export, or from the event ``begins``.
    """
    task = asyncio.ensure_future(export)
    if begins is not None:
        await begins.wait()
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    if again is not None:
        for _ in range(again):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def _no_thread_is_left():
    for _ in range(2000):
        if not any(thread.name.startswith("cekat-export") for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.001)
    pytest.fail("a thread of the export is still there")


def _no_file_is_open(folder):
    """Check that this process has no open file in a folder, if the system can show that."""
    gc.collect()  # a file left open would raise a warning here, and warnings are errors
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        return
    for link in descriptors.iterdir():
        try:
            name = os.readlink(link)  # noqa: PTH115 - not a path, for most of them
        except OSError:
            continue  # the descriptor of this directory listing
        assert not name.startswith(str(folder))


async def _outcome(target, account):
    """Return whether the target is old or new and whether there is a checkpoint, then resume."""
    whose = "old" if target.read_bytes() == OLD else "new"
    if whose == "new":
        assert _is_whole(target, account)
    left = _left(target.parent) - FINISHED
    assert left in (set(), UNFINISHED)
    report = await export_conversations(account.client, target, page_size=20)
    assert _is_whole(target, account)
    assert _left(target.parent) == FINISHED
    assert report.manifest.runs == 1 + bool(left)
    return whose, bool(left)


@pytest.mark.once
async def test_a_cancellation_at_any_moment_can_be_resumed(account, tmp_path, target, manifest):
    """After a cancellation at any step, the target is the complete old or the complete new one."""
    outcomes = set()
    async with account(40) as a:
        step, done = 0, False
        while not done:
            target.write_bytes(OLD)
            manifest.unlink(missing_ok=True)
            done = not await _cancelled(export_conversations(a.client, target, page_size=20), step)
            await _no_thread_is_left()
            outcomes.add(await _outcome(target, a))
            # The number of steps depends on the thread and the machine.
            step += 1 + step // (10 * EFFORT)
        # Right after its first page, an export has a page to keep and many steps left.
        for step in range(3):
            target.write_bytes(OLD)
            manifest.unlink(missing_ok=True)
            kept = asyncio.Event()
            export = export_conversations(
                a.client, target, page_size=20, on_progress=lambda _, kept=kept: kept.set()
            )
            assert await _cancelled(export, step, begins=kept)
            await _no_thread_is_left()
            outcomes.add(await _outcome(target, a))
    _no_file_is_open(tmp_path)

    assert outcomes <= {("old", False), ("old", True), ("new", False)}
    assert {("old", False), ("old", True)} <= outcomes


@pytest.mark.parametrize(
    "moment, outcome",
    [
        ("open", ("old", False)),
        ("page 1", ("old", True)),
        ("page 3", ("old", True)),
        ("write", ("old", True)),
        ("publishing", ("old", True)),
        ("renaming", ("new", False)),
    ],
)
async def test_a_cancellation_at_a_moment(account, monkeypatch, tmp_path, target, moment, outcome):
    """A cancellation before the final rename leaves the old target.

    A cancellation during the rename is raised after the rename.
    """

    class Watched(JsonLinesSink):
        def open(self):
            now("open")
            super().open()

        def publish(self, records, manifest):
            now("publishing")
            return super().publish(records, manifest)

        def write(self, records, output):
            now("write")
            super().write(records, output)

    def now(what):
        """Cancel the task from the sink's thread, and wait until the event loop has done so."""
        if what == moment:
            cancelled = threading.Event()
            loop.call_soon_threadsafe(lambda: (task.cancel(), loop.call_soon(cancelled.set)))
            assert cancelled.wait(300)

    def sync_folder(folder):
        now("renaming")

    def on_progress(progress):
        if f"page {progress.pages}" == moment:
            task.cancel()

    monkeypatch.setattr("cekat_async.export.sinks.files.base.sync_folder", sync_folder)
    target.write_bytes(OLD)
    loop = asyncio.get_running_loop()
    async with account(40) as a:
        export = Export(a.client, Watched(target), filters=Filters())
        task = asyncio.ensure_future(
            export.run(page_size=20, concurrency=1, on_progress=on_progress)
        )
        await asyncio.wait([task])

        assert task.cancelled()
        await _no_thread_is_left()
        _no_file_is_open(tmp_path)
        # The export reports whether it can be resumed and whether it has finished.
        assert (export.checkpoint is not None) == outcome[1]
        assert (export.report is not None) == (outcome[0] == "new")
        moment = "over"
        assert await _outcome(target, a) == outcome


async def test_a_publishing_that_fails_when_cancelled(account, tmp_path, target):
    """If publishing fails while it is cancelled, the cancellation is raised."""

    class Watched(JsonLinesSink):
        def write(self, records, output):
            loop.call_soon_threadsafe(export.cancel)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    target.write_bytes(OLD)
    loop = asyncio.get_running_loop()
    async with account(40) as a:
        export = asyncio.ensure_future(
            export_conversations(a.client, Watched(target), page_size=20)
        )
        await asyncio.wait([export])

        assert export.cancelled()
        await _no_thread_is_left()
        _no_file_is_open(tmp_path)
        assert await _outcome(target, a) == ("old", True)


@pytest.mark.once
@pytest.mark.parametrize("again", [0, 1, 2, 3])
async def test_a_second_cancellation_leaves_no_open_file(
    account, tmp_path, target, manifest, again
):
    """A second cancellation during the cleanup leaves no file open and no thread running."""
    async with account(60) as a:
        for step in range(4 * again, 60, max(1, 16 // EFFORT)):
            target.write_bytes(OLD)
            manifest.unlink(missing_ok=True)
            await _cancelled(export_conversations(a.client, target, page_size=20), step, again)
            await _no_thread_is_left()
            _no_file_is_open(tmp_path)
            await _outcome(target, a)


async def test_cancelled_while_it_closes_it_leaves_no_thread(account, target):
    """An export that is cancelled while it closes, its last step, also ends its thread."""

    class Watched(JsonLinesSink):
        def close(self):
            cancelled = threading.Event()
            loop.call_soon_threadsafe(lambda: (task.cancel(), loop.call_soon(cancelled.set)))
            assert cancelled.wait(300)
            super().close()

    loop = asyncio.get_running_loop()
    async with account(40) as a:
        export = Export(a.client, Watched(target), filters=Filters())
        task = asyncio.ensure_future(export.run())
        await asyncio.wait([task])

        assert task.cancelled()
        assert export.report is not None
        await _no_thread_is_left()  # although the export still references its thread
        assert _is_whole(target, a)


async def test_no_thread_and_no_file_is_left_behind(account, tmp_path, target):
    """A finished or failed export has closed its files and ended its thread."""
    async with account(5, attempts=1) as a:
        await export_conversations(a.client, target)
        await _no_thread_is_left()
        _no_file_is_open(tmp_path)
        a.sandbox.fail_next(Fault.status(500))
        with pytest.raises(ServerError):
            await export_conversations(a.client, target)
        await _no_thread_is_left()
        _no_file_is_open(tmp_path)


# Several exports


async def test_two_exports_to_two_targets_share_a_client(account, tmp_path):
    """One client can run exports to different targets at the same time, and each is exact."""
    targets = [tmp_path / f"{number}.jsonl" for number in range(4)]
    async with account(300) as a:
        await asyncio.gather(
            *(export_conversations(a.client, path, page_size=20) for path in targets)
        )

        assert all(_is_whole(path, a) for path in targets)


async def test_a_sink_can_be_used_again(account, target):
    """A sink can be used for a second export, which replaces the file of the first export."""
    sink = JsonLinesSink(target)
    async with account(120) as a:
        await export_conversations(a.client, sink)
        a.sandbox.create()
        await export_conversations(a.client, sink)

        assert _is_whole(target, a)


# Killed


EXPORT = """
import asyncio, sys
from cekat_async import CekatClient
from cekat_async.export import export_conversations
from cekat_async.sandbox import Sandbox

async def main(target, latency):
    async with (
        Sandbox(1000, quota=None, latency=float(latency)) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
    ):
        await export_conversations(client, target, page_size=20, account="the sandbox")

asyncio.run(main(*sys.argv[1:]))
"""


@posix_only
@pytest.mark.once
@pytest.mark.parametrize("old", [None, OLD], ids=["absent", "old"])
def test_killed_in_the_middle(target, checkpoint, old):
    """After ``kill -9``, the target is unchanged, and the same command resumes the export."""
    if old:
        target.write_bytes(old)
    command = [sys.executable, "-c", EXPORT, str(target)]
    with subprocess.Popen([*command, "0.01"]) as process:
        _wait_until(lambda: checkpoint.exists() and checkpoint.stat().st_size > 300_000)
        process.send_signal(signal.SIGKILL)
    whole = [record + b"\n" for _, record in Sandbox(1000).records()]

    assert (target.read_bytes() if target.exists() else None) == old
    kept = _kept(checkpoint)
    assert set(kept) <= set(whole)
    assert 100 < len(kept) < len(whole)

    subprocess.run([*command, "0"], check=True)

    assert _sorted(target.read_bytes()) == sorted(whole)
    assert _left(target.parent) == FINISHED
    found = Manifest.from_json(target.with_name(f"{target.name}.manifest.json").read_bytes())
    assert found.runs == 2


def _wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
