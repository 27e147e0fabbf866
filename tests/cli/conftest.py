"""Fixtures that run ``cekat`` in this process or as a child process, against a sandbox."""

# ruff: noqa: S603 - the processes are our own program

import json
import logging
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from cekat_async import CekatClient
from cekat_async.cli import run
from cekat_async.sandbox import Sandbox


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path, tmp_path_factory):
    """Run each test in an empty folder without the developer's settings, and restore logging."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith(("CEKAT_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    # Each test has its own home folder, next to the working folder.
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    # Reading the system's certificates takes a sixth of a process's time, and no test needs
    # them.
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    logger = logging.getLogger("cekat_async")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request, monkeypatch, tmp_path_factory):
    """The event loop of child processes: uvloop, or asyncio as if uvloop were not installed."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        return
    hiding = tmp_path_factory.mktemp("hiding")
    (hiding / "uvloop.py").write_text("raise ModuleNotFoundError('hidden', name='uvloop')")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(hiding), before])))


class Ended:
    """The result of a command: its exit code and its output."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def messages(self):
        """The JSON messages on standard error, one for each line."""
        return [json.loads(line) for line in self.err.splitlines()]

    @property
    def complaint(self):
        """The only line on standard error after the lines about retries."""
        *before, line = self.err.splitlines()
        assert all(" failed, next in " in early or " for a pause" in early for early in before)
        assert "Traceback" not in self.err
        return line


@pytest.fixture
def cekat(capsysbinary):
    """A function that runs a command line in this process."""

    def cekat(*arguments):
        capsysbinary.readouterr()
        code = run([*map(os.fsdecode, arguments)])
        out, err = capsysbinary.readouterr()
        return Ended(code, out, err.decode())

    return cekat


@pytest.fixture
def clients(monkeypatch):
    """The API keys and options of the clients that commands create."""
    made = []

    def client(*arguments, **options):
        made.append((arguments[0], options))
        return CekatClient(*arguments, **options)

    monkeypatch.setattr("cekat_async.cli.client_factory.CekatClient", client)
    return made


@pytest.fixture
def served(monkeypatch):
    """A context manager for a sandbox in a thread. Its address and key are in the environment."""

    @contextmanager
    def named(conversations=250, **options):
        options = {"quota": None, "cache": 1000} | options
        with Sandbox(conversations, **options) as sandbox:
            monkeypatch.setenv("CEKAT_BASE_URL", sandbox.base_url)
            monkeypatch.setenv("CEKAT_API_KEY", sandbox.api_key)
            yield sandbox

    return named


@pytest.fixture
def process():
    """A function that starts a command line as a child process."""
    started = []

    def process(*arguments, script=None, env=None, **options):
        program = ["-m", "cekat_async"] if script is None else ["-c", script]
        command = [sys.executable, "-W", "error::ResourceWarning", *program, *arguments]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        started.append(subprocess.Popen(command, env=os.environ | (env or {}), **options))
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.wait()
        for pipe in (one.stdout, one.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def ran(process):
    """A function that runs a command line as a child process until it ends."""

    def ran(*arguments, **options):
        running = process(*arguments, **options)
        out, err = running.communicate(timeout=300)
        ended = Ended(running.returncode, out, (err or b"").decode())
        assert "Traceback" not in ended.err
        return ended

    return ran


@pytest.fixture
def holds():
    """A function that checks whether a file has a sandbox's conversations, in any order."""

    def holds(path, sandbox):
        return sorted(path.read_bytes().splitlines()) == sorted(r for _, r in sandbox.records())

    return holds
