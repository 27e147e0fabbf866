"""Conversations as JSON: about a kilobyte each, put together from ready pieces when asked for."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple

from . import pieces, texts
from .account import STATUSES, UNCHANGED
from .chances import Chances, below, draw, pick
from .ids import Ids, spell_uuid
from .inboxes import inbox_name, inbox_platform
from .mixing import subkey
from .pieces import by_chance
from .timeline import NEWEST, speller

if TYPE_CHECKING:
    from .account import Account, Change
    from .options import Dialect

_LABEL_COUNTS: Final = (0, 1, 1, 2, 1, 0, 3, 2)
_COLORED: Final = 8
_WITH_PHONE: Final = frozenset({"whatsapp", "telegram"})
_HANDLED: Final = frozenset({"assigned", "resolved"})

_NO_LABELS: Final = pieces.fields(labels=None)
_NO_LAST: Final = pieces.fields(last_message=None)
_NO_EXTRA: Final = pieces.fields(additional_data=None)
_UNRESOLVED: Final = pieces.fields(resolved_at=None, resolved_by_id=None, resolved_by_name=None)

# How small a chance must be for what it stands for to happen.
_IF_UNDATED: Final = below(0.02)
_IF_PIPELINE: Final = below(0.4)
_IF_COLLABORATORS: Final = below(0.25)
_IF_HUMAN: Final = below(0.25)
_IF_SLA: Final = below(0.15)


class Records:
    """Renders the conversations of an account.

    Args:
        account: where each conversation belongs, and when.
        seed: seed of the texts.
        dialect: how records are spelled.
    """

    def __init__(self, account: Account, seed: int, dialect: Dialect) -> None:
        self._account = account
        self._by_creation = dialect.order == "created"
        self._unknown_fields = dialect.unknown_fields
        self._if_null = below(dialect.collections_null, bits=16)
        self._spell = speller(dialect.timestamps)
        self._key = subkey(seed, "record").to_bytes(8, "little")
        self._inbox = lru_cache(maxsize=1024)(partial(_inbox, account, seed))
        self._handling = _handling(seed)
        self._resolved_by = _resolved_by(seed)
        self._collaborators = _collaborators(seed)
        self._labels = _labels(seed, colored=dialect.unknown_fields)
        self._pipelines = _pipelines(seed)

    def render(self, id_: str, number: int, at: int, change: Change = UNCHANGED) -> bytes:
        """Return a conversation as the server sends it, in UTF-8 JSON.

        Args:
            id_: its id.
            number: its number.
            at: its timestamp in the timeline, before anything has happened to it.
            change: what has happened to it.
        """
        chances = draw(self._key, number)
        status = self._account.status(number, change)
        created, active = self._span(at, change, chances)
        said = active - (active - created) * chances.lag // 1024
        solved = change.resolved or (said + active) // 2
        fields = [
            *self._who(id_, number, chances),
            self._handling[status][chances.agent],
            *self._content(number, change, chances, said),
            b'"created_at":"%b"' % self._spell(created).encode(),
            self._resolution(chances, solved) if status == "resolved" else _UNRESOLVED,
        ]
        if self._unknown_fields:
            fields += self._unknown(chances)
        return b",".join(fields) + b"}"

    def _span(self, at: int, change: Change, chances: Chances) -> tuple[int, int]:
        """Return when a conversation was created and when it was last active."""
        if change.created is not None:
            return change.created, change.active or change.created
        length = (chances.age + 1) * 9000 << chances.age_scale % 8
        if self._by_creation:
            return at, change.active or min(NEWEST, at + length)
        return at - length, change.active or at

    def _who(self, id_: str, number: int, chances: Chances) -> tuple[bytes, ...]:
        """Return the first fields, which begin with the record's brace."""
        inbox = self._inbox(self._account.spread.inbox_of(number))
        return (
            b'{"id":"%b"' % id_.encode(),
            inbox.id,
            b'"contact_id":"%b"' % spell_uuid(chances.contact).encode(),
            pieces.contact_name(chances),
            pieces.contact_phone(chances) if inbox.has_phone else pieces.NO_PHONE,
            inbox.kind,
        )

    def _content(
        self, number: int, change: Change, chances: Chances, said: int
    ) -> tuple[bytes, ...]:
        null = self._if_null
        return (
            pieces.notes(chances),
            _NO_LABELS if chances.no_labels < null else self._labels[chances.labels][chances.label],
            self._last_message(number, change, chances, said),
            pieces.first_message(number, chances),
            _NO_EXTRA if chances.no_extra < null else pieces.additional(number, chances),
        )

    def _last_message(self, number: int, change: Change, chances: Chances, said: int) -> bytes:
        text = pieces.words(number, change.messages, chances)
        if not change.messages and chances.no_last < self._if_null:
            return _NO_LAST
        if not change.messages and chances.undated < _IF_UNDATED:
            return b'"last_message":{"message":"%b"}' % text
        at = self._spell(said).encode()
        return b'"last_message":{"message":"%b","created_at":"%b"}' % (text, at)

    def _resolution(self, chances: Chances, solved: int) -> bytes:
        at = self._spell(solved).encode()
        return b'"resolved_at":"%b",%b' % (at, self._resolved_by[chances.agent])

    def _unknown(self, chances: Chances) -> list[bytes]:
        """Return the fields that no documentation names."""
        found: list[bytes] = []
        if chances.in_pipeline < _IF_PIPELINE:
            found.append(self._pipelines[chances.pipeline])
        if chances.has_collaborators < _IF_COLLABORATORS:
            found.append(self._collaborators[chances.collaborator])
        if chances.says_human < _IF_HUMAN:
            found.append(pieces.HUMAN[chances.human])
        if chances.has_sla < _IF_SLA:
            found.append(pieces.sla(chances))
        return found


class _Inbox(NamedTuple):
    """What a record says of its inbox."""

    id: bytes
    kind: bytes
    has_phone: bool


def _inbox(account: Account, seed: int, inbox: int) -> _Inbox:
    platform = inbox_platform(inbox)
    return _Inbox(
        pieces.fields(inbox_id=account.inbox_ids[inbox]),
        pieces.fields(platform_type=platform, inbox_name=inbox_name(seed, inbox)),
        platform in _WITH_PHONE,
    )


def _people(seed: int) -> list[tuple[str, str]]:
    ids = Ids(seed, "agent")
    return [(ids.of(number), name) for number, name in enumerate(texts.AGENTS)]


def _handling(seed: int) -> dict[str, tuple[bytes, ...]]:
    """Return status and agent by status and by the chance of the agent."""

    def of(status: str, id_: str, name: str) -> bytes:
        agent = (id_, name) if status in _HANDLED else (None, None)
        return pieces.fields(stage_status=status, handled_by_id=agent[0], handled_by_name=agent[1])

    people = _people(seed)
    return {status: by_chance([of(status, *person) for person in people]) for status in STATUSES}


def _resolved_by(seed: int) -> tuple[bytes, ...]:
    people = _people(seed)
    return by_chance([pieces.fields(resolved_by_id=id_, resolved_by_name=n) for id_, n in people])


def _collaborators(seed: int) -> tuple[bytes, ...]:
    """Return a list of one or of none, by the chance that says which and who."""
    people = [{"id": id_, "name": name} for id_, name in _people(seed)]
    return tuple(
        pieces.fields(collaborators=[pick(people, chance)][: chance % 2]) for chance in range(256)
    )


def _labels(seed: int, *, colored: bool) -> tuple[tuple[bytes, ...], ...]:
    """Return every list of labels, by the chance of its form and by the chance of the first."""
    ids = Ids(seed, "label")
    plain = [{"id": ids.of(number), "name": name} for number, name in enumerate(texts.LABELS)]
    bright = [label | {"color": pick(texts.COLORS, len(label["name"]))} for label in plain]

    def some(form: int, first: int) -> bytes:
        shown = bright if colored and form & _COLORED else plain
        count = pick(_LABEL_COUNTS, form)
        return pieces.fields(labels=[pick(shown, first + 5 * step) for step in range(count)])

    forms = [[some(form, first) for first in range(len(plain))] for form in range(2 * _COLORED)]
    return by_chance([by_chance(form) for form in forms])


def _pipelines(seed: int) -> tuple[bytes, ...]:
    ids = Ids(seed, "label")
    named = [{"id": ids.of(number), "name": name} for number, name in enumerate(texts.PIPELINES)]
    return by_chance([pieces.fields(pipeline=pipeline) for pipeline in named])
