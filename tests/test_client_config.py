"""All options of a client: refused values, and secrecy of the key."""

import copy
import json
import pickle
import string
import traceback
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.effort import EFFORT

from cekat_async._request.client_config import ClientConfig, build_client_config
from cekat_async.config import DEFAULT_BASE_URL, RetryPolicy, Timeout
from cekat_async.errors import ConfigurationError
from cekat_async.redaction import Secret

KEY = "sk-hush-4711"


def config(**options) -> ClientConfig:
    defaults = {
        "api_key": KEY,
        "base_url": None,
        "environ": {},
        "retry": RetryPolicy(),
        "timeout": Timeout(),
        "concurrency": 8,
        "max_page_bytes": 8 * 1024 * 1024,
        "trust_env": False,
        "allow_http": False,
    }
    return build_client_config(**{**defaults, **options})


def refused(**options) -> str:
    """Return everything that a person or a log sees when an option is refused."""
    with pytest.raises(ConfigurationError) as caught:
        config(**options)
    return "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)


@pytest.mark.parametrize(
    "options,words",
    [
        ({"retry": None}, "retry must be a RetryPolicy, not None"),
        ({"retry": 3}, "retry must be a RetryPolicy, not 3"),
        ({"timeout": 30}, "timeout must be a Timeout, not 30"),
        ({"trust_env": "no"}, "trust_env must be True or False, not 'no'"),
        ({"allow_http": "false"}, "allow_http must be True or False, not 'false'"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, not 0"),
        ({"max_page_bytes": 2.5}, "max_page_bytes must be a whole number of at least 1, not 2.5"),
    ],
)
def test_options_of_the_wrong_kind(options: dict, words: str) -> None:
    """An option of a wrong type is refused, and the error names the expected type."""
    assert words in refused(**options)


def test_all_options_are_stored() -> None:
    """The config has every option that was passed."""
    made = config(
        base_url="https://gw.example/cekat/",
        retry=RetryPolicy(attempts=1),
        timeout=Timeout(deadline=None),
        concurrency=3,
        max_page_bytes=1_000_000,
        trust_env=True,
    )

    assert made.api_key.reveal() == KEY
    assert made.base_url == "https://gw.example/cekat"
    assert made.retry == RetryPolicy(attempts=1)
    assert made.timeout == Timeout(deadline=None)
    assert made.concurrency == 3
    assert made.max_page_bytes == 1_000_000
    assert made.trust_env is True


# --- the key


def test_no_key() -> None:
    """If there is no key, the error names the argument and the environment variable."""
    assert "pass api_key=… or set CEKAT_API_KEY" in refused(api_key=None)


def test_key_from_the_environment() -> None:
    """If no key is passed, it is read from CEKAT_API_KEY."""
    environ = {"CEKAT_API_KEY": "from-env"}

    assert config(api_key=None, environ=environ).api_key.reveal() == "from-env"
    assert config(api_key=KEY, environ=environ).api_key.reveal() == KEY


@pytest.mark.parametrize("key", ["", " ", "\t \n", "\u00a0"])
def test_empty_key(key: str) -> None:
    """An empty or blank key is refused, both as an argument and in the environment."""
    assert "the API key is empty" in refused(api_key=key)
    assert "the API key is empty" in refused(api_key=None, environ={"CEKAT_API_KEY": key})
    assert "the API key is empty" in refused(api_key=key, environ={"CEKAT_API_KEY": KEY})


@pytest.mark.parametrize(
    "around",
    [
        "{}\n",
        "\n{}",
        "{}\r\n",
        "x\r\nHost: evil.example\r\n{}",
        " {}",
        "{} ",
        "\t{}",
        "{}\x00",
        "{}\x7f",
        "{}\u2028",
        "\ufeff{}",
        "“{}”",
        "{}é",
        "{}\ud83d",
    ],
)
def test_key_that_no_header_can_carry(around: str) -> None:
    """A key that no header can carry is refused, and the error does not show the key."""
    said = refused(api_key=around.format(KEY))

    assert "copy only the key itself" in said
    assert KEY not in said
    assert KEY[3:] not in said


@pytest.mark.parametrize("key", [KEY.encode(), 4711, ["sk"], Secret(KEY), False])
def test_key_that_is_no_text(key: object) -> None:
    """A key that is not a string is refused, and the error names the key's type."""
    said = refused(api_key=key)

    assert f"must be text, not {type(key).__name__}" in said
    assert "4711" not in said


def test_key_is_taken_as_it_is() -> None:
    """The key is opaque: any printable ASCII is accepted unchanged."""
    key = string.ascii_letters + string.digits + string.punctuation

    assert config(api_key=key).api_key.reveal() == key


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "%s".__mod__,
        "%r".__mod__,
        lambda config: f"{config!s} {config!r} {config!a}",
        lambda config: repr([config, {"key": config}]),
        lambda config: repr(copy.copy(config)),
    ],
)
def test_config_never_shows_the_key(show) -> None:
    """A config or a secret never shows the key, no matter how it is printed."""
    made = config()

    assert KEY not in show(made)
    assert "'***'" in show(made)


@pytest.mark.parametrize(
    "leave",
    [
        pickle.dumps,
        lambda value: pickle.dumps(value, 0),
        copy.deepcopy,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        json.dumps,
    ],
)
@pytest.mark.parametrize("make", [lambda: Secret(KEY), config], ids=["secret", "config"])
def test_secret_does_not_leave_the_process(leave, make) -> None:
    """A secret cannot be pickled, deep-copied or encoded, alone or in a config."""
    with pytest.raises(TypeError) as caught:
        leave(make())

    assert KEY not in str(caught.value)


# --- the base URL


@pytest.mark.parametrize(
    "given_url,url",
    [
        (None, "https://api.cekat.ai"),
        ("https://api.cekat.ai", "https://api.cekat.ai"),
        ("https://api.cekat.ai/", "https://api.cekat.ai"),
        ("https://api.cekat.ai///", "https://api.cekat.ai"),
        (" https://api.cekat.ai\n", "https://api.cekat.ai"),
        ("HTTPS://API.CEKAT.AI", "https://API.CEKAT.AI"),
        ("https://api.cekat.ai:8443", "https://api.cekat.ai:8443"),
        ("https://gw.example/cekat", "https://gw.example/cekat"),
        ("https://gw.example/cekat/v1/", "https://gw.example/cekat/v1"),
        ("https://gw.example/api/cekat", "https://gw.example/api/cekat"),
        ("https://gw.example/api2", "https://gw.example/api2"),
        ("https://gw.example/myapi", "https://gw.example/myapi"),
        ("https://gw.example/caf%C3%A9", "https://gw.example/caf%C3%A9"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443/x"),
    ],
)
def test_base_url(given_url: str | None, url: str) -> None:
    """A base URL has a scheme, a host and optionally a path prefix. A final slash is removed."""
    assert url == config(base_url=given_url).base_url


LOOPBACK = """
    http://localhost  http://localhost:8080  http://LocalHost:8080  http://127.0.0.1:1
    http://127.0.0.2  http://127.255.255.254:65535  http://[::1]  http://[::1]:8080
"""


@pytest.mark.parametrize("url", LOOPBACK.split())
def test_plain_http_to_loopback(url: str) -> None:
    """Plain HTTP to this machine is accepted."""
    assert url == config(base_url=url).base_url


ELSEWHERE = """
    http://api.cekat.ai  http://10.0.0.1  http://128.0.0.1  http://0.0.0.0:8080
    http://[2001:db8::1]  http://127.0.0.1.evil.example  http://localhost.evil.example
"""


@pytest.mark.parametrize("url", ELSEWHERE.split())
def test_plain_http_to_others(url: str) -> None:
    """Plain HTTP to another machine is refused, unless ``allow_http`` is given."""
    assert "would send the key unencrypted" in refused(base_url=url)
    assert url == config(base_url=url, allow_http=True).base_url


BAD_HOSTS = f"""
    127.1  1.2.3  1.2.3.4.5  256.1.1.1  01.2.3.4  127.0.0.01  2130706433  0x7f.1  0x7f000001
    0X7F.0.0.1  api.cekat.123  api..cekat.test  .cekat.test  api.cekat.test..  -api.cekat.test
    api-.cekat.test  *  *.cekat.test  a,b  %31  api%20cekat.test  [::1::1]
    {"a" * 64}.test  {".".join(["a" * 50] * 6)}
"""
GOOD_HOSTS = f"""
    api.cekat.ai  api.cekat.ai.  localhost  my_gateway  a1.b2-c3.test  xn--bcher-kva.example
    1and1.example  127.0.0.1  [2001:db8::1]  {".".join(["a" * 63] * 3)}
"""


@pytest.mark.parametrize("host", BAD_HOSTS.split())
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_host_that_is_none(scheme: str, host: str) -> None:
    """A host is refused if it is invalid, or if it is an unusual form of an IP address."""
    said = refused(base_url=f"{scheme}://{host}:8080/api", allow_http=True)

    assert "has no valid host" in said or "is not a URL" in said


@pytest.mark.parametrize("host", GOOD_HOSTS.split())
def test_a_host_that_is_one(host: str) -> None:
    """Host names of all kinds and complete IP addresses are accepted."""
    assert config(base_url=f"https://{host}").base_url == f"https://{host}"


# These URLs have no scheme, no host, a bad port, or a bad IP address.
NO_URLS = """
    api.cekat.ai  //api.cekat.ai  /api  ftp://api.cekat.ai  file:///etc/passwd  localhost:8080
    https:  https://  https:///path  https://:443  https:api.cekat.ai  https://api.cekat.ai:0
    https://api.cekat.ai:99999  https://api.cekat.ai:-1  https://api.cekat.ai:https
    https://[::1  https://::1]  https://[not-an-address]
"""


@pytest.mark.parametrize("url", [*NO_URLS.split(), "https://api.cekat.ai:44 3"])
def test_base_url_that_is_none(url: str) -> None:
    """A base URL needs a scheme (HTTP or HTTPS), a host and a valid port. The error shows a URL."""
    assert "write it as 'https://api.cekat.ai'" in refused(base_url=url)


OWN_PATHS = """
    https://api.cekat.ai/api  https://api.cekat.ai/api/  https://api.cekat.ai/api/conversations
    https://api.cekat.ai/api/conversations/  https://api.cekat.ai//api//conversations
    https://api.cekat.ai/api/inboxes  https://gw.example/cekat/api
    https://gw.example/cekat/api/conversations/more
"""


@pytest.mark.parametrize("url", OWN_PATHS.split())
def test_base_url_with_the_apis_own_path(url: str) -> None:
    """A base URL with the API's own path is refused, and the error names the part to remove."""
    assert "remove '/api' and everything after it" in refused(base_url=url)


USER_INFO = """
    https://user:hunter2@api.cekat.ai  https://hunter2@api.cekat.ai  https://:hunter2@api.cekat.ai
    https://@hunter2.example  https://user:hunter2@api.cekat.ai:99999
    https://user:hunter2@api.cekat.ai?x  ftp://user:hunter2@api.cekat.ai
    user:hunter2@api.cekat.ai  https://user:hunter2@bücher.example
"""


@pytest.mark.parametrize("url", [*USER_INFO.split(), "https://user:hunter2@a b"])
def test_base_url_with_user_info(url: str) -> None:
    """A base URL with a user or a password is refused, and the error does not show them."""
    said = refused(base_url=url)

    assert "must not contain a user name, a password" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("tail", ["?limit=5", "?", "#top", "#", "/?a", "/x#y", "?a#b"])
def test_base_url_with_query_or_fragment(tail: str) -> None:
    """A base URL with a query or a fragment is refused, so that neither is silently ignored."""
    assert "must not contain a query or fragment" in refused(base_url=DEFAULT_BASE_URL + tail)


@pytest.mark.parametrize("url", ["", " ", "\n", 0, False, b"https://api.cekat.ai", ["https://a"]])
def test_an_empty_base_url(url: object) -> None:
    """A base URL that is empty or of a wrong type is refused, and not replaced with the default."""
    assert "base_url must be text that is not blank" in refused(base_url=url)


@pytest.mark.parametrize(
    "path", ["/a b", "/\r\nHost:x", "/\x00", "\t.x", " x", "\u200b.x", "\u00a0.x"]
)
def test_base_url_with_blanks(path: str) -> None:
    """A base URL with spaces or control characters is refused instead of being cleaned."""
    assert "contains a blank or a control character" in refused(base_url=f"https://api{path}")


@pytest.mark.parametrize(
    "url",
    ["https://bücher.example", "https://api。cekat.ai", "https://gw.example/café", "https://a℀b"],
)
def test_base_url_that_is_not_ascii(url: str) -> None:
    """A URL must be ASCII, because there are several ways to convert an international host name."""
    assert "write its host as xn--… and its path as %…" in refused(base_url=url)


def test_base_url_from_the_environment() -> None:
    """If no base URL is passed, it is read from CEKAT_BASE_URL. An empty variable is ignored."""
    environ = {"CEKAT_BASE_URL": "https://gw.example/"}

    assert config(environ=environ).base_url == "https://gw.example"
    assert config(environ=environ, base_url="https://b.example").base_url == "https://b.example"
    assert config(environ={"CEKAT_BASE_URL": ""}).base_url == DEFAULT_BASE_URL


def test_base_url_from_the_environment_is_checked() -> None:
    """A bad base URL in the environment is refused, like a bad argument."""
    assert "unencrypted" in refused(environ={"CEKAT_BASE_URL": "http://api.cekat.ai"})


@given(
    text=st.one_of(
        st.text(),
        st.text(alphabet="htps:/[]@?#.%\\:0aA1 \tÜ", max_size=12).map("https://".__add__),
        st.text(alphabet="htps:/[]@?#.%\\:0aA1 \tÜ", max_size=12).map("http://localhost".__add__),
    )
)
@settings(max_examples=80 * EFFORT)
def test_any_base_url(text: str) -> None:
    """Any text is either accepted as a safe base URL, or refused with a ConfigurationError."""
    try:
        url = config(base_url=text).base_url
    except ConfigurationError:
        return
    parts = urlsplit(url)

    assert url.isascii()
    assert url.isprintable()
    assert parts.hostname
    assert parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"}
    assert (parts.username, parts.password, parts.query, parts.fragment) == (None, None, "", "")
    assert not url.endswith("/")
    assert url == config(base_url=url).base_url


@given(key=st.one_of(st.text(), st.binary(), st.integers()))
@settings(max_examples=60 * EFFORT)
def test_any_key(key: object) -> None:
    """Any value is accepted if a header can carry it. If not, it is refused and not shown."""
    try:
        made = config(api_key=key).api_key.reveal()
    except ConfigurationError as error:
        # The error's message may contain a short key by chance.
        assert len(str(key)) < 12 or str(key) not in str(error)  # noqa: PT017 - both are right
    else:
        assert key == made
        assert made.isascii()
        assert made.isprintable()
        assert made == made.strip() != ""
