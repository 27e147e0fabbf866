"""Text from outside is shown on one line, is printable, and does not contain the API key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.effort import calls_in

from cekat_async.redaction import Secret, one_line, quoted, readable

KEY = "sk-hush-4711"


def test_secret_shows_when_asked() -> None:
    """A secret returns its text only on an explicit call."""
    assert Secret(KEY).reveal() == KEY


@pytest.mark.parametrize("show", [repr, str, format, "{}".format, "%s".__mod__])
def test_secret_never_shows(show) -> None:
    """No way to print a secret shows it."""
    assert show(Secret(KEY)) == "'***'"


def test_secret_has_no_dict() -> None:
    """Tools that print the attributes of an object do not show the secret."""
    assert not hasattr(Secret(KEY), "__dict__")


def test_redaction() -> None:
    """If a text or a body echoes the secret, it is removed."""
    secret = Secret(KEY)

    assert secret.redact(f"a {KEY} b {KEY}".encode()) == b"a *** b ***"
    assert secret.redact_text(f"a {KEY}") == "a ***"
    assert secret.redact(b"\xff nothing") == b"\xff nothing"


@pytest.mark.parametrize(
    "echo",
    [
        "a/b+c&d==",
        r"a\/b+c&d==",
        r"a/b\u002bc\u0026d\u003d\u003D",
        "a%2Fb%2bc%26d%3D%3d",
        "a/b+c&#38;d&#x3d;&#x3D;",
    ],
    ids=["as it is", "slashes escaped", "JSON for HTML", "URL", "HTML"],
)
def test_redaction_of_escaped_echoes(echo: str) -> None:
    """A key is redacted in every escaped form in which a server may repeat it."""
    secret = Secret("a/b+c&d==")

    assert secret.redact(b'{"error":"' + echo.encode() + b'"}') == b'{"error":"***"}'
    assert secret.redact_text(f"?key={echo}.") == "?key=***."


LONG_KEY = "eyJhbGciOiJIUzI1NiJ9." + "".join(f"{n:x}_" for n in range(400))


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
        lambda key: "".join(f"%{ord(c):02X}" for c in key),
        lambda key: "".join(f"&#{ord(c)};" for c in key),
        lambda key: "".join(c if i % 3 else f"&#x{ord(c):x};" for i, c in enumerate(key)),
    ],
    ids=["plain", "JSON", "URL", "HTML", "mixed"],
)
def test_redaction_of_a_long_key(spell) -> None:
    """A key of a thousand characters is redacted completely, in every escaped form."""
    secret, echo = Secret(LONG_KEY), spell(LONG_KEY)

    assert secret.redact_text(f"a {echo}{echo} b {echo}") == "a ****** b ***"
    part = secret.redact_text(f"a {spell(LONG_KEY[:-8])}!")
    assert part == "a ***!"


@given(
    key=st.sampled_from([KEY, LONG_KEY]),
    texts=st.lists(st.binary(max_size=300) | st.just(b"x" * 900), max_size=4),
    most=st.integers(0, 3000),
)
def test_an_excerpt_never_shows_the_key(key: str, texts: list[bytes], most: int) -> None:
    """The beginning of a body has no key and no large part of a key, wherever the body is cut."""
    body = key.encode().join(texts)
    excerpt = Secret(key).excerpt(body, most)

    assert len(excerpt) <= max(most, len(body))
    half = key[: len(key) // 2].encode()
    assert half not in excerpt or half in b"".join(texts)
    if len(body) <= most:
        assert excerpt == Secret(key).redact(body)
    if len(texts) < 2 and len(body) > most:
        assert body.startswith(excerpt)


def test_redaction_of_a_key_that_is_none() -> None:
    """A key of a few letters is not redacted, because many words contain these letters."""
    assert Secret("k").redact_text("Name or service not known") == "Name or service not known"


def test_a_secret_whose_beginning_repeats_is_redacted_once():
    """A long key that repeats its own beginning is redacted completely, as a single echo."""
    key = "k3y-" * 20

    assert Secret(key).redact_text(f"a {key} b") == "a *** b"


def test_long_echoes_are_redacted_without_much_work() -> None:
    """Redacting long echoes of a long key takes a few function calls per character."""
    key = "".join(f"{10_000 + 1237 * number}" for number in range(60))
    body, secret = key[:-1].encode() * 200, Secret(key)

    assert calls_in(lambda: secret.redact(body)) < 6 * len(body)
    assert secret.redact(body) == b"***" * 200


@pytest.mark.parametrize(
    "text, shown",
    [
        ("café 😀", "café 😀"),
        ("café".encode().decode("ascii", "surrogateescape"), "café"),
        ("caf\udce9", r"caf\xe9"),
        ("half \ud83d", r"half \xed\xa0\xbd"),
        ("\udce9 and \ud83d", r"\xed\xb3\xa9 and \xed\xa0\xbd"),
    ],
)
def test_a_name_can_be_printed_whatever_its_bytes_are(text: str, shown: str) -> None:
    """Surrogates in a name become characters if their bytes are UTF-8.

    Otherwise they become escapes.
    """
    assert readable(text) == shown


@pytest.mark.parametrize(
    "text, at_most, line",
    [
        ("as it is", 8, "as it is"),
        ("one too many", 11, "one too ma…"),
        (" a\r\n\tb\x00 \u2028c ", 100, "a b c"),
        ("caf\udce9", 100, r"caf\xe9"),
        ("", 10, ""),
    ],
)
def test_one_line(text: str, at_most: int, line: str) -> None:
    """White space and control characters become single spaces, and long text is cut."""
    assert one_line(text, at_most) == line


def test_one_line_of_megabytes_takes_no_time() -> None:
    """Text is cut first and then cleaned, because cleaning megabytes would block the event loop."""
    assert calls_in(lambda: one_line("x\n" * 2_000_000, 100)) < 2_000


@pytest.mark.parametrize(
    "text, shown", [("c-1", "c-1"), ("c\n1", "of 3 characters"), ("x" * 101, "of 101 characters")]
)
def test_quoted(text: str, shown: str) -> None:
    """A short printable text is quoted completely.

    For any other text, only the length is shown.
    """
    assert quoted(text) == shown


SPELLINGS = [
    str,
    lambda c: f"%{ord(c):02x}",
    lambda c: f"%{ord(c):02X}",
    lambda c: f"\\u{ord(c):04x}",
    lambda c: f"\\{c}",
    lambda c: f"&#{ord(c)};",
    lambda c: f"&#x{ord(c):x};",
]


@given(data=st.data())
def test_an_echo_is_redacted_however_each_character_is_spelled(data) -> None:
    """The fast check finds every form of the key, plain or escaped."""
    spelled = "".join(data.draw(st.sampled_from(SPELLINGS))(c) for c in KEY)
    before, after = data.draw(st.text("ab \\%&", max_size=5)), data.draw(st.text("ab", max_size=5))

    redacted = Secret(KEY).redact_text(f"{before} {spelled} {after}")

    assert redacted == f"{before} *** {after}"
