"""The fields of a conversation as JSON. They are encoded once, and then joined into records.

The fields are bytes, because joining bytes is much faster than joining texts with emoji.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cekat_async.sandbox.data import draws, texts
from cekat_async.sandbox.data.draws import get_threshold, pick, to_int

if TYPE_CHECKING:
    from collections.abc import Iterable


def encode_fields(**values: Any) -> bytes:
    """Return fields in JSON, without the braces of the object."""
    return msgspec.json.encode(values)[1:-1]


def _encode_bare(texts: Iterable[str]) -> tuple[bytes, ...]:
    """Return texts as JSON strings without the quotes around them."""
    return tuple(msgspec.json.encode(text)[1:-1] for text in texts)


_FIRST_NAMES: Final = _encode_bare(texts.FIRST_NAMES)
_LAST_NAMES: Final = _encode_bare(texts.LAST_NAMES)
_NO_NAME: Final = encode_fields(contact_name=None)
_ODD_NAMES: Final = [encode_fields(contact_name=name) for name in texts.ODD_NAMES]
NO_PHONE: Final = encode_fields(contact_phone=None)

_NO_NOTES: Final = encode_fields(notes=None)
_EMPTY_NOTES: Final = encode_fields(notes="")
_NOTES: Final = [encode_fields(notes=note) for note in texts.NOTES]

# The number of the record replaces each ``{}``.
_QUESTIONS: Final = _encode_bare(texts.QUESTIONS)
_ANSWERS: Final = _encode_bare(texts.ANSWERS)
_FIRST_MESSAGES: Final = [encode_fields(first_message={"message": q}) for q in texts.QUESTIONS]
_NO_FIRST: Final = encode_fields(first_message=None)

_MAILBOXES: Final = _encode_bare(name.lower() for name in texts.FIRST_NAMES)
_BUSINESSES: Final = [encode_fields(business_name=name) for name in texts.BUSINESSES]
_CITIES: Final = [encode_fields(kota=city) for city in texts.CITIES]
_MEMBER: Final = [encode_fields(**{"member?": member}) for member in (True, False)]
_RATINGS: Final = [encode_fields(**{"rating ⭐": rating / 32}) for rating in range(256)]

_HUMAN: Final = [encode_fields(last_message_by_human=human) for human in (True, False)]
_SCORES: Final = [msgspec.json.encode(score / 8) for score in range(256)]
_SLA: Final = b'"x_sla":{"skor":%b,"breach":null,"riwayat":[%d,"' + "→".encode() + b'"]}'

# A rare case occurs if its random draw is below its threshold.
_IF_NO_NAME: Final = get_threshold(0.02)
_IF_ODD_NAME: Final = get_threshold(0.1)
_IF_NO_PHONE: Final = get_threshold(0.01)
_IF_NO_NOTES: Final = get_threshold(0.03)
_IF_NOTES: Final = get_threshold(0.25)
_IF_NO_FIRST: Final = get_threshold(0.02)


def contact_name(drawn: bytes) -> bytes:
    """Return the field ``contact_name``."""
    if drawn[draws.NAME_KIND] < _IF_NO_NAME:
        return _NO_NAME
    if drawn[draws.NAME_KIND] < _IF_ODD_NAME:
        return pick(_ODD_NAMES, drawn[draws.FIRST_NAME])
    first, last = (
        pick(_FIRST_NAMES, drawn[draws.FIRST_NAME]),
        pick(_LAST_NAMES, drawn[draws.LAST_NAME]),
    )
    return b'"contact_name":"%b %b"' % (first, last)


def contact_phone(drawn: bytes) -> bytes:
    """Return the field ``contact_phone`` for a platform that uses phone numbers."""
    if drawn[draws.NAME_KIND] < _IF_NO_PHONE:
        return NO_PHONE
    # No Indonesian operator uses the prefix 0810, so these numbers belong to nobody.
    return b'"contact_phone":"62810%08d"' % (to_int(drawn[draws.PHONE]) % 10**8)


def notes(drawn: bytes) -> bytes:
    """Return the field ``notes``."""
    if drawn[draws.NOTES_KIND] < _IF_NO_NOTES:
        return _NO_NOTES
    return pick(_NOTES, drawn[draws.NOTE]) if drawn[draws.NOTES_KIND] < _IF_NOTES else _EMPTY_NOTES


def first_message(number: int, drawn: bytes) -> bytes:
    """Return the field ``first_message`` of record ``number``."""
    if drawn[draws.NO_QUESTION] < _IF_NO_FIRST:
        return _NO_FIRST
    return pick(_FIRST_MESSAGES, drawn[draws.QUESTION]).replace(b"{}", b"%d" % number)


def last_message_text(number: int, messages: int, drawn: bytes) -> bytes:
    """Return the text of the last message after ``messages`` new messages, without quotes."""
    table = _ANSWERS if (drawn[draws.SPEAKER] + messages) % 3 else _QUESTIONS
    text = pick(table, drawn[draws.MESSAGE] + 7 * messages).replace(b"{}", b"%d" % number)
    return b"%b (%d)" % (text, messages) if messages else text


def additional_data(number: int, drawn: bytes) -> bytes:
    """Return the field ``additional_data`` of record ``number``. Each bit adds an entry."""
    found: list[bytes] = []
    bits = drawn[draws.ADDITIONAL_FIELDS]
    if bits & 1:
        mailbox = (pick(_MAILBOXES, drawn[draws.FIRST_NAME]), drawn[draws.MAILBOX])
        found.append(b'"Email Akun Cekat":"%b%d@example.com"' % mailbox)
    if bits & 2:
        found.append(pick(_BUSINESSES, drawn[draws.BUSINESS]))
    if bits & 4:
        found.append(b'"Nomor Pesanan":"INV/2026/%06d"' % number)
    if bits & 8:
        found.append(b'"Total Belanja (Rp)":%d' % (to_int(drawn[draws.SPENT]) % 100_000 * 500))
    if bits & 16:
        found.append(pick(_CITIES, drawn[draws.CITY]))
    if bits & 32:
        found.append(pick(_MEMBER, drawn[draws.RATING]))
    if bits & 64:
        found.append(_RATINGS[drawn[draws.RATING]])
    if bits & 128:
        home = b'"alamat":{"jalan":"Jl. Kenanga No. %d","rt_rw":null,"tag":["rumah"]}'
        found.append(home % drawn[draws.STREET])
    return b'"additional_data":{%b}' % b",".join(found)


def last_message_by_human(drawn: bytes) -> bytes:
    """Return a field that the API sends although its documentation does not mention it."""
    return pick(_HUMAN, drawn[draws.HUMAN])


def sla(drawn: bytes) -> bytes:
    """Return an invented field that contains a float, a null and an array of mixed types."""
    return _SLA % (_SCORES[drawn[draws.SLA]], drawn[draws.SLA_ROUNDS])
