"""The error family: its tree, what each error knows, what it says, and that it travels."""

import copy
import pickle
import re

import pytest

from cekat_async import errors
from cekat_async.errors import (
    APIStatusError,
    BadRequestError,
    CekatError,
    ConfigurationError,
    DeadlineExceededError,
    DecodeError,
    InboxesFailedError,
    MalformedRecordError,
    ServerError,
    status_error_class,
)
from cekat_async.models import Conversation, MalformedRecord
from cekat_async.pages import ConversationPage
from cekat_async.positions import Cursor

FAMILY = [getattr(errors, name) for name in errors.__all__]

ODD = MalformedRecord(
    index=7, id="c-7", field="$.labels[0].id", reason="Expected `str`", raw=b'{"id":1}'
)
SECOND = MalformedRecord(index=9, id=None, field="$", reason="Expected `object`", raw=b"9")


def drawn_tree() -> dict[str, str | None]:
    """Read each class and its parent out of the tree that the module's docstring draws."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"    (?P<branch>[ │├└─]*)(?P<name>[A-Z]\w*Error)\b", line)
        if found:
            depth = len(found["branch"]) // 4
            path[depth:] = [found["name"]]
            parents[found["name"]] = path[depth - 1] if depth else None
    return parents


def filled(kind: type[CekatError]) -> CekatError:
    """Make an error of a class with every attribute of it set."""
    if issubclass(kind, APIStatusError):
        error = kind(
            "no",
            status=418,
            code="TEAPOT",
            details=[{"field": "limit", "message": "odd"}],
            body=b"!",
        )
    elif issubclass(kind, MalformedRecordError):
        page = ConversationPage(items=(Conversation(id="c-1"),), malformed_records=(ODD, SECOND))
        error = kind("odd", records=[ODD, SECOND], page=page)
    elif issubclass(kind, DecodeError):
        error = kind("another shape", field="$.data", raw=b'{"data":1}')
    else:
        error = kind("it failed")
    error.path = "/api/conversations"
    error.attempts = 3
    error.retry_after = 2.5
    error.request_id = "req-1"
    error.inbox_id = "inbox-1"
    error.cursor = Cursor("id", "2026-04-10T09:51:19.885")
    return error


def test_drawn_tree_is_the_real_one() -> None:
    """The tree in the module's docstring is the tree of the classes."""
    real = {
        kind.__name__: next((b.__name__ for b in kind.__bases__ if issubclass(b, CekatError)), None)
        for kind in FAMILY
    }

    assert real == drawn_tree()


@pytest.mark.parametrize(
    "status, advice",
    [
        (401, "check api_key=… or CEKAT_API_KEY"),
        (403, "ask for a key that may see this"),
        (404, "check base_url=… or CEKAT_BASE_URL"),
    ],
)
def test_a_refusal_says_what_to_do(status, advice) -> None:
    """What a caller in Python can do about a 401, 403 or 404 is the end of the error's text."""
    error = status_error_class(status)("no", status=status)

    assert error.advice == advice
    assert str(error) == f"no (HTTP {status}): {advice}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


def test_other_errors_give_no_advice_of_their_own() -> None:
    """Where the message says what to do, or nothing can be done, the text ends with the facts."""
    with_advice = {kind.__name__ for kind in FAMILY if kind.advice}

    assert with_advice == {"AuthenticationError", "PermissionDeniedError", "NotFoundError"}
    assert str(ServerError("no", status=500)) == "no (HTTP 500)"


def test_advice_names_an_argument_as_its_reader_writes_it() -> None:
    """In Python the text ends with ``restart=True``; a command line can write it its own way."""
    error = errors.CheckpointError("it is broken").advise("begin anew with {option}", restart=True)

    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert (str(one), one.option) == ("it is broken: begin anew with restart=True", "restart")
        assert one.describe() == "it is broken"
        assert one.format_advice("--restart") == "begin anew with --restart"


def test_no_class_is_left_out() -> None:
    """Every class of the family is public."""

    def below(kind: type) -> set[str]:
        return {kind.__name__}.union(*(below(sub) for sub in kind.__subclasses__()))

    ours = {name for name in below(CekatError) if hasattr(errors, name)}

    assert set(errors.__all__) == ours


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_root_catches_all(kind: type[CekatError]) -> None:
    """`except CekatError` catches each error of the package, and no error hides as another."""
    with pytest.raises(CekatError) as caught:
        raise kind("no")

    assert kind is caught.type


def test_builtin_kin() -> None:
    """A wrong option is also a ValueError, and a deadline also a TimeoutError."""
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(DeadlineExceededError, TimeoutError)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_errors_pickle(kind: type[CekatError]) -> None:
    """An error with all its attributes set comes out of any pickle as it went in."""
    error = filled(kind)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - what was just pickled

        assert kind is type(again)
        assert vars(error) == vars(again)
        assert str(error) == str(again)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=lambda way: way.__name__)
def test_errors_copy(kind: type[CekatError], copied) -> None:
    """A copy of an error has all that the error has."""
    error = filled(kind)

    assert vars(error) == vars(copied(error))


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_errors_can_be_made_with_nothing(kind: type[CekatError]) -> None:
    """Each error can be made without any argument, and says nothing then."""
    error = kind()

    assert str(error) == ""
    assert error.message == ""


def test_inboxes_that_failed_pickle_with_what_they_failed_with() -> None:
    """The errors of single inboxes survive pickling inside of the one that holds them."""
    error = InboxesFailedError("2 inboxes failed", errors=[filled(ServerError), CekatError("no")])

    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert list(map(vars, error.errors)) == list(map(vars, copied.errors))
    assert list(map(str, error.errors)) == list(map(str, copied.errors))


def test_attributes_before_anybody_knows() -> None:
    """What nobody has set on an error is None, and no attempt was made."""
    error = CekatError("no")

    assert (
        error.path,
        error.attempts,
        error.retry_after,
        error.request_id,
        error.cursor,
    ) == (None, 0, None, None, None)


def test_str_without_facts() -> None:
    """An error about which nothing more is known says its message and no more."""
    assert str(CekatError("it failed")) == "it failed"


def test_str_shows_the_facts() -> None:
    """The text of an error shows status, code, path, attempts, pause and request id, in order."""
    assert str(filled(ServerError)) == (
        "no (HTTP 418, TEAPOT, limit: odd, /api/conversations, inbox inbox-1, 3 attempts, "
        "retry after 2.5 s, request id req-1)"
    )


def test_str_leaves_out_a_single_attempt() -> None:
    """One attempt is nothing to mention."""
    error = CekatError("no")
    error.attempts = 1
    error.path = "/api/inboxes"

    assert str(error) == "no (/api/inboxes)"


def test_str_shows_a_pause_of_zero() -> None:
    """A server that asks to come back at once is not taken for one that says nothing."""
    error = CekatError("no")
    error.retry_after = 0.0

    assert str(error) == "no (retry after 0 s)"


def test_str_of_a_decode_error_hides_the_records() -> None:
    """Customers' data is in an error's attributes and not in its text, which ends up in logs."""
    error = DecodeError("odd", field="$.data[0]", raw=b'{"contact_phone":"628"}')

    assert "628" not in str(error) + repr(error)


@pytest.mark.parametrize(
    "status,name",
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (422, "BadRequestError"),
        (429, "RateLimitError"),
        (500, "ServerError"),
        (503, "ServerError"),
        (599, "ServerError"),
        (301, "APIStatusError"),
        (402, "APIStatusError"),
        (499, "APIStatusError"),
        (600, "APIStatusError"),
        (204, "APIStatusError"),
        (0, "APIStatusError"),
    ],
)
def test_status_to_class(status: int, name: str) -> None:
    """Each HTTP status has its class; one that has none is a plain APIStatusError."""
    assert name == status_error_class(status).__name__


def test_details_are_kept_as_sent() -> None:
    """The API's details are there as sent, and an error's list of them cannot grow."""
    sent = [{"field": "inbox_id", "message": "must be a UUID"}]

    error = BadRequestError("no", details=sent)
    sent.clear()

    assert error.details == ({"field": "inbox_id", "message": "must be a UUID"},)


def test_odd_record_error_names_the_first() -> None:
    """An odd-record error has index, id, field and bytes of the first odd record, and all."""
    error = filled(MalformedRecordError)

    assert (error.index, error.id, error.field, error.raw) == (7, "c-7", ODD.field, ODD.raw)
    assert error.records == (ODD, SECOND)
    assert [item.id for item in error.page] == ["c-1"]


def test_odd_record_error_about_nothing() -> None:
    """An odd-record error made without records has none to name."""
    error = MalformedRecordError()

    assert (error.index, error.id, error.field, error.raw) == (None, None, None, b"")
    assert error.records == ()
    assert error.page is None


def test_str_is_one_line_that_a_log_can_bear() -> None:
    """Whatever a server says of the fields, the text of the error stays short and in one line."""
    details = [{"field": "x\n\x1b[2J", "message": "y" * 100_000}] * 50
    error = BadRequestError("no", status=400, details=details)

    assert len(str(error)) < 500
    assert str(error).isprintable()
    assert len(error.details) == 50


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
    """Surrogates in a name become characters where their bytes are UTF-8, and escapes elsewhere."""
    assert errors.readable(text) == shown
