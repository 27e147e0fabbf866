"""What stands under which name: a target that is not finished never looks finished."""

# ruff: noqa: S603 - the processes are our own program

import asyncio
import errno
import gc
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from cekat_async import ServerError, TargetError
from cekat_async.export import JsonLinesSink, export_conversations
from cekat_async.sandbox import Fault, Sandbox

OLD = b'{"id":"of an earlier export"}\n'
posix_only = pytest.mark.skipif(os.name != "posix", reason="a matter of POSIX systems")


async def test_the_old_target_is_replaced_at_the_end_and_not_before(account, target, partial):
    """While an export runs the old target is whole, and so it is for a reader who opened it."""
    target.write_bytes(OLD * 1000)
    seen = []
    async with account(300) as a:
        with target.open("rb") as reader:
            await export_conversations(
                a.client, target, on_progress=lambda _: seen.append(target.read_bytes())
            )

            assert seen == [OLD * 1000] * 3
            assert reader.read() == OLD * 1000
            assert target.read_bytes() == a.lines()
    assert not partial.exists()


async def test_pages_are_in_the_unfinished_file_as_they_come(account, target, partial):
    """What progress tells of is in the unfinished file by then, and there is no target yet."""
    sizes = []

    def on_progress(progress):
        assert not target.exists()
        assert partial.read_bytes().count(b"\n") == progress.conversations
        sizes.append(partial.stat().st_size)

    async with account(500) as a:
        await export_conversations(a.client, target, on_progress=on_progress)

    assert len(sizes) == 5
    assert sizes == sorted(sizes)


async def test_what_an_earlier_failure_left_is_not_in_the_way(account, target, partial):
    """An unfinished file of an earlier run is begun anew, and none of it is in the target."""
    partial.write_bytes(OLD * 9999)
    async with account(120) as a:
        await export_conversations(a.client, target)

        assert target.read_bytes() == a.lines()
    assert not partial.exists()


@posix_only
@pytest.mark.parametrize("old", [None, OLD], ids=["dangling", "old"])
async def test_a_link_stays_a_link(account, tmp_path, target, partial, old):
    """Through a symbolic link the file it leads to is replaced, from a file beside that one."""
    elsewhere = tmp_path / "elsewhere" / "real"
    elsewhere.parent.mkdir()
    if old:
        elsewhere.write_bytes(old)
    target.symlink_to("elsewhere/real")
    beside = []

    async with account(5) as a:
        sink = JsonLinesSink(target)
        await export_conversations(
            a.client, sink, on_progress=lambda _: beside.append(sink.unfinished)
        )

        assert elsewhere.read_bytes() == a.lines()
    assert target.is_symlink()
    assert beside == [str(elsewhere.resolve()) + ".partial"]
    assert not partial.exists()
    assert sink.target == str(target)


@posix_only
async def test_a_link_in_a_circle(account, target):
    """A symbolic link that leads nowhere but to itself is told before any request."""
    target.symlink_to(target.name)
    async with account() as a:
        with pytest.raises(TargetError, match="symbolic links"):
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    assert target.is_symlink()


@posix_only
async def test_an_unfinished_file_is_never_a_link(account, tmp_path, target, partial):
    """A link under the unfinished file's name is told, and what it leads to is not emptied."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(OLD)
    partial.symlink_to(elsewhere)
    async with account() as a:
        with pytest.raises(TargetError, match=r"cannot write .*\.partial"):
            await export_conversations(a.client, target)

    assert elsewhere.read_bytes() == OLD


@posix_only
async def test_a_target_that_is_no_regular_file(account, target):
    """A pipe or a device under the target's name is told before any request, and stays."""
    os.mkfifo(target)
    async with account() as a:
        with pytest.raises(TargetError, match="not a regular file"):
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    assert target.is_fifo()


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def _modes(account, target, partial):
    """Export, and return the modes of the unfinished file and of the target."""
    modes = []
    async with account(5) as a:
        await export_conversations(
            a.client, target, on_progress=lambda _: modes.append(_mode(partial))
        )
    return [*modes, _mode(target)]


@posix_only
@pytest.mark.parametrize("umask, mode", [(0o000, 0o600), (0o022, 0o600), (0o277, 0o400)])
async def test_a_new_file_is_for_its_owner_alone(account, target, partial, umask, mode):
    """Nobody else may read a new target or its unfinished file, whatever the umask allows."""
    before = os.umask(umask)
    try:
        assert await _modes(account, target, partial) == [mode, mode]
    finally:
        os.umask(before)


@posix_only
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o400])
async def test_a_target_keeps_its_mode(account, target, partial, mode):
    """A target that is replaced keeps its mode; unfinished it is for its owner alone."""
    target.write_bytes(OLD)
    target.chmod(mode)

    assert await _modes(account, target, partial) == [0o600, mode]


@posix_only
async def test_an_earlier_unfinished_file_is_taken_from_others(account, target, partial):
    """An unfinished file that others could read is for its owner alone when it is begun anew."""
    partial.write_bytes(OLD)
    partial.chmod(0o666)

    assert await _modes(account, target, partial) == [0o600, 0o600]


@posix_only
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
async def test_a_target_keeps_owner_and_group(account, target, partial):
    """A target that root replaces still belongs to whom it belonged to."""
    target.write_bytes(OLD)
    os.chown(target, 12345, 54321)
    target.chmod(0o640)

    assert await _modes(account, target, partial) == [0o600, 0o640]
    assert (target.stat().st_uid, target.stat().st_gid) == (12345, 54321)


@posix_only
async def test_a_group_that_cannot_be_kept_gives_no_rights_to_another(
    account, monkeypatch, target, partial
):
    """Where the target's group cannot be kept, the group it has instead gets no rights."""

    def fchown(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.fchown", fchown)
    target.write_bytes(OLD)
    target.chmod(0o664)

    assert await _modes(account, target, partial) == [0o600, 0o604]


@pytest.mark.parametrize("old", [None, OLD], ids=["absent", "old"])
async def test_a_server_that_fails_for_good_leaves_whole_pages(account, target, partial, old):
    """After a failure the target is as before; the unfinished file holds the pages until then."""
    if old:
        target.write_bytes(old)
    async with account(500, attempts=1) as a:
        a.sandbox.fail_next(Fault.ok(), Fault.ok(), Fault.status(500))
        with pytest.raises(ServerError) as caught:
            await export_conversations(a.client, target)

        assert partial.read_bytes() == b"".join(a.lines().splitlines(keepends=True)[:200])
    assert caught.value.cursor is not None
    assert (target.read_bytes() if target.exists() else None) == old


async def test_a_failure_before_the_first_page_leaves_nothing(account, tmp_path, target):
    """Where nothing was written, nothing is left."""
    async with account(attempts=1) as a:
        a.sandbox.fail_next(Fault.status(503))
        with pytest.raises(ServerError):
            await export_conversations(a.client, target)

    assert list(tmp_path.iterdir()) == []


async def test_a_failing_progress_function_ends_the_export_cleanly(account, target, partial):
    """An error of the caller's own function comes out as it is, and the file is closed."""

    def on_progress(progress):
        raise ZeroDivisionError

    async with account() as a:
        with pytest.raises(ZeroDivisionError):
            await export_conversations(a.client, target, on_progress=on_progress)

        assert partial.read_bytes() == b"".join(a.lines().splitlines(keepends=True)[:100])
    assert not target.exists()


async def test_a_cancellation_at_any_moment_leaves_no_half_line(account, target, partial):
    """Cancelled at any step of the event loop, the target is as before, or whole; so are lines."""
    outcomes = set()
    async with account(40) as a:
        whole, step, done = a.lines(), 0, False
        while not done:
            target.write_bytes(OLD)
            done = not await _cancelled(export_conversations(a.client, target, limit=20), step)
            outcomes.add(_outcome(target, partial, whole))
            partial.unlink(missing_ok=True)
            # How many steps there are is for the thread and the machine to say.
            step += 1 + step // 20
    await _no_thread_is_left()

    assert outcomes <= {("old", 0), ("old", 20), ("old", 40), ("new", 0)}


@pytest.mark.parametrize(
    "moment, outcome",
    [
        ("open", ("old", 0)),
        ("page 1", ("old", 20)),
        ("page 2", ("old", 40)),
        ("publishing", ("new", 0)),
    ],
)
async def test_a_cancellation_at_a_moment(account, target, partial, moment, outcome):
    """Until the target takes its name a cancellation leaves the old one; then it waits for that."""

    class Watched(JsonLinesSink):
        def _open(self):
            self._now("open")
            super()._open()

        def _publish(self):
            self._now("publishing")
            super()._publish()

        def _now(self, what):
            """Cancel from the sink's thread, and go on when the event loop has done that."""
            if what == moment:
                cancelled = threading.Event()
                loop.call_soon_threadsafe(lambda: (export.cancel(), cancelled.set()))
                assert cancelled.wait(20)

    def on_progress(progress):
        if f"page {progress.pages}" == moment:
            export.cancel()

    target.write_bytes(OLD)
    loop = asyncio.get_running_loop()
    async with account(40) as a:
        export = asyncio.ensure_future(
            export_conversations(a.client, Watched(target), limit=20, on_progress=on_progress)
        )
        await asyncio.wait([export])

        assert export.cancelled()
        assert _outcome(target, partial, a.lines()) == outcome
    await _no_thread_is_left()


async def test_a_publishing_that_fails_when_cancelled(account, target, partial):
    """Who is cancelled while publishing fails gets the cancellation, and the file is closed."""

    class Watched(JsonLinesSink):
        def _publish(self):
            loop.call_soon_threadsafe(export.cancel)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    target.write_bytes(OLD)
    loop = asyncio.get_running_loop()
    async with account(40) as a:
        export = asyncio.ensure_future(export_conversations(a.client, Watched(target), limit=20))
        await asyncio.wait([export])

        assert export.cancelled()
        assert _outcome(target, partial, a.lines()) == ("old", 40)
    await _no_thread_is_left()
    gc.collect()


async def _cancelled(export, step, again=None):
    """Cancel an export after so many steps of the loop; whether it was still under way."""
    task = asyncio.ensure_future(export)
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    if again is not None:
        for _ in range(again):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


def _outcome(target, partial, whole):
    """Say whose the target is, and how many lines are in the unfinished file."""
    unfinished = partial.read_bytes() if partial.exists() else b""
    assert whole.startswith(unfinished)
    assert unfinished == b"" or unfinished.endswith(b"\n")
    return {OLD: "old", whole: "new"}[target.read_bytes()], unfinished.count(b"\n")


async def _no_thread_is_left():
    for _ in range(2000):
        if not any(thread.name.startswith("cekat-sink") for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.001)
    pytest.fail("a thread of the sink is still there")


@pytest.mark.parametrize("again", [0, 1, 2, 3])
async def test_a_second_cancellation_leaves_no_open_file(account, target, partial, again):
    """Who is cancelled once more while it cleans up leaves no file open and no thread behind."""
    async with account(60) as a:
        for step in range(0, 60, 4):
            target.write_bytes(OLD)
            await _cancelled(export_conversations(a.client, target, limit=20), step, again)
            await _no_thread_is_left()
            _outcome(target, partial, a.lines())
    gc.collect()  # an open file would say so now, and a warning is an error


async def test_no_thread_and_no_file_is_left_behind(account, target):
    """A finished export has closed its file and ended its thread."""
    async with account(5) as a:
        await export_conversations(a.client, target)
    await _no_thread_is_left()
    gc.collect()


async def test_a_folder_that_is_not_there(account, tmp_path):
    """A missing folder is named before any request is spent, and not created."""
    async with account() as a:
        with pytest.raises(TargetError, match=r"there is no folder .*nowhere") as caught:
            await export_conversations(a.client, tmp_path / "nowhere" / "x.jsonl")

        assert a.sandbox.log.requests == []
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("occupied", ["target", "partial"])
async def test_a_folder_in_the_place_of_the_file(account, request, tmp_path, target, occupied):
    """A folder under the name of a file to be written is told at once, and stays."""
    request.getfixturevalue(occupied).mkdir()
    async with account() as a:
        with pytest.raises(TargetError, match="cannot write") as caught:
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    assert isinstance(caught.value.__cause__, (IsADirectoryError, PermissionError))
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_target_that_becomes_a_folder_meanwhile(account, target, partial):
    """When the name is taken by a folder in the end, what was fetched is not lost."""

    def on_progress(progress):
        target.mkdir(exist_ok=True)

    async with account() as a:
        with pytest.raises(TargetError):
            await export_conversations(a.client, target, on_progress=on_progress)

        assert partial.read_bytes() == a.lines()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_one_may_not_write_to(account, tmp_path, target):
    """A folder without the right to write is told at once."""
    tmp_path.chmod(0o500)
    async with account() as a:
        with pytest.raises(TargetError, match="Permission denied") as caught:
            await export_conversations(a.client, target)

        assert a.sandbox.log.requests == []
    tmp_path.chmod(0o700)
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="no sysfs")  # noqa: PTH112 - read at import
async def test_a_place_where_nobody_may_write(account):
    """Where the system itself says no, its reason is in the message and in the cause."""
    async with account() as a:
        with pytest.raises(TargetError, match=r"cannot write /sys/x\.jsonl\.partial") as caught:
            await export_conversations(a.client, "/sys/x.jsonl")

        assert a.sandbox.log.requests == []
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_is_too_long(account, tmp_path):
    """A name that the file system refuses is told with its reason."""
    async with account() as a:
        with pytest.raises(TargetError) as caught:
            await export_conversations(a.client, tmp_path / ("x" * 290 + ".jsonl"))

    assert caught.value.__cause__.errno == errno.ENAMETOOLONG


@pytest.fixture
def small_disk():
    """No file of this process can grow beyond 250,000 bytes; writing on fails halfway."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@posix_only
async def test_a_disk_that_is_full(account, small_disk, target, partial):
    """With no room left the old target is untouched; the unfinished file ends at a whole page."""
    target.write_bytes(OLD)
    async with account(1000) as a:
        with pytest.raises(TargetError, match="File too large") as caught:
            await export_conversations(a.client, target)

        unfinished = partial.read_bytes()
        assert a.lines().startswith(unfinished)
        assert unfinished.count(b"\n") == 200
    assert caught.value.__cause__.errno == errno.EFBIG
    assert target.read_bytes() == OLD


@posix_only
async def test_two_exports_to_one_target_do_not_mix(account, target):
    """The second of two exports to the same target is refused, and the first is not disturbed."""
    first = JsonLinesSink(target)
    async with account(250) as a:
        await first.open()
        async for page in a.client.conversations.pages():
            await first.write(page)
            with pytest.raises(TargetError, match="another export is writing it") as caught:
                await export_conversations(a.client, target)
        await first.finish()

        assert target.read_bytes() == a.lines()
    assert isinstance(caught.value.__cause__, OSError)


@posix_only
async def test_a_target_that_was_finished_between_opening_and_locking(
    account, monkeypatch, target, partial
):
    """A file that became another export's target at the last moment is left alone."""

    def flock(file, operation):
        partial.write_bytes(OLD)
        partial.replace(target)

    monkeypatch.setattr("fcntl.flock", flock)
    async with account() as a:
        with pytest.raises(TargetError, match="another export is writing it"):
            await export_conversations(a.client, target)

    assert target.read_bytes() == OLD


@posix_only
async def test_a_file_system_without_locks(account, monkeypatch, target):
    """Where the file system has no locks, exports work without them."""

    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    async with account(120) as a:
        await export_conversations(a.client, target)

        assert target.read_bytes() == a.lines()


async def test_two_exports_to_two_targets_share_a_client(account, tmp_path):
    """Exports to different targets run at once on one client, each exact."""
    targets = [tmp_path / f"{number}.jsonl" for number in range(4)]
    async with account(300) as a:
        await asyncio.gather(*(export_conversations(a.client, path, limit=20) for path in targets))

        assert [path.read_bytes() for path in targets] == [a.lines()] * 4


async def test_a_sink_can_be_used_again(account, target):
    """The same sink serves a second export, which replaces the first one's file."""
    sink = JsonLinesSink(target)
    async with account(120) as a:
        await export_conversations(a.client, sink)
        a.sandbox.create()
        await export_conversations(a.client, sink)

        assert target.read_bytes() == a.lines()


async def test_a_sink_out_of_turn_says_so(account, target, tmp_path):
    """Writing before opening is told by name; letting go of what was never opened is no error."""
    sink = JsonLinesSink(target)
    async with account(5) as a:
        page = await a.client.conversations.page()

    with pytest.raises(TargetError, match=r"call open\(\) first"):
        await sink.write(page)
    with pytest.raises(TargetError, match=r"call open\(\) first"):
        await sink.finish()
    await sink.abort()
    assert list(tmp_path.iterdir()) == []


async def test_a_sink_that_did_not_open_says_so(account, tmp_path):
    """Writing to a sink whose opening failed is told by name."""
    sink = JsonLinesSink(tmp_path / "nowhere" / "x.jsonl")
    async with account(5) as a:
        page = await a.client.conversations.page()

    with pytest.raises(TargetError, match="there is no folder"):
        await sink.open()
    with pytest.raises(TargetError, match=r"call open\(\) first"):
        await sink.write(page)
    await sink.abort()


EXPORT = """
import asyncio, sys
from cekat_async import CekatClient
from cekat_async.export import export_conversations
from cekat_async.sandbox import Sandbox

async def main(target, latency):
    async with (
        Sandbox(2000, quota=None, latency=float(latency)) as sandbox,
        CekatClient(sandbox.api_key, base_url=sandbox.base_url, rate_limit=None) as client,
    ):
        await export_conversations(client, target)

asyncio.run(main(*sys.argv[1:]))
"""


@posix_only
@pytest.mark.parametrize("old", [None, OLD], ids=["absent", "old"])
def test_killed_in_the_middle(target, partial, old):
    """After ``kill -9`` the target is as before; the same export run again is whole."""
    if old:
        target.write_bytes(old)
    command = [sys.executable, "-c", EXPORT, str(target)]
    with subprocess.Popen([*command, "0.01"]) as process:
        _wait_until(lambda: partial.exists() and partial.stat().st_size > 500_000)
        process.send_signal(signal.SIGKILL)
    whole = b"".join(record + b"\n" for _, record in Sandbox(2000).records())

    assert (target.read_bytes() if target.exists() else None) == old
    assert whole.startswith(partial.read_bytes())
    assert len(partial.read_bytes()) < len(whole)

    subprocess.run([*command, "0"], check=True)

    assert target.read_bytes() == whole
    assert not partial.exists()


def _wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
