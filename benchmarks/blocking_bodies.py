"""Responses of a hostile or broken server, as large as the client reads them.

A page may have 8 MiB, the default of ``CekatClient(max_page_bytes=…)``. The client reads 1 MiB of
an error. Some responses are larger, to show that the client stops in time.
"""

from __future__ import annotations

import gzip
import importlib
import zlib
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from page_server import make_records

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024
KEY = "".join(f"{10_000 + 1237 * number}" for number in range(60))
"""The API key of the client, as long as a JSON web token. Some responses echo it, and the client
redacts it."""

_BOUND, _BOMB, _ERROR = 8 * MIB, 256 * MIB, MIB
# The client decodes up to this many bytes in one call of msgspec.
_AT_ONCE = 250 * 1024
# If each record has this many bytes, a page has 49,000 records.
_SMALL = 168


class Response(NamedTuple):
    """A response. An endless response repeats its body until the client closes the connection."""

    body: bytes
    status: int = 200
    headers: tuple[str, ...] = ()
    is_endless: bool = False


def _filled(head: bytes, unit: bytes, tail: bytes, size: int = _BOUND) -> bytes:
    """Return ``head``, as many units as fit into ``size`` bytes, and ``tail``."""
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


def _page(record: bytes, size: int = _BOUND) -> bytes:
    """Return a page that repeats one or more records until it has ``size`` bytes."""
    last = b'{"id":"last"}],"metadata":null}'
    return _filled(b'{"success":true,"data":[', record + b",", last, size)


def _small(record: bytes) -> bytes:
    """Return a page of 50,000 small records, about as many as the client decodes."""
    return _page(record.ljust(_SMALL))


def _documented(size: int = _BOUND) -> bytes:
    return _page(b",".join(make_records("documented", 1000)), size)


def _record(unit: bytes, *, inside: bytes, size: int = _BOUND) -> bytes:
    """Return a page of one record: ``inside``, with its ``@`` replaced by as many units as fit."""
    head, tail = inside.split(b"@")
    return _filled(
        b'{"success":true,"data":[{"id":"x",' + head, unit, tail + b'}],"metadata":null}', size
    )


def _records(unit: bytes, inside: bytes) -> bytes:
    """Return a page of records.

    Each record is as large as the client decodes in one call of msgspec.
    """
    head, tail = inside.split(b"@")
    return _page(_filled(b'{"id":"x",' + head, unit, tail + b"}", _AT_ONCE))


def _once(unit: bytes, inside: bytes, last: bytes) -> bytes:
    """Return a page that one call of msgspec could decode if its last field were as expected."""
    return _record(unit, inside=inside + b"," + last, size=_AT_ONCE)


def _with_nan() -> bytes:
    return _documented(_BOUND - 100).replace(b'{"id":"last"}', b'{"id":"last","notes":NaN}')


def _nested(opening: bytes, closing: bytes) -> bytes:
    count = (_BOUND - 100) // (len(opening) + len(closing))
    inner = opening * count + b"1" + closing * count
    return b'{"success":true,"data":[{"id":"x","additional_data":%b}]}' % inner


def _names(size: int) -> bytes:
    """Return members of an object.

    The members have different names, and there is a comma before each.
    """
    return b"".join(b',"%06d":1' % number for number in range(size // len(b',"000000":1')))


def _escaped_key(form: str) -> bytes:
    return "".join(form.format(ord(character)) for character in KEY).encode()


def _error(unit: bytes, *, is_json: bool = True) -> Response:
    """Return an error of 1 MiB whose message repeats a text, either in JSON or as plain text."""
    head, tail = (b'{"error":{"message":"', b'"}}') if is_json else (b"", b"")
    kind = "application/json" if is_json else "text/plain"
    return Response(_filled(head, unit, tail, _ERROR), 400, (f"Content-Type: {kind}",))


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _bomb(pack: Callable[[], _Packer]) -> bytes:
    packer = pack()
    block = bytes(MIB)
    return b"".join([*(packer.compress(block) for _ in range(_BOMB // MIB)), packer.flush()])


def _gzip_bomb(status: int = 200) -> Response:
    return _encoded(_bomb(lambda: zlib.compressobj(wbits=31)), "gzip", status)


def _packed_by(module: str) -> bytes:
    """Return a bomb, made by the ``compress`` function of a module."""
    packed: bytes = importlib.import_module(module).compress(bytes(_BOMB))
    return packed


def _encoded(body: bytes, coding: str, status: int = 200) -> Response:
    return Response(body, status, (f"Content-Encoding: {coding}",))


def _gzipped(body: bytes, status: int = 200) -> Response:
    return _encoded(gzip.compress(body, 1), "gzip", status)


def _chunked(body: bytes, size: int) -> Response:
    """Return a body in chunks of ``size`` bytes."""
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    sent = b"".join([*(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"])
    return Response(sent, headers=("Transfer-Encoding: chunked",))


_HALF = rb"\ud83d"

# Bodies of pages with the status 200. The bodies are made by functions, because some of them take a
# while to make.
_PAGES: dict[str, Callable[[], bytes]] = {
    "page": _documented,
    "unknown-fields": lambda: _page(b",".join(make_records("unknown", 1000))),
    "an-unknown-field-in-each-record": lambda: _small(b'{"id":"x","new":{"a":[1,{"b":null}]}}'),
    "a-mistyped-field-in-each-record": lambda: _page(b",".join(make_records("mistyped", 1000))),
    "mistyped-labels": lambda: _small(b'{"id":"x","labels":[{"id":1}],"created_at":"?"}'),
    "wide-mistyped-labels": lambda: _records(b'{"id":1},', b'"labels":[@{}]'),
    "escaped-text": lambda: _page(b'{"id":"x","notes":"%b"}' % (rb"\n\"\\\u00e9\ud83d\ude00" * 99)),
    "one-string": lambda: _record(b"x", inside=b'"notes":"@"'),
    "one-escaped-string": lambda: _record(rb"\n\u00e9", inside=b'"notes":"@"'),
    "backslashes-half-an-emoji": lambda: _record(rb"\\", inside=b'"notes":"@' + _HALF + b'"'),
    "halves-of-emojis": lambda: _record(_HALF, inside=b'"notes":"@"'),
    "a-half-in-each-record": lambda: _small(b'{"id":"x","notes":"%b"}' % _HALF),
    "a-nan-in-one-record": _with_nan,
    "a-nan-in-each-record": lambda: _small(b'{"id":"x","notes":NaN}'),
    "wide-array": lambda: _record(b"1,", inside=b'"additional_data":{"a":[@1]}'),
    "wide-array-with-spaces": lambda: _record(
        b"[],".ljust(_SMALL // 2), inside=b'"additional_data":{"a":[@1]},"new":1,"notes":2'
    ),
    "wide-object": lambda: _record(b'"a":1,', inside=b'"additional_data":{@"a":1}'),
    "wide-array-in-each-record": lambda: _records(b"[],", b'"additional_data":{"a":[@[]]}'),
    "wide-array-at-once": lambda: _once(b"[],", b'"additional_data":{"a":[@[]]}', b'"new":1'),
    "wide-array-mistyped-at-once": lambda: _once(
        b"[],", b'"additional_data":{"a":[@[]]}', b'"new":1,"notes":2'
    ),
    "wide-array-mistyped-in-each-record": lambda: _records(
        b"[],", b'"additional_data":{"a":[@[]]},"new":1,"notes":2'
    ),
    "wide-labels": lambda: _record(b'{"id":"%b"},' % (b"x" * 80), inside=b'"labels":[@{}]'),
    "wide-labels-in-each-record": lambda: _records(b"{},", b'"labels":[@{}]'),
    "many-fields": lambda: b'{"data":[{"id":"x"%b}]}' % _names(_BOUND - 20),
    "many-fields-in-each-record": lambda: _page(b'{"id":"x"%b}' % _names(_AT_ONCE)),
    "nested-arrays": lambda: _nested(b"[", b"]"),
    "nested-objects": lambda: _nested(b'{"a":', b"}"),
    "49000-numbers": lambda: _small(b"1"),
    "49000-records": lambda: _small(b'{"id":"x"}'),
    "only-numbers": lambda: _page(b"1"),
    "only-empty-objects": lambda: _page(b"{}"),
    "members-of-the-envelope": lambda: b'{"data":[]%b}' % _names(_BOUND - 20),
    "metadata": lambda: _filled(b'{"data":[],"metadata":{"a":[', b"[],", b"[]]}}"),
    "cut-short": lambda: _documented()[:-9],
    "spaces": lambda: _filled(b'{"data":[', b" ", b"]}"),
    "a-string-as-the-body": lambda: _filled(b'"', b"x", b'"'),
    "no-json": lambda: _filled(b"", b"<p>", b""),
    "no-success": lambda: _filled(b'{"success":false,"data":[],"message":"', rb"\\", b'"}'),
}


def _respond(page: Callable[[], bytes]) -> Response:
    return Response(page())


RESPONSES: dict[str, Callable[[], Response]] = {
    **{name: partial(_respond, page) for name, page in _PAGES.items()},
    "page-gzip": lambda: _gzipped(_documented()),
    "only-numbers-gzip": lambda: _gzipped(_page(b"1")),
    "page-beyond": lambda: Response(_documented(8 * _BOUND)),
    "page-one-byte-chunks": lambda: _chunked(_documented(MIB), 1),
    "page-endless": lambda: Response(_documented(MIB), is_endless=True),
    "gzip-bomb": _gzip_bomb,
    "deflate-bomb": lambda: _encoded(_bomb(zlib.compressobj), "deflate"),
    "brotli-bomb": lambda: _encoded(_packed_by("brotli"), "br"),
    "zstd-bomb": lambda: _encoded(_packed_by("backports.zstd"), "zstd"),
    "gzip-members": lambda: _encoded(gzip.compress(b"", 1) * 100_000, "gzip"),
    "error": lambda: _error(b"x"),
    "error-escaped": lambda: _error(rb"\ud83d\ude00"),
    "error-plain-text": lambda: _error(b"x", is_json=False),
    "error-the-key": lambda: _error(KEY.encode()),
    "error-nearly-the-key": lambda: _error(KEY[:-1].encode()),
    "error-the-keys-beginnings": lambda: _error(KEY[:39].encode(), is_json=False),
    "error-the-key-escaped": lambda: _error(_escaped_key("\\u00{:02x}")),
    "error-nearly-the-key-in-html": lambda: _error(_escaped_key("&#{};")[:-6], is_json=False),
    "error-wide-details": lambda: Response(
        _filled(b'{"error":{"details":[', b"{},", b"{}]}}", _ERROR), 400
    ),
    "error-gzip": lambda: _gzipped(_error(b"x").body, 400),
    "error-endless": lambda: Response(b"x" * MIB, 500, is_endless=True),
    "error-gzip-bomb": lambda: _gzip_bomb(500),
}
"""The measured responses, by the name of their row."""
