"""Why a server refused a request. Pure."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["RefusalKind"]


class RefusalKind(StrEnum):
    """Why a server refused a request.

    Attributes:
        QUOTA: The quota is used up.
        PAUSE: The server asks for a pause.
        OVERLOAD: Quota is left, but there were too many requests at once.
        BAN: The server refuses requests for a long time.
    """

    QUOTA = "quota"
    PAUSE = "pause"
    OVERLOAD = "overload"
    BAN = "ban"
