"""``--metrics-file``: the metrics of an export job, for Prometheus."""

import os
import stat
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cekat_async.cli import ExitCode
from cekat_async.cli.commands import export_metrics
from cekat_async.cli.commands.metrics_file import MetricsFile
from cekat_async.sandbox import Fault, Live

FAST = ("--rate-limit", "10000/60")


def read_metrics(path):
    """Return the values of a metrics file, by name and by the labels that distinguish them."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            name = sample.name.removeprefix("cekat_export_")
            own = {k: v for k, v in sample.labels.items() if k not in {"account", "target"}}
            key = (name, *own.values()) if own else name
            assert key not in found
            found[key] = sample.value
    return found


def test_the_metrics_of_an_export(cekat, served, tmp_path):
    """After an export, the file has the export's counts, exit code and time of success."""
    with served(250) as sandbox:
        sandbox.fail_next(Fault.status(503), Fault.status(429, headers={"Retry-After": "0.01"}))
        ended = cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom", "--by-inbox")
        found = read_metrics(tmp_path / "m.prom")

    assert ended.code == ExitCode.DONE
    assert found["running"] == 0
    assert found["last_exit_code"] == 0
    began = found["start_timestamp_seconds"]
    assert 0 <= found["last_success_timestamp_seconds"] - began < 60
    assert 0 < found["duration_seconds"] < 60
    assert found["requests", "503"] == found["requests", "429"] == 1
    assert found["requests", "200"] == len(sandbox.log.requests) - 2
    assert found["retries"] == 2
    assert found["refusals"] == 1
    assert found["waited_seconds", "backoff"] > 0
    assert set(found) >= {("waited_seconds", why) for why in ("quota", "pause", "concurrency")}
    assert found["records"] >= 250
    assert found["published_records"] == 250
    assert found["malformed_records"] == found["catch_up_passes"] == 0
    assert found["partitions", "complete"] == 8
    assert found["partitions", "failed"] == 0
    assert found["pages"] >= 8
    assert 0 < found["quota_share_ratio"] <= 1
    assert sandbox.api_key not in (tmp_path / "m.prom").read_text()
    assert not list(tmp_path.glob("*.tmp"))


def test_lost_replies_and_catch_up_are_counted(cekat, served, tmp_path):
    """Requests without a reply have the status "none", and catch-up passes are counted."""
    with served(2500, live=Live(messages=30, seed=3)) as sandbox:
        sandbox.fail_next(Fault.drop())
        typed = ("export", "x.jsonl", *FAST, "--concurrency", "1", "--metrics-file", "m.prom")
        assert cekat(*typed).code == ExitCode.DONE
        found = read_metrics(tmp_path / "m.prom")

    assert found["requests", "none"] == 1
    assert found["catch_up_passes"] >= 1


@pytest.mark.skipif(os.name != "posix", reason="symbolic links as POSIX has them")
def test_no_other_file_is_written(tmp_path):
    """The metrics are written to a new file first, never through a link."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "m.prom.tmp").symlink_to("mine")
    MetricsFile(tmp_path / "m.prom", {}).write("metrics")

    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "m.prom").read_text() == "metrics"
    assert not (tmp_path / "m.prom").is_symlink()


def test_each_write_has_a_file_of_its_own(tmp_path, monkeypatch):
    """Two simultaneous writes, even in two processes, use different temporary files."""
    written = []
    replace = Path.replace

    def note(self, target):
        written.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    file = MetricsFile(tmp_path / "m.prom", {})
    file.write("1")
    file.write("2")

    assert len({*written}) == 2
    # node_exporter reads only names that end in .prom.
    assert all(path.suffix == ".tmp" and path.parent == tmp_path for path in written)
    assert [path.name for path in tmp_path.iterdir()] == ["m.prom"]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    """If the file cannot be replaced, no temporary file is left in its folder."""
    (tmp_path / "m.prom").mkdir()
    with pytest.raises(OSError, match=r"m\.prom"):
        MetricsFile(tmp_path / "m.prom", {}).write("metrics")

    assert [path.name for path in tmp_path.iterdir()] == ["m.prom"]


@pytest.mark.skipif(os.name != "posix", reason="modes as POSIX has them")
def test_others_may_read_the_file(cekat, served, tmp_path):
    """The umask determines the file's mode, because node_exporter runs as another user."""
    before = os.umask(0o022)
    try:
        with served(5):
            cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "m.prom").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "x.jsonl").stat().st_mode) == 0o600


def test_a_failure_keeps_the_time_of_the_last_success(cekat, served, tmp_path):
    """A failed run writes its exit code and keeps the time of the last success."""
    typed = ("export", "x.jsonl", *FAST, "--attempts", "1", "--metrics-file", "m.prom")
    with served(50) as sandbox:
        cekat(*typed)
        success = read_metrics(tmp_path / "m.prom")["last_success_timestamp_seconds"]
        sandbox.fail_next(*[Fault.status(500)] * 9)
        failed = cekat(*typed)
        found = read_metrics(tmp_path / "m.prom")
        other = cekat(*typed, "--account", "another")
        after = read_metrics(tmp_path / "m.prom")

    assert failed.code == found["last_exit_code"] == ExitCode.API_FAILED
    assert found["last_success_timestamp_seconds"] == success
    assert found["requests", "500"] >= 1
    assert found["published_records"] == 0
    # A job of another account ignores the values in the file.
    assert other.code == ExitCode.API_FAILED
    assert "last_success_timestamp_seconds" not in after


def test_a_run_without_a_key_is_a_failure(cekat, served, tmp_path, monkeypatch):
    """Without an API key, the metrics still have the exit code, so that an alert fires."""
    typed = ("export", "x.jsonl", *FAST, "--metrics-file", "m.prom")
    with served(5):
        cekat(*typed)
        success = read_metrics(tmp_path / "m.prom")["last_success_timestamp_seconds"]
        monkeypatch.delenv("CEKAT_API_KEY")
        ended = cekat(*typed)
    found = read_metrics(tmp_path / "m.prom")

    assert ended.code == found["last_exit_code"] == ExitCode.USAGE
    assert "no API key" in ended.complaint
    assert found["running"] == found["records"] == 0
    assert found["last_success_timestamp_seconds"] == success


def test_a_wrong_command_line_writes_no_metrics(cekat, served, tmp_path):
    """Wrong usage leaves the file unchanged."""
    with served(5):
        cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom")
        before = (tmp_path / "m.prom").read_bytes()
        ended = cekat("export", "x.jsonl", "--metrics-file", "m.prom", "--table", "t")

    assert ended.code == ExitCode.USAGE
    assert (tmp_path / "m.prom").read_bytes() == before


def test_a_partial_export_is_no_success(cekat, served, tmp_path):
    """An export that lacks an inbox has exit code 10 and does not count as a success."""
    with served(50) as sandbox:
        sandbox.forbid(sandbox.inbox_ids[0])
        ended = cekat("export", "x.jsonl", *FAST, "--by-inbox", "--metrics-file", "m.prom")
        found = read_metrics(tmp_path / "m.prom")

    assert ended.code == found["last_exit_code"] == ExitCode.PARTIAL
    assert found["partitions", "failed"] == 1
    assert "last_success_timestamp_seconds" not in found


def test_the_file_is_written_while_the_export_runs(cekat, served, tmp_path, monkeypatch):
    """During a run, the file has the current counts and the exit code of the last run."""
    monkeypatch.setattr(export_metrics, "_SECONDS_BETWEEN_WRITES", 0.0)
    seen = []
    write = export_metrics.MetricsFile.write

    def look(self, text):
        write(self, text)
        seen.append(read_metrics(tmp_path / "m.prom"))

    monkeypatch.setattr(export_metrics.MetricsFile, "write", look)
    typed = ("export", "x.jsonl", *FAST, "--concurrency", "1", "--metrics-file", "m.prom")
    with served(1500):
        cekat(*typed)
        first = seen.copy()
        seen.clear()
        cekat(*typed)

    assert [found["running"] for found in first] == [1.0] * (len(first) - 1) + [0.0]
    pages = [found["pages"] for found in first]
    assert pages == sorted(pages)
    assert len(set(pages)) > 2
    assert "last_exit_code" not in first[0]
    assert seen[0]["last_exit_code"] == 0
    assert seen[0]["last_success_timestamp_seconds"] == first[-1]["last_success_timestamp_seconds"]


def test_a_cancelled_export(process, served, tmp_path):
    """A job that is terminated writes its exit code."""
    with served(5000, latency=0.05) as sandbox:
        running = process("export", "x.jsonl", "--metrics-file", "m.prom")
        while len(sandbox.log.requests) < 3:
            time.sleep(0.01)
        running.terminate()
        running.communicate(timeout=60)

    assert running.returncode == ExitCode.TERMINATED
    assert read_metrics(tmp_path / "m.prom")["last_exit_code"] == ExitCode.TERMINATED


def test_an_overlapping_run_leaves_the_metrics_to_the_other(process, cekat, served, tmp_path):
    """A run that is refused because the target is in use writes no metrics."""
    typed = ("export", "x.jsonl", "--metrics-file", "m.prom")
    (tmp_path / "m.prom").write_text("before")
    with served(5000, latency=0.05) as sandbox:
        running = process(*typed)
        while not (tmp_path / "m.prom").read_text().startswith("# HELP"):
            time.sleep(0.01)
        assert sandbox.log.requests
        before = (tmp_path / "m.prom").stat()
        ended = cekat(*typed, "--checkpoint", "other")
        after = (tmp_path / "m.prom").stat()
        running.terminate()
        running.communicate(timeout=60)

    assert ended.code == ExitCode.TARGET_BUSY
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_labels_distinguish_jobs(cekat, served, tmp_path):
    """All values have the target and the account's name as escaped labels."""
    name = 'A "b" \\ c'
    with served(5):
        cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom", "--account", name)

    families = text_string_to_metric_families((tmp_path / "m.prom").read_text())
    labels = [sample.labels for family in families for sample in family.samples]
    assert {(one["target"], one["account"]) for one in labels} == {("x.jsonl", name)}


@pytest.mark.parametrize(
    "path, reason",
    [
        ("missing/m.prom", "there is no folder missing"),
        (".", "it is a folder"),
        *[
            (name, f"{name} belongs to the target or the checkpoint: choose another file")
            for name in (
                *("x.jsonl", "x.jsonl.manifest.json", "x.jsonl.new", "x.jsonl.cekat.lock"),
                *("x.jsonl.checkpoint", "kept", "kept-wal"),
            )
        ],
        ("/dev/null", "it is not a regular file"),
    ],
)
def test_a_path_that_cannot_work_is_refused_first(cekat, served, tmp_path, path, reason):
    """An impossible path is refused before any request or write."""
    with served(5) as sandbox:
        ended = cekat(*("export", "x.jsonl", "--checkpoint", "kept"), *FAST, "--metrics-file", path)

    assert ended.code == ExitCode.USAGE
    assert reason in ended.complaint
    assert "--metrics-file" in ended.complaint
    assert sandbox.log.requests == []
    assert not (tmp_path / "x.jsonl").exists()


def test_no_file_of_a_folder_is_replaced(cekat, served, tmp_path):
    """A metrics file in the target's folder is refused."""
    (tmp_path / "x.parquet").mkdir()
    with served(5) as sandbox:
        ended = cekat("export", "x.parquet/", *FAST, "--metrics-file", "x.parquet/m.prom")

    assert ended.code == ExitCode.USAGE
    assert "belongs to the target" in ended.complaint
    assert sandbox.log.requests == []


@pytest.mark.parametrize("target, path", [("x.jsonl", "x.jsonl.prom"), ("-", "-.txt")])
def test_a_path_that_is_named_like_the_target(cekat, served, tmp_path, target, path):
    """The metrics file may have any name that no file of the export has."""
    with served(5):
        ended = cekat("export", target, *FAST, f"--metrics-file={path}")

    assert ended.code == ExitCode.DONE
    assert read_metrics(tmp_path / path)["published_records"] == 5


def test_a_folder_without_rights_is_refused_first(cekat, served, tmp_path, monkeypatch):
    """A metrics file in a folder that is not writable is refused before any request."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with served(5) as sandbox:
        ended = cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom")

    assert ended.code == ExitCode.USAGE
    assert "cannot be written" in ended.complaint
    assert sandbox.log.requests == []


def test_a_file_that_cannot_be_written_fails_no_export(cekat, served, tmp_path, monkeypatch):
    """If the file becomes unwritable, the command warns once and the export continues."""

    def fail(self, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_metrics, "_SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(export_metrics.MetricsFile, "write", fail)
    with served(500):
        ended = cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom")

    assert ended.code == ExitCode.DONE
    assert ended.err.count("cannot write the metrics to m.prom: No space left on device") == 1
    assert (tmp_path / "x.jsonl").exists()


def test_the_file_may_be_set(cekat, served, tmp_path, monkeypatch):
    """The metrics file can be set in the environment.

    Metrics of a sandbox do not replace real metrics.
    """
    monkeypatch.setenv("CEKAT_METRICS_FILE", "m.prom")
    assert cekat("export", "s.jsonl", "--sandbox", "--sandbox-size", "5").code == ExitCode.DONE
    assert not (tmp_path / "m.prom").exists()
    with served(5):
        assert cekat("export", "x.jsonl", *FAST).code == ExitCode.DONE

    assert read_metrics(tmp_path / "m.prom")["published_records"] == 5


def test_a_file_that_is_no_metrics_is_replaced(cekat, served, tmp_path):
    """If the file contains no metrics, its content is ignored and replaced."""
    (tmp_path / "m.prom").write_bytes(b"\xff not metrics\ncekat_export_last_exit_code x\n")
    with served(5):
        cekat("export", "x.jsonl", *FAST, "--metrics-file", "m.prom")

    assert read_metrics(tmp_path / "m.prom")["last_exit_code"] == 0


def test_a_password_is_not_in_the_metrics(cekat, tmp_path):
    """The label for the target contains no password."""
    cekat(
        *("export", "postgresql://ada:s3cret@127.0.0.1:1/db", "--sandbox", "--sandbox-size", "5"),
        *("--metrics-file", "m.prom"),
    )
    text = (tmp_path / "m.prom").read_text()

    assert "s3cret" not in text
    assert "127.0.0.1:1/db" in text
