"""Parses HTTP dates and the ``Retry-After`` header."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["parse_http_date", "parse_retry_after"]

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a reply's ``Retry-After`` asks the client to wait, or ``None``.

    The header may contain seconds, with or without a fraction, or an HTTP date. A date is compared
    with the reply's own ``Date``, because the server's clock may differ from ours. Any other value
    is ignored, including negative and infinite numbers.
    """
    text = headers.get("Retry-After", "").strip()
    # float() alone is too lenient, because it also accepts 1_000, digits of other alphabets, and
    # infinity.
    if not _SECONDS.fullmatch(text):
        return _seconds_until(text, headers.get("Date")) if text else None
    seconds = float(text)
    return seconds if math.isfinite(seconds) else None


def _seconds_until(date: str, now: str | None) -> float | None:
    end = parse_http_date(date)
    if end is None:
        return None
    begin = parse_http_date(now or "") or datetime.now(UTC)
    return max(0.0, (end - begin).total_seconds())


def parse_http_date(text: str) -> datetime | None:
    """Return the time of an HTTP date in any of the allowed formats, or ``None``."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
