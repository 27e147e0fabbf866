"""Pieces of JSON that every account shares, spelled once: records are put together from them.

They are bytes, since joining those takes a fraction of the time that texts with emoji take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from . import texts
from .chances import below, pick

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .chances import Chances

_T = TypeVar("_T")


def spell(value: Any) -> bytes:
    """Return `value` as JSON."""
    return msgspec.json.encode(value)


def fields(**values: Any) -> bytes:
    """Return what stands between the braces when an object of these fields is JSON."""
    return spell(values)[1:-1]


def by_chance(table: Sequence[_T]) -> tuple[_T, ...]:
    """Repeat the entries of a table until there is one for each of the 256 values of a chance."""
    # The same as `pick` for each chance. Every sandbox makes a few thousand entries when it starts.
    return (tuple(table) * -(-256 // len(table)))[:256]


def _bare(texts: Iterable[str]) -> tuple[bytes, ...]:
    """Return what stands between the quotes when texts are JSON."""
    return tuple(spell(text)[1:-1] for text in texts)


_FIRST_NAMES: Final = by_chance(_bare(texts.FIRST_NAMES))
_LAST_NAMES: Final = by_chance(_bare(texts.LAST_NAMES))
_NO_NAME: Final = fields(contact_name=None)
_ODD_NAMES: Final = by_chance([fields(contact_name=name) for name in texts.ODD_NAMES])
NO_PHONE: Final = fields(contact_phone=None)

_NO_NOTES: Final = fields(notes=None)
_EMPTY_NOTES: Final = fields(notes="")
_NOTES: Final = by_chance([fields(notes=note) for note in texts.NOTES])

# A pair of braces is where a number goes. Later messages are chosen from these by sums of chances,
# which can be more than 255.
_QUESTIONS: Final = _bare(texts.QUESTIONS)
_ANSWERS: Final = _bare(texts.ANSWERS)
_FIRST_MESSAGES: Final = by_chance([fields(first_message={"message": q}) for q in texts.QUESTIONS])
_NO_FIRST: Final = fields(first_message=None)

_MAILBOXES: Final = by_chance(_bare(name.lower() for name in texts.FIRST_NAMES))
_BUSINESSES: Final = by_chance([fields(business_name=name) for name in texts.BUSINESSES])
_CITIES: Final = by_chance([fields(kota=city) for city in texts.CITIES])
_MEMBER: Final = by_chance([fields(**{"member?": member}) for member in (True, False)])
_RATINGS: Final = tuple(fields(**{"rating ⭐": rating / 32}) for rating in range(256))

HUMAN: Final = by_chance([fields(last_message_by_human=human) for human in (True, False)])
_SCORES: Final = tuple(spell(score / 8) for score in range(256))
_SLA: Final = b'"x_sla":{"skor":%b,"breach":null,"riwayat":[%d,"' + "→".encode() + b'"]}'

# How small a chance must be for what it stands for to happen.
_IF_NO_NAME: Final = below(0.02)
_IF_ODD_NAME: Final = below(0.1)
_IF_NO_PHONE: Final = below(0.01)
_IF_NO_NOTES: Final = below(0.03)
_IF_NOTES: Final = below(0.25)
_IF_NO_FIRST: Final = below(0.02)


def contact_name(chances: Chances) -> bytes:
    """Return the field `contact_name`."""
    if chances.name_kind < _IF_NO_NAME:
        return _NO_NAME
    if chances.name_kind < _IF_ODD_NAME:
        return _ODD_NAMES[chances.first_name]
    first, last = _FIRST_NAMES[chances.first_name], _LAST_NAMES[chances.last_name]
    return b'"contact_name":"%b %b"' % (first, last)


def contact_phone(chances: Chances) -> bytes:
    """Return the field `contact_phone` of a platform that has phone numbers."""
    if chances.name_kind < _IF_NO_PHONE:
        return NO_PHONE
    # No Indonesian operator has 0810 to give away: these numbers ring nowhere.
    return b'"contact_phone":"62810%08d"' % (chances.phone % 10**8)


def notes(chances: Chances) -> bytes:
    """Return the field `notes`."""
    if chances.notes_kind < _IF_NO_NOTES:
        return _NO_NOTES
    return _NOTES[chances.note] if chances.notes_kind < _IF_NOTES else _EMPTY_NOTES


def first_message(number: int, chances: Chances) -> bytes:
    """Return the field `first_message` of record `number`."""
    if chances.no_question < _IF_NO_FIRST:
        return _NO_FIRST
    return _FIRST_MESSAGES[chances.question].replace(b"{}", b"%d" % number)


def words(number: int, messages: int, chances: Chances) -> bytes:
    """Return the text of the last message of record `number`, without quotes.

    Args:
        number: the record's number.
        messages: how many messages it has got.
        chances: the record's chances.
    """
    talk = _ANSWERS if (chances.talk + messages) % 3 else _QUESTIONS
    text = pick(talk, chances.words + 7 * messages).replace(b"{}", b"%d" % number)
    return b"%b (%d)" % (text, messages) if messages else text


def additional(number: int, chances: Chances) -> bytes:
    """Return the `additional_data` of record `number`: an object with a field for each bit."""
    bits = chances.extras
    found: list[bytes] = []
    if bits & 1:
        mailbox = (_MAILBOXES[chances.first_name], chances.mailbox)
        found.append(b'"Email Akun Cekat":"%b%d@example.com"' % mailbox)
    if bits & 2:
        found.append(_BUSINESSES[chances.business])
    if bits & 4:
        found.append(b'"Nomor Pesanan":"INV/2026/%06d"' % number)
    if bits & 8:
        found.append(b'"Total Belanja (Rp)":%d' % (chances.spent % 100_000 * 500))
    if bits & 16:
        found.append(_CITIES[chances.city])
    if bits & 32:
        found.append(_MEMBER[chances.rating])
    if bits & 64:
        found.append(_RATINGS[chances.rating])
    if bits & 128:
        home = b'"alamat":{"jalan":"Jl. Kenanga No. %d","rt_rw":null,"tag":["rumah"]}'
        found.append(home % chances.street)
    return b'"additional_data":{%b}' % b",".join(found)


def sla(chances: Chances) -> bytes:
    """Return a field that no documentation names, with a float, a null and a mixed array."""
    return _SLA % (_SCORES[chances.sla], chances.sla_rounds)
