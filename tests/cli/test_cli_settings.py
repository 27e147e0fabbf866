"""Settings from options, the environment and a file with profiles, and the source of the key."""

import json
import os

import pytest

from cekat_async.cli import ExitCode
from cekat_async.cli.paths import get_checkpoint_path

KEY = "sk-0f3d-very-distinctive-9c71"
posix = pytest.mark.skipif(os.name != "posix", reason="modes as POSIX has them")


@pytest.fixture
def settings(tmp_path):
    """A function that writes the settings file of the current folder."""

    def settings(text, name="cekat.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return settings


@pytest.fixture
def key_file(tmp_path):
    """A function that writes a key into a file."""

    def key_file(key, mode=0o600, name="key"):
        path = tmp_path / name
        path.write_bytes(key.encode() + b"\n")
        path.chmod(mode)
        return path

    return key_file


@pytest.mark.parametrize(
    "option, variable, profile, wins",
    [("3", "4", 5, 3), (None, "4", 5, 4), (None, None, 5, 5), (None, None, None, 6)],
)
def test_precedence_of_sources(
    cekat, clients, monkeypatch, settings, option, variable, profile, wins
):
    """Options override the environment, then the profile, then the file's defaults."""
    own = "" if profile is None else f"attempts = {profile}"
    settings(f"attempts = 6\n[profiles.acme]\n{own}\n")
    if variable:
        monkeypatch.setenv("CEKAT_ATTEMPTS", variable)
    typed = ["--attempts", option] if option else []
    ended = cekat("inboxes", "--sandbox", "--profile", "acme", *typed)

    assert ended.code == 0
    ((_, options),) = clients
    assert options["retry"].attempts == wins


def test_the_file_can_have_a_whole_export(cekat, served, clients, settings, tmp_path):
    """With a target in the settings, ``cekat export`` needs no argument."""
    settings(
        """
        log-format = "json"
        keep_formulas = true  # which a database does not have: it is passed over
        [profiles.acme]
        target = "out.sqlite"
        account = "Acme"
        by_inbox = true
        concurrency = 3
        rate_limit = 200
        share = 0.5
        table = "talks"
        status = "resolved"
        incremental = true
        checkpoint = "elsewhere"
        """
    )
    with served(90):
        ended = cekat("export", "--profile", "acme")
    last = json.loads(ended.err.splitlines()[-1])

    assert ended.code == 0
    assert last["manifest"]["account"] == "Acme"
    assert last["manifest"]["filters"] == {
        "inbox_ids": [],
        "by_inbox": True,
        "stage_status": "resolved",
    }
    ((_, options),) = clients
    assert options["concurrency"] == 3
    assert (options["rate_limit"].requests, options["rate_limit"].share) == (200, 0.5)
    assert (tmp_path / "out.sqlite").exists()


def test_every_setting_has_a_variable(cekat, served, monkeypatch, tmp_path):
    """Each setting has a variable, named CEKAT_ plus the setting's name in capitals."""
    for name, value in {
        "TARGET": "out.csv",
        "INBOX": "a b",
        "KEEP_FORMULAS": "1",
        "LOG_FORMAT": "json",
        "CONCURRENCY": "2",
        "INCREMENTAL": "true",
    }.items():
        monkeypatch.setenv(f"CEKAT_{name}", value)
    with served(9):
        ended = cekat("export")

    assert ended.code == 0
    manifest = json.loads(ended.err.splitlines()[-1])["manifest"]
    assert manifest["filters"]["inbox_ids"] == ["a", "b"]
    assert (tmp_path / "out.csv").exists()


def test_a_sandbox_takes_nothing_of_what_is_real(cekat, settings, tmp_path):
    """The target and account of the settings do not apply to a sandbox."""
    settings('target = "real.jsonl"\naccount = "Acme"')
    refused = cekat("export", "--sandbox")
    ended = cekat("export", "x.jsonl", "--sandbox", "--sandbox-size", "9")

    assert refused.code == ExitCode.USAGE
    assert "With --sandbox, type the TARGET" in refused.complaint
    assert not (tmp_path / "real.jsonl").exists()
    assert ended.code == 0
    manifest = json.loads((tmp_path / "x.jsonl.manifest.json").read_bytes())
    assert manifest["account"] == "sandbox of 9"


@pytest.mark.parametrize(
    "typed, inboxes, by_inbox",
    [((), [], True), (("--inbox", "a"), ["a"], False), (("--no-by-inbox",), [], False)],
)
def test_what_is_typed_sets_the_other_filter_aside(cekat, settings, typed, inboxes, by_inbox):
    """``--inbox`` and ``--by-inbox`` exclude each other, and a typed option overrides a setting."""
    settings("by-inbox = true")
    ended = cekat("export", "x.jsonl", "--sandbox", "--sandbox-size", "9", *typed)

    assert ended.code == 0
    with open("x.jsonl.manifest.json") as file:  # noqa: PTH123 - in the current folder
        filters = json.load(file)["filters"]
    assert (filters["inbox_ids"], filters["by_inbox"]) == (inboxes, by_inbox)


def test_where_the_file_is_looked_for(cekat, settings, monkeypatch, clients, tmp_path_factory):
    """A settings file is looked for in order: option, variable, current folder, user's folder."""
    own = tmp_path_factory.mktemp("own")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own))
    (own / "cekat").mkdir()
    seen = []
    for attempts, place in enumerate(
        (own / "cekat" / "config.toml", "cekat.toml", "by_variable", "by_option"), 2
    ):
        settings(f"attempts = {attempts}", place)
        if place == "by_variable":
            monkeypatch.setenv("CEKAT_CONFIG", place)
        typed = ["--config", place] if place == "by_option" else []
        assert cekat("inboxes", "--sandbox", *typed).code == 0
        seen.append(clients[-1][1]["retry"].attempts)

    assert seen == [2, 3, 4, 5]


def test_the_profile_may_be_named_in_the_environment(cekat, settings, monkeypatch, clients):
    """``CEKAT_PROFILE`` selects the profile, and ``--profile`` overrides it."""
    settings("[profiles.a]\nattempts = 2\n[profiles.b]\nattempts = 3")
    monkeypatch.setenv("CEKAT_PROFILE", "a")
    cekat("inboxes", "--sandbox")
    cekat("inboxes", "--sandbox", "--profile", "b")

    assert [options["retry"].attempts for _, options in clients] == [2, 3]


def test_filters_of_the_file_are_the_exports(cekat, settings):
    """``cekat conversations`` ignores the filters of the file, which are for exports."""
    settings('inbox = ["a", "b"]\nstatus = "resolved"\ntarget = "x.jsonl"')
    ended = cekat("conversations", "--sandbox", "--sandbox-size", "9")

    assert ended.code == 0
    assert ended.out.count(b"\n") == 9


@pytest.mark.parametrize(
    "text, says",
    [
        ("concurency = 8", "cekat.toml: concurency: there is no such setting: did you mean concur"),
        ("colour = 'red'", "cekat.toml: colour: there is no such setting: there are account, "),
        ("concurrency = '8'", "cekat.toml: concurrency: write a whole number, as in concurrency"),
        ("concurrency = true", "cekat.toml: concurrency: write a whole number"),
        ("concurrency = 0", "cekat.toml: concurrency: 0 is not in the range"),
        ("wait = 'yes'", "cekat.toml: wait: write true or false"),
        ("target = 7", "cekat.toml: target: write a text, as in target = "),
        ("inbox = [7]", "cekat.toml: inbox: write a list of texts"),
        ("rate_limit = 'many'", "cekat.toml: rate_limit: write it like 300/60, or auto, or off"),
        ("rate_limit = [3]", "cekat.toml: rate_limit: write as in rate_limit = "),
        ("share = 2", "cekat.toml: share: write it like 0.5, a number above 0, and at most 1 (not"),
        ("share = '0.5'", "cekat.toml: share: write a number, as in share = 0.5"),
        ("share = true", "cekat.toml: share: write a number, as in share = 0.5"),
        ("log_format = 'xml'", "cekat.toml: log_format: 'xml' is not one of 'text', 'json'"),
        ("target", "cekat.toml is not TOML: "),
        ("\\xff", "cekat.toml is not TOML: "),
        ("profiles = 3", "cekat.toml: profiles: write each as a table, [profiles.NAME]"),
        ("[profiles]\na = 3", "cekat.toml: profiles: write each as a table, [profiles.NAME]"),
        ("[profiles.a]\nx = 3", "cekat.toml: a: x: there is no such setting"),
        ("api_key = 'sk-1'", "cekat.toml: api_key: this file must not contain a key. Put the"),
        ("[profiles.a]\napi-key = 's'", "cekat.toml: a: api_key: this file must not contain a key"),
        ("api_key_file='a'\napi_key_env='B'", "write either api_key_file or api_key_env, not both"),
    ],
)
def test_what_is_wrong_in_the_file_is_reported_in_one_line(cekat, settings, text, says):
    """The error names the file and the key, and says what to write.

    The command exits with code 2 before any work.
    """
    settings(text)
    ended = cekat("export", "x.jsonl", "--sandbox")

    assert ended.code == ExitCode.USAGE
    assert says in ended.complaint
    assert len(ended.err.splitlines()) == 1
    assert "sk-1" not in ended.err


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("--config", "nowhere.toml"), "cannot read nowhere.toml: No such file or directory"),
        (("--config", "."), "cannot read .: Is a directory"),
        (
            ("--profile", "acme"),
            "there is no profile 'acme', because there is no settings file: write ",
        ),
        (
            ("--config", "two.toml", "--profile", "c"),
            "two.toml has no profile 'c': there are: a, b",
        ),
    ],
)
def test_missing_settings(cekat, settings, arguments, says):
    """A settings file or profile that the user names must exist."""
    settings("[profiles.a]\n[profiles.b]", "two.toml")
    ended = cekat("inboxes", "--sandbox", *arguments)

    assert ended.code == ExitCode.USAGE
    assert ended.complaint.startswith(f"cekat: {says}")


@pytest.mark.parametrize(
    "way", ["--api-key-file", "CEKAT_API_KEY_FILE", "api_key_file", "api_key_env", "home"]
)
def test_where_the_key_may_be(cekat, served, monkeypatch, settings, key_file, clients, way):
    """An option, a variable or a profile can name the file or variable that has the key."""
    with served(5, api_key=KEY) as sandbox:
        monkeypatch.delenv("CEKAT_API_KEY")
        typed, profile = [], ""
        if way == "--api-key-file":
            typed = [way, str(key_file(KEY))]
        elif way == "CEKAT_API_KEY_FILE":
            monkeypatch.setenv(way, str(key_file(KEY)))
        elif way == "home":
            monkeypatch.setenv("HOME", os.path.dirname(key_file(KEY)))  # noqa: PTH120
            profile = 'api_key_file = "~/key"'
        elif way == "api_key_file":
            profile = f'{way} = "{key_file(KEY)}"'
        else:
            monkeypatch.setenv("ACME_KEY", KEY)
            profile = f'{way} = "ACME_KEY"'
        settings(f'api_key_file = "not this"\n[profiles.a]\n{profile}')
        ended = cekat("inboxes", "--profile", "a", *typed)

        assert (ended.code, ended.err) == (0, "")
        assert sandbox.log.requests[0].authorized


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_may_read(cekat, key_file, mode):
    """A key file that other users can read is refused, with advice."""
    path = key_file(KEY, mode)
    ended = cekat("inboxes", "--api-key-file", str(path))

    assert ended.code == ExitCode.USAGE
    assert ended.complaint == f"cekat: other users can read the key in {path}: run chmod 600 {path}"


@posix
@pytest.mark.parametrize("mode, code", [(0o400, 0), (0o440, 0), (0o444, ExitCode.USAGE)])
def test_a_credential_of_systemd_is_private(cekat, key_file, served, monkeypatch, mode, code):
    """Group rights on a systemd credential represent its access control list and are accepted."""
    with served(5) as sandbox:
        monkeypatch.delenv("CEKAT_API_KEY")
        path = key_file(sandbox.api_key, mode)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
        ended = cekat("inboxes", "--api-key-file", str(path))

    assert ended.code == code


@pytest.mark.parametrize(
    "text, environment, typed, says",
    [
        ("", {}, (), "no API key: set CEKAT_API_KEY, or use --sandbox"),
        ("", {"API_KEY": " "}, (), "the API key is empty: check the key in CEKAT_API_KEY"),
        ("", {}, ("empty",), "empty is empty: its first line must be the API key"),
        ("", {}, ("nowhere",), "cannot read the key in nowhere: No such file or directory"),
        ("", {}, ("strange",), "the API key has a line break, a blank at the start or end, or a "),
        (
            'api_key_env = "ACME_KEY"',
            {},
            (),
            "cekat.toml: api_key_env says that the key is in the variable ACME_KEY, but it is",
        ),
        (
            "",
            {"API_KEY": KEY, "API_KEY_FILE": "key"},
            (),
            "CEKAT_API_KEY and CEKAT_API_KEY_FILE are both set: unset one",
        ),
    ],
)
@pytest.mark.parametrize("command", [("export", "x.jsonl"), ("conversations",), ("inboxes",)])
def test_without_a_usable_key(
    cekat, settings, key_file, monkeypatch, command, text, environment, typed, says
):
    """Without a key, a command says where to put one.

    With two keys, it does not guess which one to use.
    """
    settings(text)
    key_file("\nsecond", name="empty")
    key_file("k\u00e9y", name="strange")
    for name, value in environment.items():
        monkeypatch.setenv(f"CEKAT_{name}", value)
    ended = cekat(*command, *(word for file in typed for word in ("--api-key-file", file)))

    assert ended.code == ExitCode.USAGE
    assert ended.complaint.startswith(f"cekat: {says}")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    "typed, profile, used",
    [
        (("--profile", "acme"), 'api_key_env = "ACME_KEY"', "acme's"),
        ((), 'api_key_env = "ACME_KEY"', "usual"),
        (("--profile", "acme"), "", "usual"),
    ],
)
def test_which_of_two_keys(cekat, served, monkeypatch, settings, clients, typed, profile, used):
    """The key in the environment overrides the file's key, but not that of a requested profile."""
    with served(5):
        settings(f'api_key_env = "DEFAULT"\n[profiles.acme]\n{profile}')
        monkeypatch.setenv("CEKAT_API_KEY", "usual")
        monkeypatch.setenv("ACME_KEY", "acme's")
        cekat("inboxes", *typed)

    assert clients[0][0] == used


def test_a_wrong_key_is_reported_for_where_it_is_from(cekat, served, key_file):
    """If the key is wrong, the error says where the key came from."""
    with served(5):
        path = key_file(KEY)
        ended = cekat("inboxes", "--api-key-file", str(path))

    assert ended.code == ExitCode.KEY_REFUSED
    assert ended.complaint.endswith(f": check the key in {path}")


def test_a_file_that_was_not_named_does_not_redirect_the_key(cekat, settings, monkeypatch):
    """A settings file can send the key to another host only if the user named that file."""
    monkeypatch.setenv("CEKAT_API_KEY", KEY)
    settings('base_url = "https://nowhere.invalid"\nattempts = 1')
    found, named = cekat("inboxes"), cekat("inboxes", "--config", "cekat.toml")

    assert found.code == ExitCode.USAGE
    assert found.complaint.endswith("pass --config cekat.toml")
    assert named.code == ExitCode.NOT_REACHED


def test_the_share_can_be_set_in_the_environment(cekat, clients, monkeypatch):
    """``CEKAT_SHARE`` sets the share of each command, and a typed ``--share`` overrides it."""
    monkeypatch.setenv("CEKAT_SHARE", "0.5")
    for typed in ((), ("--share", "1")):
        assert cekat("inboxes", "--sandbox", *typed).code == 0

    assert [options["rate_limit"].share for _, options in clients] == [0.5, 1.0]


def test_what_is_wrong_in_the_environment_is_reported_for_its_variable(cekat, monkeypatch):
    """If a variable has a wrong value, the error names the variable."""
    monkeypatch.setenv("CEKAT_CONCURRENCY", "many")
    ended = cekat("export", "x.jsonl", "--sandbox")

    assert ended.code == ExitCode.USAGE
    assert ended.complaint == "cekat: CEKAT_CONCURRENCY: 'many' is not a valid integer range."


@posix
def test_the_default_checkpoint_of_a_database(monkeypatch, tmp_path):
    """A database's checkpoint is in the user's folder, and its readable name has no password."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = get_checkpoint_path(
        "postgresql://ada@db.example:5432/crm, table public.talks", ".checkpoint"
    )
    other = get_checkpoint_path(
        "postgresql://bob@db.example:5432/crm, table public.talks", ".checkpoint"
    )

    assert path.parent == tmp_path / "state" / "cekat"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.name.startswith("db.example-5432-crm-table-public.talks-")
    assert path.name.endswith(".checkpoint")
    assert path != other


def test_a_place_that_cannot_be_made(cekat, monkeypatch, tmp_path):
    """If no folder for checkpoints can be created, the error asks for ``--checkpoint``."""
    pytest.importorskip("psycopg")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    ended = cekat("export", "postgresql://u:geheim@127.0.0.1:9/d", "--sandbox")

    assert ended.code == ExitCode.TARGET_FAILED
    assert ended.complaint.endswith("pass --checkpoint FILE")
    assert "geheim" not in ended.err
