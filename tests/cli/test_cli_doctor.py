"""``cekat doctor`` prints one line per check, with its success or advice, but never the key."""

import asyncio
import os
import re
import ssl
import sys
import threading
import tomllib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import metadata
from pathlib import Path

import pytest
from support.rawserver import RawServer, http
from support.tls import server_context, tls_server

from cekat_async.cli import ExitCode
from cekat_async.cli.commands.doctor import extras
from cekat_async.sandbox import Fault, Quota

KEY = "sk-0f3d-very-distinctive-9c71"
SERVER = ("proxy", "DNS", "TCP", "TLS", "access", "quota", "page", "clock")


class Diagnosis:
    """The output of ``cekat doctor``: the mark and the text of each topic."""

    def __init__(self, ended):
        self.ended = ended
        self.lines = ended.out.decode().splitlines()
        found = [re.fullmatch(r"(✓|✗|·) (\w+) +(.*)", line) for line in self.lines]
        assert all(found), ended.out
        self.marks = {one[2]: one[1] for one in found if one[2] != "extra"}
        self.texts = {one[2]: one[3] for one in found if one[2] != "extra"}
        self.extras = [(one[1], one[3]) for one in found if one[2] == "extra"]

    @property
    def failed(self):
        """The failed topics, with the advice."""
        return [(topic, self.texts[topic]) for topic, mark in self.marks.items() if mark == "✗"]

    def mark(self, *topics):
        """Return the marks of some topics as one text."""
        return "".join(self.marks[topic] for topic in topics)


@pytest.fixture
def doctor(cekat):
    """A function that runs ``cekat doctor`` and checks that the key is not in its output."""

    def doctor(*arguments):
        ended = cekat("doctor", *arguments)
        assert KEY not in ended.out.decode() + ended.err
        assert "Traceback" not in ended.err
        return Diagnosis(ended)

    return doctor


@contextmanager
def raw(answer):
    """Run a server in a thread that answers each request with the given bytes."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    server, stop = RawServer(lambda _: answer), asyncio.Event()

    async def serve():
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(300)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_everything_works(doctor, served):
    """Each check has a line. The last line, on standard error, counts the checks."""
    with served(250, api_key=KEY) as sandbox:
        found = doctor()

        assert len(sandbox.log.requests) == 1
    assert found.ended.code == ExitCode.DONE
    assert [*found.marks] == ["version", "settings", "key", "host", *SERVER]
    assert found.failed == []
    assert found.texts["key"] == "there is one in CEKAT_API_KEY"
    assert found.texts["host"].startswith("http://127.0.0.1:")
    assert found.texts["proxy"] == "none: HTTP_PROXY is not set"
    assert found.mark("DNS", "TCP", "TLS") == "·✓·"
    assert re.match(r"1 conversation decoded in \d+\.\d\d s; ", found.texts["page"])
    assert found.texts["page"].endswith("no malformed record")
    assert re.fullmatch(r"cekat: all \d checks from key to clock passed\n", found.ended.err)


def test_a_sandbox_is_fine(doctor):
    """``--sandbox`` shows a healthy connection without a key or a network."""
    found = doctor("--sandbox")

    assert found.ended.code == ExitCode.DONE
    assert found.failed == []
    assert found.texts["key"] == "that of the sandbox"


def test_the_result_for_a_program(doctor, served):
    """With ``--log-format json``, the last line of standard error has all findings."""
    with served(5, api_key=KEY):
        found = doctor("--log-format", "json")
    (message,) = found.ended.messages

    assert (message["event"], message["level"], message["exit_code"]) == ("checked", "info", 0)
    assert {"check": "access", "state": "fine", "message": "the server accepts the key"} in (
        message["checks"]
    )
    assert len(message["checks"]) == len(found.lines)


# The key


def test_no_key(doctor):
    """Without a key, nothing is sent, and a line says where to set one."""
    found = doctor()

    assert found.ended.code == ExitCode.USAGE
    assert found.failed == [("key", "no API key: set CEKAT_API_KEY, or use --sandbox")]
    assert found.mark("host", *SERVER) == "·" * 9
    assert found.ended.complaint == "cekat: 1 of 1 checks failed"


def test_a_key_with_a_typing_error(doctor, monkeypatch):
    """A key that no HTTP header can contain is reported and not sent."""
    monkeypatch.setenv("CEKAT_API_KEY", f"{KEY}\n")
    found = doctor()

    assert found.ended.code == ExitCode.USAGE
    assert found.failed[0][0] == "key"
    assert "copy only the key itself" in found.texts["key"]


def test_a_key_file_that_others_may_read(doctor, tmp_path):
    """The line about the key file has the command that makes it private."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o644)
    found = doctor("--api-key-file", "key")

    assert found.ended.code == ExitCode.USAGE
    assert found.failed == [("key", "other users can read the key in key: run chmod 600 key")]


@pytest.mark.parametrize(
    "status, says",
    [(401, "check the key in CEKAT_API_KEY"), (403, "use a key that may read this")],
)
def test_a_refused_key(doctor, served, status, says):
    """If the server refuses the key, the key's source is shown, and the TCP check passes."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.status(status))
        found = doctor()

    assert found.ended.code == ExitCode.KEY_REFUSED
    assert [topic for topic, _ in found.failed] == ["access"]
    assert found.texts["access"].endswith(f": {says}")
    assert found.mark("key", "TCP", "quota", "page", "clock") == "✓✓···"


def test_the_wrong_key(doctor, served, monkeypatch):
    """A key that the server does not know makes the access check fail."""
    with served(5):
        monkeypatch.setenv("CEKAT_API_KEY", KEY)
        found = doctor()

    assert found.ended.code == ExitCode.KEY_REFUSED
    assert found.failed[0][0] == "access"


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize("arguments", [(), ("-v",), ("--log-format", "json")])
def test_a_server_that_repeats_the_key(cekat, served, status, arguments):
    """The key is not printed, even if the server returns it in headers, fields and messages."""
    body = b'{"success":false,"error":{"code":"X","message":"no %s here"}}'
    if status == 200:
        body = b'{"data":[{"id":"1","%s":1,"labels":"%s"}]}'
    headers = dict.fromkeys(("X-RateLimit-Limit", "X-RateLimit-Policy", "X-Request-Id"), KEY)
    with served(5, api_key=KEY) as sandbox:
        echo = body.replace(b"%s", KEY.encode())
        sandbox.fail_next(Fault.raw(status, body=echo, headers=headers))
        ended = cekat("doctor", *arguments)

    assert KEY not in ended.err
    assert KEY.encode() not in ended.out


# The network


def test_a_wrong_url(doctor, monkeypatch):
    """An unusable base URL is reported at the host check, and nothing is sent."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    found = doctor("--base-url", "example.com")

    assert found.ended.code == ExitCode.USAGE
    assert [topic for topic, _ in found.failed] == ["host"]
    assert found.mark("key", *SERVER) == "✓" + "·" * 8


def test_an_unknown_host(doctor, monkeypatch):
    """An unknown host makes the DNS check fail."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    found = doctor("--base-url", "https://nowhere.invalid")

    assert found.ended.code == ExitCode.NOT_REACHED
    assert [topic for topic, _ in found.failed] == ["DNS"]
    assert "there is no host named 'nowhere.invalid'. Check" in found.texts["DNS"]
    assert found.mark("proxy", "TCP", "TLS", "access", "page") == "✓····"


def test_a_host_that_is_known(doctor, served):
    """A host's addresses are shown, because they may belong to the wrong network."""
    with served(5, api_key=KEY) as sandbox:
        port = sandbox.base_url.rpartition(":")[2]
        found = doctor("--base-url", f"http://localhost:{port}")

    assert found.ended.code == ExitCode.DONE
    assert found.marks["DNS"] == "✓"
    assert "localhost is " in found.texts["DNS"]
    assert "127.0.0.1" in found.texts["DNS"]
    assert found.texts["TCP"] == f"connected to port {port}"


def test_many_addresses(doctor, served, monkeypatch):
    """If a host has many addresses, two are shown and the others are counted."""
    resolve = asyncio.BaseEventLoop.getaddrinfo

    async def many(self, host, port, **options):
        found = await resolve(self, host, port, **options)
        return found + [(*found[0][:4], (f"10.0.0.{number}", port)) for number in range(3)]

    with served(5, api_key=KEY) as sandbox:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", many)
        found = doctor("--base-url", sandbox.base_url.replace("127.0.0.1", "localhost"))

    assert re.search(r"localhost is \S+, \S+ and \d more$", found.texts["DNS"])


def test_a_host_that_cannot_be_looked_up_again(doctor, served, monkeypatch):
    """The check passes even if the second look-up fails, which only displays the addresses."""
    failing = []
    resolve = asyncio.BaseEventLoop.getaddrinfo

    async def fail_later(self, host, port, **options):
        if failing:
            raise OSError
        failing.append(host)
        return await resolve(self, host, port, **options)

    with served(5, api_key=KEY) as sandbox:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", fail_later)
        found = doctor("--base-url", sandbox.base_url.replace("127.0.0.1", "localhost"))

    assert found.ended.code == ExitCode.DONE
    assert found.texts["DNS"] == "localhost was found"


def test_a_refused_connection(doctor, monkeypatch):
    """A port without a server makes the TCP check fail, without retries."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    found = doctor("--base-url", "http://127.0.0.1:9")

    assert found.ended.code == ExitCode.NOT_REACHED
    assert [topic for topic, _ in found.failed] == ["TCP"]
    assert found.texts["TCP"].endswith("check the network and the base URL")
    assert "attempts" not in found.texts["TCP"]


@pytest.mark.parametrize("typed, requests", [((), 1), (("--attempts", "3"), 3)])
def test_a_diagnosis_retries_only_if_told_to(doctor, served, typed, requests, monkeypatch):
    """The command obeys a typed ``--attempts``, and ignores that option in the settings."""
    monkeypatch.setenv("CEKAT_ATTEMPTS", "5")
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(*[Fault.status(503, body="html")] * 9)
        found = doctor(*typed)

        assert len(sandbox.log.requests) == requests
    assert found.ended.code == ExitCode.API_FAILED
    assert [topic for topic, _ in found.failed] == ["page"]
    assert found.texts["page"].endswith("try again later")


@pytest.mark.parametrize(
    "host, lifetime, clock",
    [
        ("127.0.0.1", None, False),
        ("127.0.0.1", (-20, -10), True),
        ("127.0.0.1", (10, 20), True),
    ],
)
def test_a_certificate_that_is_not_trusted(doctor, monkeypatch, host, lifetime, clock, tmp_path):
    """A rejected certificate makes the TLS check fail.

    If the certificate is expired, the clock is named as a possible cause.
    """
    from support.tls import AUTHORITY  # noqa: PLC0415 - one authority for all tests

    certificate = {}
    if lifetime:
        now = datetime.now(UTC)
        before, after = (now + timedelta(days=days) for days in lifetime)
        certificate = {"not_before": before, "not_after": after}
        AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    with tls_server(server_context(host, **certificate)) as server:
        trust = ssl.create_default_context()
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trust)
        found = doctor("--base-url", server.base_url)

    assert found.ended.code == ExitCode.NOT_REACHED
    assert [topic for topic, _ in found.failed] == ["TLS"]
    assert found.mark("TCP", "access", "page") == "✓··"
    assert ("clock as well" in found.texts["TLS"]) is clock
    # The advice is for the command line, where no session can be passed.
    assert "set SSL_CERT_FILE to its certificate file" in found.texts["TLS"]
    assert "session=" not in found.texts["TLS"]


def test_a_trusted_certificate(doctor, monkeypatch):
    """A trusted certificate has a line of its own."""
    from support.tls import client_context  # noqa: PLC0415

    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", client_context())
    with tls_server(server_context()) as server:
        found = doctor("--base-url", server.base_url)

    assert found.failed == []
    assert found.texts["TLS"] == "the server's certificate is trusted"
    assert found.texts["page"].startswith("0 conversations decoded")


def test_a_server_that_hangs_up(doctor, served):
    """A server that closes the connection without a reply makes the page check fail."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.drop())
        found = doctor()

    assert found.ended.code == ExitCode.NOT_REACHED
    assert [topic for topic, _ in found.failed] == ["page"]
    assert found.marks["TCP"] == "✓"


# Proxies


@pytest.mark.parametrize("status", [407, 403])
def test_a_proxy_that_refuses(doctor, monkeypatch, status):
    """A proxy that asks for a password makes the proxy check fail.

    A configured password is never shown.
    """
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    with raw(http(b"", status)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:S3cret@127.0.0.1:{proxy.port}")
        found = doctor("--base-url", "https://api.cekat.test")

    assert found.ended.code == ExitCode.NOT_REACHED
    assert [topic for topic, _ in found.failed] == ["proxy"]
    assert f"{status}" in found.texts["proxy"]
    assert found.texts["proxy"].count("Check the proxy's address, user and password") == 1
    assert "S3cret" not in found.ended.out.decode() + found.ended.err
    assert found.mark("DNS", "TCP", "TLS", "access") == "····"


def test_a_proxy_that_is_not_there(doctor, monkeypatch):
    """If the proxy is unreachable, the proxy check fails instead of the host check."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    found = doctor("--base-url", "https://api.cekat.test")

    assert found.ended.code == ExitCode.NOT_REACHED
    assert [topic for topic, _ in found.failed] == ["proxy"]
    says = "check the proxy in the environment, and the network"
    assert found.texts["proxy"].endswith(says)


def test_a_proxy_with_an_address_of_ipv6(doctor, monkeypatch):
    """An IPv6 address is shown in brackets, so that its port is recognizable."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:S3cret@[::1]:9")
    found = doctor("--base-url", "https://api.cekat.test")

    assert [topic for topic, _ in found.failed] == ["proxy"]
    assert "the proxy [::1]:9 cannot be reached" in found.texts["proxy"]


def test_a_proxy_that_is_none(doctor, monkeypatch):
    """An invalid proxy URL is reported without its password."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "ftp://ada:S3cret@h:1")
    found = doctor("--base-url", "https://api.cekat.test")

    assert found.ended.code == ExitCode.USAGE
    assert [topic for topic, _ in found.failed] == ["proxy"]
    assert "S3cret" not in found.ended.out.decode()


def test_a_proxy_that_works(doctor, monkeypatch):
    """If a proxy is used, the output names it, and the proxy resolves the host."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    with raw(http(b'{"data":[{"id":"1"}]}')) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://ada:S3cret@127.0.0.1:{proxy.port}")
        found = doctor("--base-url", "http://api.cekat.test", "--allow-http")

    assert found.ended.code == ExitCode.DONE
    assert found.texts["proxy"] == f"{proxy.base_url}, from HTTP_PROXY"
    assert found.mark("DNS", "TCP", "access") == "·✓✓"


def test_a_proxy_that_is_not_for_this_host(doctor, served, monkeypatch):
    """If the environment's proxy is not used, the proxy line says why."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with served(5, api_key=KEY):
        found = doctor()

    assert found.ended.code == ExitCode.DONE
    assert found.texts["proxy"].startswith("none: HTTP_PROXY is not used for this host (NO_PROXY")


# Quota


@pytest.mark.parametrize(
    "options, typed, says",
    [
        ({"quota": Quota(120)}, (), "120/min, stated, 119 left (x-ratelimit-limit: 120, x-ratel"),
        ({"quota": None}, (), "300/min, documented (the server states none)"),
        ({"quota": None}, ("--rate-limit", "150/60"), "150/min, configured"),
        (
            {"quota": None},
            ("--rate-limit", "off"),
            "requests are not paced, because of --rate-limi",
        ),
    ],
)
def test_the_quota(doctor, served, options, typed, says):
    """The quota line shows the limit that commands obey, its source, and the server's limit."""
    with served(5, api_key=KEY, **options):
        found = doctor(*typed)

    assert found.ended.code == ExitCode.DONE
    assert found.texts["quota"].startswith(says)


@pytest.mark.parametrize(
    "headers, says",
    [
        ({"Retry-After": "30"}, r": try again at [-\d: ]+ UTC \(in 30 s\), or send fewer"),
        ({"Retry-After": "3600"}, r": try again at [-\d: ]+ UTC \(in 1 h\), or pass --wait$"),
        ({}, ": try again later, or send fewer requests with --rate-limit$"),
    ],
)
def test_a_used_up_quota(doctor, served, headers, says):
    """A 429 is reported with the time to wait."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.status(429, headers=headers))
        found = doctor()

    assert found.ended.code == ExitCode.QUOTA_SPENT
    assert [topic for topic, _ in found.failed] == ["quota"]
    assert re.search(says, found.texts["quota"])
    assert found.mark("TCP", "access", "page") == "✓··"


def test_a_used_up_day(doctor, served):
    """A used-up daily quota is reported with the time at which it resets."""
    with served(5, api_key=KEY, quota=Quota(per_day=1)):
        first, second = doctor(), doctor()

    assert first.ended.code == ExitCode.DONE
    assert second.ended.code == ExitCode.QUOTA_SPENT
    assert re.search(r"try again at .* UTC \(in 2[34] h", second.texts["quota"])


# The page


def test_a_page_of_a_gateway(doctor, served):
    """An HTML page instead of JSON makes the page check fail."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.raw(body=b"<html><title>Sign in to the Wi-Fi</title></html>"))
        found = doctor()

    assert found.ended.code == ExitCode.API_FAILED
    assert [topic for topic, _ in found.failed] == ["page"]
    assert found.mark("TCP", "access") == "✓·"


def test_a_malformed_record(doctor, served):
    """A malformed record makes the page check fail, and facts about the other records are shown."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[17]}'))
        found = doctor()

    assert found.ended.code == ExitCode.API_FAILED
    assert found.texts["page"].startswith("a record without an id is malformed at $")
    assert found.marks["access"] == "✓"


def test_fields_that_are_not_as_documented(doctor, served):
    """Unknown and mistyped fields are named, but the check passes."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[{"id":"1","x_sla":3,"labels":"none"}]}'))
        found = doctor()

    assert found.ended.code == ExitCode.DONE
    assert "; unknown fields: x_sla; mistyped fields: labels; no malformed" in found.texts["page"]


def test_texts_of_the_server_are_shown_safely(doctor, served):
    """Names and messages from the server are printed on one line without control characters."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[{"id":"1","\\u001b[31mred\\nline":3}]}'))
        found = doctor()

    assert "unknown fields: [31mred line;" in found.texts["page"]
    assert b"\x1b" not in found.ended.out


# The clock


def dated(seconds):
    """Return a page from a server whose clock is ahead by some seconds."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return Fault.raw(body=b'{"data":[{"id":"1"}]}', headers={"Date": date})


@pytest.mark.parametrize("seconds", [-3, 0, 3])
def test_a_clock_that_is_right(doctor, served, seconds):
    """A small difference is accepted: headers have whole seconds, and replies take time."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(dated(seconds))
        found = doctor()

    assert found.ended.code == ExitCode.DONE
    assert found.texts["clock"] == "within 5 s of the server's"


@pytest.mark.parametrize(
    "seconds, says",
    [
        (3600, "this machine's is 1 h behind the server's: synchronize it"),
        (-86_400, "this machine's is 24 h( 1 min)? ahead of the server's: synchronize it"),
        (-30, "this machine's is 3[01] s ahead of the server's: synchronize it"),
    ],
)
def test_a_clock_that_is_wrong(doctor, served, seconds, says):
    """A wrong clock is reported with the difference, the direction and the remedy."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(dated(seconds))
        found = doctor()

    assert found.ended.code == ExitCode.USAGE
    assert [topic for topic, _ in found.failed] == ["clock"]
    assert re.match(says, found.texts["clock"])
    assert found.texts["clock"].endswith(", for example with NTP")


@pytest.mark.parametrize("headers", [{"Date": "yesterday"}, {"Date": "0"}])
def test_a_server_without_a_readable_clock(doctor, served, headers):
    """Without a readable date, the clock is not checked."""
    with served(5, api_key=KEY) as sandbox:
        sandbox.fail_next(Fault.raw(body=b'{"data":[{"id":"1"}]}', headers=headers))
        found = doctor()

    assert found.ended.code == ExitCode.DONE
    assert (found.marks["clock"], found.texts["clock"]) == (
        "·",
        "not checked: the server does not send its time",
    )


# The settings, the extras, the terminal


def test_the_settings_are_named(doctor, tmp_path):
    """The settings line names the file and the profile in use."""
    (tmp_path / "cekat.toml").write_text("[profiles.acme]\nattempts = 2\n")

    assert doctor("--sandbox").texts["settings"] == "cekat.toml, no profile"
    assert doctor("--sandbox", "--profile", "acme").texts["settings"] == "cekat.toml, profile acme"


def test_a_setting_that_is_wrong_ends_a_diagnosis(cekat, tmp_path):
    """A wrong setting ends the command with the same message as in other commands."""
    (tmp_path / "cekat.toml").write_text("atempts = 2\n")
    ended = cekat("doctor", "--sandbox")

    assert ended.code == ExitCode.USAGE
    assert "did you mean attempts?" in ended.complaint


def test_extras_are_listed_with_their_command(doctor, monkeypatch):
    """Each extra is listed with its versions or its install command.

    A missing extra is no failure.
    """
    version = metadata.version

    def without_zstandard(name):
        if name == "zstandard":
            raise metadata.PackageNotFoundError
        return version(name)

    monkeypatch.setattr(metadata, "version", without_zstandard)
    found = doctor("--sandbox")

    assert found.ended.code == ExitCode.DONE
    assert ("·", "zstd (.jsonl.zst) is not installed: pip install 'cekat-async[zstd]'") in (
        found.extras
    )
    assert ("✓", f"parquet (.parquet): pyarrow {version('pyarrow')}") in found.extras


def test_every_extra_for_users_is_listed_with_its_purpose():
    """The line about an extra says what the extra is for."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    named = {*project["project"]["optional-dependencies"]} - extras._OTHERS

    assert named <= set(extras._PURPOSES)


@pytest.mark.parametrize("platform, library", [("linux", "uvloop"), ("win32", "winloop")])
def test_extras_are_those_of_this_system(monkeypatch, platform, library):
    """A library for another operating system is not suggested."""
    monkeypatch.setattr("sys.platform", platform)
    found = extras._group(
        [
            "aiohttp>=3.14",
            "uvloop>=0.21; (sys_platform != 'win32' and x == 'y') and extra == 'uvloop'",
            'winloop>=0.1; (sys_platform == "win32") and extra == "uvloop"',
            "psycopg[binary]>=3.2.1; extra == 'postgres'",
            "pytest; extra == 'test'",
        ]
    )

    assert found == {"uvloop": [library], "postgres": ["psycopg"]}


def test_a_package_that_is_not_installed(monkeypatch):
    """In a source tree without an installation, no extras are listed."""

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    (finding,) = extras.list_extras()

    assert finding.text == "unknown: cekat-async is not installed, only imported"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_marks_on_a_terminal_that_lacks_them(ran, encoding):
    """If the marks cannot be printed, ASCII is used."""
    ended = ran("doctor", env={"PYTHONIOENCODING": encoding})
    lines = ended.out.decode("ascii").splitlines()

    assert ended.code == ExitCode.USAGE
    assert {line[:3] for line in lines} == {"ok ", "!! ", "-- "}


@pytest.mark.skipif(os.name != "posix", reason="a terminal as POSIX has it")
def test_a_diagnosis_fits_a_terminal(served, monkeypatch):
    """On a terminal, long lines are wrapped and indented. The key is not printed."""
    pytest.importorskip("fcntl")
    from support.terminal import Terminal  # noqa: PLC0415 - only where there are terminals

    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    terminal = Terminal("doctor", "--base-url", "https://nowhere.invalid")
    code, text = terminal.end()
    lines = text.replace("\r", "\n").splitlines()

    assert code == ExitCode.NOT_REACHED
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" " * 12 + "'nowhere") for line in lines)
    assert KEY not in text
    assert b"asking the server" in terminal.seen
