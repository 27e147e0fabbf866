"""Conversations as JSON: about a kilobyte each, made when asked for."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import texts
from .account import UNCHANGED
from .chances import Chances, draw, pick, rare
from .ids import Ids, spell_uuid
from .inboxes import inbox_name, inbox_platform
from .mixing import subkey
from .timeline import NEWEST, speller

if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account, Change
    from .options import Dialect

_LABEL_COUNTS: Final = (0, 1, 1, 2, 1, 0, 3, 2)
_WITH_PHONE: Final = frozenset({"whatsapp", "telegram"})
_HANDLED: Final = frozenset({"assigned", "resolved"})


class Records:
    """Renders the conversations of an account; nothing is held.

    Args:
        account: where each conversation belongs, and when.
        seed: seed of the texts.
        dialect: how records are spelled.
    """

    def __init__(self, account: Account, seed: int, dialect: Dialect) -> None:
        self._account = account
        self._dialect = dialect
        self._spell = speller(dialect.timestamps)
        self._key = subkey(seed, "record").to_bytes(8, "little")
        self._inbox_name = lru_cache(maxsize=1024)(partial(inbox_name, seed))
        self._agents = _people(seed)
        labels = Ids(seed, "label")
        self._labels = [(labels.of(n), name) for n, name in enumerate(texts.LABELS)]
        self._encode = msgspec.json.Encoder().encode

    def render(self, id_: str, number: int, change: Change = UNCHANGED) -> bytes:
        """Return a conversation as the server sends it, in UTF-8 JSON."""
        chances = draw(self._key, number)
        status = self._account.status(number, change)
        created, active = self._span(number, change, chances)
        said = active - (active - created) * chances.lag // 1024
        solved = change.resolved or (said + active) // 2
        record = self._who(id_, number, chances)
        record |= self._handling(chances, status)
        record |= self._content(number, change, chances, said)
        record["created_at"] = self._spell(created)
        record |= self._resolution(chances, solved if status == "resolved" else None)
        if self._dialect.unknown_fields:
            self._add_unknown(record, chances)
        return self._encode(record)

    def _span(self, number: int, change: Change, chances: Chances) -> tuple[int, int]:
        """Return when a conversation was created and when it was last active."""
        if change.created is not None:
            return change.created, change.active or change.created
        at = self._account.timeline.at(number)
        length = (chances.age + 1) * 9000 << chances.age_scale % 8
        if self._dialect.order == "created":
            return at, change.active or min(NEWEST, at + length)
        return at - length, change.active or at

    def _who(self, id_: str, number: int, chances: Chances) -> dict[str, Any]:
        inbox = self._account.spread.inbox_of(number)
        platform = inbox_platform(inbox)
        return {
            "id": id_,
            "inbox_id": self._account.inbox_ids[inbox],
            "contact_id": spell_uuid(chances.contact),
            "contact_name": _contact_name(chances),
            "contact_phone": _phone(chances) if platform in _WITH_PHONE else None,
            "platform_type": platform,
            "inbox_name": self._inbox_name(inbox),
        }

    def _handling(self, chances: Chances, status: str) -> dict[str, Any]:
        agent = pick(self._agents, chances.agent) if status in _HANDLED else (None, None)
        return {
            "stage_status": status,
            "handled_by_id": agent[0],
            "handled_by_name": agent[1],
            "notes": _notes(chances),
            "labels": None if self._null(chances.no_labels) else self._labels_of(chances),
        }

    def _labels_of(self, chances: Chances) -> list[dict[str, Any]]:
        colored = self._dialect.unknown_fields and bool(chances.labels & 8)
        labels: list[dict[str, Any]] = []
        for step in range(pick(_LABEL_COUNTS, chances.labels)):
            id_, name = pick(self._labels, chances.label + 5 * step)
            label = {"id": id_, "name": name}
            labels.append(label | {"color": pick(texts.COLORS, len(name))} if colored else label)
        return labels

    def _content(self, number: int, change: Change, chances: Chances, said: int) -> dict[str, Any]:
        no_question = rare(chances.no_question, 0.02)
        question = pick(texts.QUESTIONS, chances.question).format(number)
        no_extra = self._null(chances.no_extra)
        return {
            "last_message": self._last_message(number, change, chances, said),
            "first_message": None if no_question else {"message": question},
            "additional_data": None if no_extra else _additional(number, chances),
        }

    def _last_message(
        self, number: int, change: Change, chances: Chances, said: int
    ) -> dict[str, Any] | None:
        if change.messages:
            text = f"{_words(number, change, chances)} ({change.messages})"
            return {"message": text, "created_at": self._spell(said)}
        if self._null(chances.no_last):
            return None
        text = _words(number, change, chances)
        undated = rare(chances.undated, 0.02)
        return {"message": text} if undated else {"message": text, "created_at": self._spell(said)}

    def _resolution(self, chances: Chances, solved: int | None) -> dict[str, Any]:
        agent = (None, None) if solved is None else pick(self._agents, chances.agent)
        return {
            "resolved_at": None if solved is None else self._spell(solved),
            "resolved_by_id": agent[0],
            "resolved_by_name": agent[1],
        }

    def _add_unknown(self, record: dict[str, Any], chances: Chances) -> None:
        if rare(chances.in_pipeline, 0.4):
            which = chances.pipeline % len(texts.PIPELINES)
            record["pipeline"] = {"id": self._labels[which][0], "name": texts.PIPELINES[which]}
        if rare(chances.has_collaborators, 0.25):
            id_, name = pick(self._agents, chances.collaborator)
            record["collaborators"] = [{"id": id_, "name": name}][: chances.collaborator % 2]
        if rare(chances.says_human, 0.25):
            record["last_message_by_human"] = chances.human % 2 == 0
        if rare(chances.has_sla, 0.15):
            rounds = [chances.sla_rounds, "→"]
            record["x_sla"] = {"skor": chances.sla / 8, "breach": None, "riwayat": rounds}

    def _null(self, chance: int) -> bool:
        return rare(chance, self._dialect.collections_null, bits=16)


def _people(seed: int) -> list[tuple[str, str]]:
    ids = Ids(seed, "agent")
    return [(ids.of(number), name) for number, name in enumerate(texts.AGENTS)]


def _contact_name(chances: Chances) -> str | None:
    if rare(chances.name_kind, 0.02):
        return None
    if rare(chances.name_kind, 0.1):
        return pick(texts.ODD_NAMES, chances.first_name)
    first = pick(texts.FIRST_NAMES, chances.first_name)
    return f"{first} {pick(texts.LAST_NAMES, chances.last_name)}"


def _phone(chances: Chances) -> str | None:
    # No Indonesian operator has 0810 to give away: these numbers ring nowhere.
    return None if rare(chances.name_kind, 0.01) else f"62810{chances.phone % 10**8:08d}"


def _notes(chances: Chances) -> str | None:
    if rare(chances.notes_kind, 0.03):
        return None
    return pick(texts.NOTES, chances.note) if rare(chances.notes_kind, 0.25) else ""


def _words(number: int, change: Change, chances: Chances) -> str:
    talk = texts.ANSWERS if (chances.talk + change.messages) % 3 else texts.QUESTIONS
    return pick(talk, chances.words + 7 * change.messages).format(number)


def _additional(number: int, chances: Chances) -> dict[str, Any]:
    bits = chances.extras
    return {
        name: value(number, chances) for bit, (name, value) in enumerate(_EXTRAS) if bits >> bit & 1
    }


def _email(_: int, chances: Chances) -> str:
    return f"{pick(texts.FIRST_NAMES, chances.first_name).lower()}{chances.mailbox}@example.com"


def _home(_: int, chances: Chances) -> dict[str, Any]:
    return {"jalan": f"Jl. Kenanga No. {chances.street}", "rt_rw": None, "tag": ["rumah"]}


_EXTRAS: Final[tuple[tuple[str, Callable[[int, Chances], object]], ...]] = (
    ("Email Akun Cekat", _email),
    ("business_name", lambda _, chances: pick(texts.BUSINESSES, chances.business)),
    ("Nomor Pesanan", lambda number, _: f"INV/2026/{number:06d}"),
    ("Total Belanja (Rp)", lambda _, chances: chances.spent % 100_000 * 500),
    ("kota", lambda _, chances: pick(texts.CITIES, chances.city)),
    ("member?", lambda _, chances: chances.rating % 2 == 0),
    ("rating ⭐", lambda _, chances: chances.rating / 32),
    ("alamat", _home),
)
