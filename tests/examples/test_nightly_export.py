"""The nightly export: the script for cron, the crontab, and the units of systemd."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from cekat_async.sandbox import Fault

pytestmark = pytest.mark.skipif(os.name != "posix", reason="cron and systemd are for POSIX")

FOLDER = Path(__file__).parents[2] / "examples" / "nightly_export"
SCRIPT = f"{FOLDER.name}/nightly_export.sh"
INSTALLED = Path(sysconfig.get_path("scripts"))
needs_script = pytest.mark.skipif(
    not (INSTALLED / "cekat").exists(), reason="cekat is not installed as a script"
)
ONCE = {"CEKAT_ATTEMPTS": "1", "PAUSE": "0"}


@needs_script
def test_what_may_work_later_is_retried(run_example, account, tmp_path):
    """After a failure that may pass, the script runs the export again, and the export resumes."""
    account.fail_next(*[Fault.status(503)] * 2)  # requests for the inboxes and the first page
    ended = run_example(SCRIPT, "x.jsonl", "--incremental", **ONCE)

    assert ended.returncode == 0
    assert re.search(r"^cekat: .*503", ended.stderr.splitlines()[0])
    assert sorted((tmp_path / "x.jsonl").read_bytes().splitlines()) == sorted(
        record for _, record in account.records()
    )


@needs_script
@pytest.mark.parametrize("fault, code, runs", [(401, 3, 1), (503, 5, 2)])
def test_it_gives_up(run_example, account, fault, code, runs):
    """A refused key is not retried. Other failures are retried as often as ATTEMPTS says."""
    account.fail_next(*[Fault.status(fault)] * 10)
    ended = run_example(SCRIPT, "x.jsonl", ATTEMPTS="2", **ONCE)

    assert ended.returncode == code
    assert len(re.findall("^cekat: ", ended.stderr, re.MULTILINE)) == runs


def test_the_crontab_runs_the_script():
    """The crontab's line has five fields for the time, and then the script with its target."""
    text = (FOLDER / "crontab").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\d.*$", text, re.MULTILINE)

    assert re.fullmatch(r"(\S+ ){5}/\S+/nightly_export\.sh /\S+\.parquet --incremental", line)
    assert "%" not in line  # cron takes this character for the end of a line
    assert os.access(FOLDER / "nightly_export.sh", os.X_OK)


@needs_script
def test_the_command_of_the_service_exports(account, run_example, tmp_path):
    """The command of the service finds the key in the credential that systemd passes to it."""
    (tmp_path / "api-key").write_text(account.api_key)
    (tmp_path / "api-key").chmod(0o440)
    unit = (FOLDER / "cekat-export.service").read_text(encoding="utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^ExecStart=/opt/cekat/bin/(.+)$", unit, re.MULTILINE)
    script = tmp_path / "service.sh"  # like systemd, the shell expands ${…}
    script.write_text(f"#!/bin/sh\nunset CEKAT_API_KEY\n{command}\n")
    script.chmod(0o700)
    ended = run_example(script, CREDENTIALS_DIRECTORY=str(tmp_path))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "conversations.parquet").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_accepts_the_units(tmp_path):
    """systemd finds nothing to report in the service and the timer."""
    program = tmp_path / "cekat"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = [shutil.copy(path, tmp_path) for path in sorted(FOLDER.glob("cekat-export.*"))]
    service = Path(units[0])
    service.write_text(service.read_text().replace("/opt/cekat/bin/cekat", str(program)))
    checked = subprocess.run(  # noqa: S603 - systemd's own tool
        ["systemd-analyze", "verify", "--man=no", *units],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )

    assert [path.suffix for path in map(Path, units)] == [".service", ".timer"]
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_same_codes_are_final_everywhere():
    """If the script does not retry an exit code, systemd and Kubernetes do not retry it either."""
    service = (FOLDER / "cekat-export.service").read_text(encoding="utf-8")
    script = (FOLDER / "nightly_export.sh").read_text(encoding="utf-8")
    container = (FOLDER.parents[1] / "docs" / "how-to" / "containers.md").read_text(
        encoding="utf-8"
    )
    (prevented,) = re.findall(r"^RestartPreventExitStatus=(.+)$", service, re.MULTILINE)
    (retried,) = re.findall(r"^    ([\d |]+)\) sleep", script, re.MULTILINE)
    (failed,) = re.findall(r"values: \[(.+)\]", container)

    assert prevented.split() == failed.split(", ")
    assert {*prevented.split(), *retried.split(" | ")} == {str(code) for code in range(1, 13)}
