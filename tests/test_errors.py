"""The error classes: hierarchy, attributes, text and pickling."""

import copy
import pickle
import re

import pytest

from cekat_async import errors
from cekat_async._api.status import get_error_class
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
)
from cekat_async.models import Conversation, MalformedRecord
from cekat_async.pages import ConversationPage
from cekat_async.positions import Cursor

FAMILY = [getattr(errors, name) for name in errors.__all__]

MALFORMED = MalformedRecord(
    index=7, id="c-7", field="$.labels[0].id", reason="Expected `str`", raw=b'{"id":1}'
)
SECOND = MalformedRecord(index=9, id=None, field="$", reason="Expected `object`", raw=b"9")


def read_tree() -> dict[str, str | None]:
    """Parse the tree in the module's docstring, and return each class with its parent."""
    parents: dict[str, str | None] = {"CekatError": None}
    family = "CekatError"
    for line in errors.__doc__.split("    CekatError\n")[1].split("\n\n")[0].splitlines():
        *parent, children = line.split(": ")
        names = re.findall(r"\w+Error", children)
        if parent:
            (base,) = re.findall(r"\w+Error", parent[0])
            parents[base] = "TransportError" if "│   " in line else "CekatError"
            family = base
        elif "──" in line:
            family = "CekatError"
        parents |= dict.fromkeys(names, family)
    return parents


def filled(kind: type[CekatError]) -> CekatError:
    """Return an error of a class with every attribute set."""
    if issubclass(kind, APIStatusError):
        error = kind(
            "no",
            status=418,
            code="TEAPOT",
            details=[{"field": "limit", "message": "bad"}],
            body=b"!",
        )
    elif issubclass(kind, MalformedRecordError):
        page = ConversationPage(
            items=(Conversation(id="c-1"),), malformed_records=(MALFORMED, SECOND)
        )
        error = kind("malformed", records=[MALFORMED, SECOND], page=page)
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


def test_tree_is_the_real_one() -> None:
    """The tree in the module's docstring matches the class hierarchy."""
    real = {
        kind.__name__: next((b.__name__ for b in kind.__bases__ if issubclass(b, CekatError)), None)
        for kind in FAMILY
    }

    assert real == read_tree()


@pytest.mark.parametrize(
    "status, advice",
    [
        (401, "check the API key (api_key=… or CEKAT_API_KEY)"),
        (403, "use a key that may read this"),
        (404, "check the id, the path, and the base URL (base_url=… or CEKAT_BASE_URL)"),
    ],
)
def test_a_refusal_says_what_to_do(status, advice) -> None:
    """The text of an error for 401, 403 or 404 ends with advice for a caller in Python."""
    error = get_error_class(status)("no", status=status)

    assert error.advice == advice
    assert str(error) == f"no (HTTP {status}): {advice}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own


def test_other_errors_give_no_advice_of_their_own() -> None:
    """Other classes add no advice of their own, so their text ends with the facts."""
    with_advice = {kind.__name__ for kind in FAMILY if kind.advice}
    refusals = {"AuthenticationError", "PermissionDeniedError", "NotFoundError"}

    assert with_advice == refusals | {"MalformedRecordError"}
    assert str(ServerError("no", status=500)) == "no (HTTP 500)"


def test_advice_names_an_argument_as_its_reader_writes_it() -> None:
    """In Python, the advice ends with ``restart=True``.

    A command line can insert its own option.
    """
    error = errors.CheckpointError("it is broken").advise("begin anew with {option}", restart=True)

    for one in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert (str(one), one.option) == ("it is broken: begin anew with restart=True", "restart")
        assert one.describe() == "it is broken"
        assert one.advice == "begin anew with {option}"


def test_no_class_is_left_out() -> None:
    """Every error class is public."""

    def below(kind: type) -> set[str]:
        return {kind.__name__}.union(*(below(sub) for sub in kind.__subclasses__()))

    ours = {name for name in below(CekatError) if hasattr(errors, name)}

    assert set(errors.__all__) == ours


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_root_catches_all(kind: type[CekatError]) -> None:
    """`except CekatError` catches each error of the package, and all class names are different."""
    with pytest.raises(CekatError) as caught:
        raise kind("no")

    assert kind is caught.type


def test_builtin_kin() -> None:
    """ConfigurationError is a ValueError, and DeadlineExceededError is a TimeoutError."""
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(DeadlineExceededError, TimeoutError)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_errors_pickle_and_copy(kind: type[CekatError]) -> None:
    """A pickled or copied error has the same text and attributes as the original."""
    error = filled(kind)
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    copies = [pickle.loads(pickle.dumps(error, one)) for one in protocols]  # noqa: S301 - ours

    for again in (*copies, copy.copy(error), copy.deepcopy(error)):
        assert kind is type(again)
        assert vars(error) == vars(again)
        assert str(error) == str(again)


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_errors_can_be_made_with_nothing(kind: type[CekatError]) -> None:
    """Each error can be created without arguments, and then its text is empty."""
    error = kind()

    assert str(error) == ""
    assert error.message == ""


def test_inboxes_that_failed_pickle_with_their_errors() -> None:
    """An error that contains the errors of single inboxes is pickled together with them."""
    error = InboxesFailedError("2 inboxes failed", errors=[filled(ServerError), CekatError("no")])

    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert list(map(vars, error.errors)) == list(map(vars, copied.errors))
    assert list(map(str, error.errors)) == list(map(str, copied.errors))


def test_attributes_that_are_not_set() -> None:
    """Unset attributes are None, and the number of attempts is 0."""
    error = CekatError("no")

    assert (error.path, error.retry_after, error.request_id, error.cursor) == (None,) * 4
    assert error.attempts == 0


def test_str_shows_the_facts() -> None:
    """An error's text shows status, code, path, attempts, pause and request id, in this order."""
    assert str(filled(ServerError)) == (
        "no (HTTP 418, TEAPOT, limit: bad, /api/conversations, inbox inbox-1, 3 attempts, "
        "retry after 2.5 s, request id req-1)"
    )


@pytest.mark.parametrize(
    "facts, text",
    [
        ({}, "no"),
        ({"attempts": 1, "path": "/api/inboxes"}, "no (/api/inboxes)"),
        ({"retry_after": 0.0}, "no (retry after 0 s)"),
    ],
)
def test_str_omits_unknown_facts(facts: dict, text: str) -> None:
    """The text omits the number of attempts if it is 1, but it shows a pause of 0 seconds."""
    error = CekatError("no")
    vars(error).update(facts)

    assert str(error) == text


def test_str_of_a_decode_error_hides_the_records() -> None:
    """An error's text is logged, so customers' data is only in its attributes."""
    error = DecodeError("malformed", field="$.data[0]", raw=b'{"contact_phone":"628"}')

    assert "628" not in str(error) + repr(error)


def test_details_are_kept_as_sent() -> None:
    """``details`` has the API's details unchanged, and does not depend on the caller's list."""
    sent = [{"field": "inbox_id", "message": "must be a UUID"}]

    error = BadRequestError("no", details=sent)
    sent.clear()

    assert error.details == ({"field": "inbox_id", "message": "must be a UUID"},)


def test_malformed_record_error_names_the_first() -> None:
    """The error describes the first malformed record, and ``records`` has all of them."""
    error = filled(MalformedRecordError)

    assert (error.index, error.id, error.field, error.raw) == (
        7,
        "c-7",
        MALFORMED.field,
        MALFORMED.raw,
    )
    assert error.records == (MALFORMED, SECOND)
    assert [item.id for item in error.page] == ["c-1"]


def test_malformed_record_error_about_nothing() -> None:
    """An error without malformed records describes none."""
    error = MalformedRecordError()

    assert (error.index, error.id, error.field, error.raw) == (None, None, None, b"")
    assert error.records == ()
    assert error.page is None


def test_str_is_one_short_line() -> None:
    """The text is short and has a single line, whatever details the server sends."""
    details = [{"field": "x\n\x1b[2J", "message": "y" * 100_000}] * 50
    error = BadRequestError("no", status=400, details=details)

    assert len(str(error)) < 500
    assert str(error).isprintable()
    assert len(error.details) == 50
