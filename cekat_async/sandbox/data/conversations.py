"""Renders conversations as JSON when they are requested, about a kilobyte each."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cekat_async.sandbox.data import draws, json_fields, texts
from cekat_async.sandbox.data.account import NO_INBOX, STATUSES, UNCHANGED
from cekat_async.sandbox.data.draws import draw_record, get_threshold, pick, to_int
from cekat_async.sandbox.data.ids import Ids, format_uuid
from cekat_async.sandbox.data.json_fields import encode_fields
from cekat_async.sandbox.data.timeline import FORMATTERS, NEWEST
from cekat_async.sandbox.seeded_hash import derive_key

if TYPE_CHECKING:
    from cekat_async.sandbox.data.account import Account, Change
    from cekat_async.sandbox.data.inboxes import InboxRenderer
    from cekat_async.sandbox.options import Dialect

_LABEL_COUNTS: Final = (0, 1, 1, 2, 1, 0, 3, 2)
_COLORED: Final = 8
_WITH_PHONE: Final = frozenset({"whatsapp", "telegram"})
_HANDLED: Final = frozenset({"assigned", "resolved"})

_NO_LABELS: Final = encode_fields(labels=None)
_NO_LAST_MESSAGE: Final = encode_fields(last_message=None)
_NO_ADDITIONAL: Final = encode_fields(additional_data=None)
_NO_COLLABORATORS: Final = encode_fields(collaborators=[])
_NO_KIND: Final = encode_fields(platform_type=None, inbox_name=None)
_UNRESOLVED: Final = encode_fields(resolved_at=None, resolved_by_id=None, resolved_by_name=None)

# A rare case occurs if its random draw is below its threshold.
_IF_UNDATED: Final = get_threshold(0.02)
_IF_PIPELINE: Final = get_threshold(0.4)
_IF_COLLABORATORS: Final = get_threshold(0.25)
_IF_HUMAN: Final = get_threshold(0.25)
_IF_SLA: Final = get_threshold(0.15)


class ConversationRenderer:
    """Renders the conversations of an account."""

    def __init__(
        self, account: Account, inboxes: InboxRenderer, seed: int, dialect: Dialect
    ) -> None:
        self._account = account
        self._inboxes = inboxes
        self._by_creation = dialect.order == "created"
        self._unknown_fields = dialect.unknown_fields
        self._if_null = get_threshold(dialect.collections_null, bits=16)
        self._format_time = FORMATTERS[dialect.timestamps]
        self._key = derive_key(seed, "record").to_bytes(8, "little")
        self._get_inbox = lru_cache(maxsize=1024)(self._build_inbox)
        agents = _build_named(seed, "agent", texts.AGENTS)
        self._handling = _build_handling(agents)
        self._unhandled = self._handling["open"]
        self._resolved_by = [
            encode_fields(resolved_by_id=by["id"], resolved_by_name=by["name"]) for by in agents
        ]
        self._collaborators = [encode_fields(collaborators=[agent]) for agent in agents]
        self._labels = _build_labels(seed, colored=dialect.unknown_fields)
        pipelines = _build_named(seed, "label", texts.PIPELINES)
        self._pipelines = [encode_fields(pipeline=pipeline) for pipeline in pipelines]

    def render(self, id_: str, number: int, at: int, change: Change = UNCHANGED) -> bytes:
        """Return a conversation as UTF-8 JSON. ``at`` is its initial timestamp in the timeline."""
        drawn = draw_record(self._key, number)
        status = self._account.status(number, change)
        created, active = self._get_span(at, change, drawn)
        sent = active - (active - created) * drawn[draws.LAG] // 1024
        resolved = change.resolved or (sent + active) // 2
        fields = [
            *self._contact(id_, self._account.get_inbox(number, change), drawn),
            pick(self._handling.get(status, self._unhandled), drawn[draws.AGENT]),
            *self._content(number, change, drawn, sent),
            b'"created_at":"%b"' % self._format_time(created).encode(),
            self._resolution(drawn, resolved) if status == "resolved" else _UNRESOLVED,
        ]
        if self._unknown_fields:
            fields += self._unknown(drawn)
        return b",".join(fields) + b"}"

    def _get_span(self, at: int, change: Change, drawn: bytes) -> tuple[int, int]:
        """Return the times at which a conversation was created and was last active."""
        if change.created is not None:
            return change.created, change.active or change.created
        length = (drawn[draws.AGE] + 1) * 9000 << drawn[draws.AGE_SCALE] % 8
        if self._by_creation:
            return at, change.active or min(NEWEST, at + length)
        return at - length, change.active or at

    def _contact(self, id_: str, inbox_number: int, drawn: bytes) -> tuple[bytes, ...]:
        """Return the first fields of a record, including the opening brace."""
        inbox = self._get_inbox(inbox_number)
        return (
            b'{"id":"%b"' % id_.encode(),
            inbox.id,
            b'"contact_id":"%b"' % format_uuid(drawn[draws.CONTACT_ID]).encode(),
            json_fields.contact_name(drawn),
            json_fields.contact_phone(drawn) if inbox.has_phone else json_fields.NO_PHONE,
            inbox.kind,
        )

    def _content(self, number: int, change: Change, drawn: bytes, sent: int) -> tuple[bytes, ...]:
        null = self._if_null
        labels = pick(pick(self._labels, drawn[draws.LABEL_FORM]), drawn[draws.LABEL])
        has_additional = to_int(drawn[draws.NO_ADDITIONAL]) >= null
        return (
            json_fields.notes(drawn),
            _NO_LABELS if to_int(drawn[draws.NO_LABELS]) < null else labels,
            self._last_message(number, change, drawn, sent),
            json_fields.first_message(number, drawn),
            json_fields.additional_data(number, drawn) if has_additional else _NO_ADDITIONAL,
        )

    def _last_message(self, number: int, change: Change, drawn: bytes, sent: int) -> bytes:
        text = json_fields.last_message_text(number, change.messages, drawn)
        if not change.messages and to_int(drawn[draws.NO_LAST_MESSAGE]) < self._if_null:
            return _NO_LAST_MESSAGE
        if not change.messages and drawn[draws.UNDATED] < _IF_UNDATED:
            return b'"last_message":{"message":"%b"}' % text
        at = self._format_time(sent).encode()
        return b'"last_message":{"message":"%b","created_at":"%b"}' % (text, at)

    def _resolution(self, drawn: bytes, resolved: int) -> bytes:
        at = self._format_time(resolved).encode()
        return b'"resolved_at":"%b",%b' % (at, pick(self._resolved_by, drawn[draws.AGENT]))

    def _build_inbox(self, inbox: int) -> _Inbox:
        if inbox == NO_INBOX:
            return _Inbox(encode_fields(inbox_id=None), _NO_KIND, has_phone=False)
        name, platform = self._inboxes.describe(inbox)
        return _Inbox(
            encode_fields(inbox_id=self._account.inbox_ids[inbox]),
            encode_fields(platform_type=platform, inbox_name=name),
            platform in _WITH_PHONE,
        )

    def _unknown(self, drawn: bytes) -> list[bytes]:
        """Return fields that the API's documentation does not mention."""
        found: list[bytes] = []
        if drawn[draws.HAS_PIPELINE] < _IF_PIPELINE:
            found.append(pick(self._pipelines, drawn[draws.PIPELINE]))
        if drawn[draws.HAS_COLLABORATORS] < _IF_COLLABORATORS:
            draw = drawn[draws.COLLABORATOR]
            found.append(pick(self._collaborators, draw) if draw % 2 else _NO_COLLABORATORS)
        if drawn[draws.HAS_HUMAN] < _IF_HUMAN:
            found.append(json_fields.last_message_by_human(drawn))
        if drawn[draws.HAS_SLA] < _IF_SLA:
            found.append(json_fields.sla(drawn))
        return found


class _Inbox(NamedTuple):
    """The fields of a record that depend on its inbox."""

    id: bytes
    kind: bytes
    has_phone: bool


def _build_named(seed: int, kind: str, names: tuple[str, ...]) -> list[dict[str, str]]:
    ids = Ids(seed, kind)
    return [{"id": ids.encode(number), "name": name} for number, name in enumerate(names)]


def _build_handling(agents: list[dict[str, str]]) -> dict[str, list[bytes]]:
    """Return the fields for the status and the agent. The keys of the result are the statuses."""
    nobody = {"id": None, "name": None}
    return {
        status: [
            encode_fields(stage_status=status, handled_by_id=by["id"], handled_by_name=by["name"])
            for by in (agents if status in _HANDLED else [nobody])
        ]
        for status in STATUSES
    }


def _build_labels(seed: int, *, colored: bool) -> list[list[bytes]]:
    """Return all lists of labels, by their form (length and colors) and their first label."""
    plain = _build_named(seed, "label", texts.LABELS)
    bright = [label | {"color": pick(texts.COLORS, len(label["name"]))} for label in plain]

    def build(form: int, first: int) -> bytes:
        shown = bright if colored and form & _COLORED else plain
        count = pick(_LABEL_COUNTS, form)
        return encode_fields(labels=[pick(shown, first + 5 * step) for step in range(count)])

    return [[build(form, first) for first in range(len(plain))] for form in range(2 * _COLORED)]
