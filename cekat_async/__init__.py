"""The asyncio client of the Cekat Conversations API.

>>> async with CekatClient() as cekat:  # the key comes from CEKAT_API_KEY
...     async for conversation in cekat.conversations.list(stage_status="assigned"):
...         print(conversation.contact_name, conversation.stage_status)
"""

# ruff: noqa: PLC0415 - modules are imported when one of their names is first used

import logging
import typing

from cekat_async import errors
from cekat_async._at_first_use import at_first_use as _late
from cekat_async._version import __version__
from cekat_async.errors import *  # noqa: F403 - the family is listed once, in errors.__all__

if typing.TYPE_CHECKING:
    from cekat_async._decode import decode_conversation
    from cekat_async._limiter import Limiter, LimiterSnapshot
    from cekat_async._raw_json import record_id
    from cekat_async.client import CekatClient
    from cekat_async.config import RateLimit, RetryPolicy, Timeout
    from cekat_async.models import (
        Conversation,
        ConversationPage,
        Cursor,
        Inbox,
        InboxPage,
        Label,
        MessagePreview,
        OddRecord,
        PlatformType,
        RawPage,
        StageStatus,
    )
    from cekat_async.positions import Position

__all__ = [
    "CekatClient",
    "Conversation",
    "ConversationPage",
    "Cursor",
    "Inbox",
    "InboxPage",
    "Label",
    "Limiter",
    "LimiterSnapshot",
    "MessagePreview",
    "OddRecord",
    "PlatformType",
    "Position",
    "RateLimit",
    "RawPage",
    "RetryPolicy",
    "StageStatus",
    "Timeout",
    "__version__",
    "decode_conversation",
    "errors",
    "record_id",
]
__all__ += errors.__all__

# asyncio and msgspec alone take longer to import than all else that many a program does.
_HOMES = {
    "client": ["CekatClient"],
    "config": ["RateLimit", "RetryPolicy", "Timeout"],
    "models": [
        *("Conversation", "ConversationPage", "Inbox", "InboxPage", "Label", "MessagePreview"),
        *("OddRecord", "PlatformType", "RawPage", "StageStatus"),
    ],
    "positions": ["Cursor", "Position"],
    "_decode": ["decode_conversation"],
    "_limiter": ["Limiter", "LimiterSnapshot"],
    "_raw_json": ["record_id"],
    "conversations": [],
    "inboxes": [],
}

# Without a handler of its own, Python prints a library's warnings to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not typing.TYPE_CHECKING:

    def _load(home: str) -> None:
        match home:
            case "client":
                import cekat_async.client
            case "config":
                import cekat_async.config
            case "models":
                import cekat_async.models
            case "positions":
                import cekat_async.positions
            case "_decode":
                import cekat_async._decode
            case "_limiter":
                import cekat_async._limiter
            case "_raw_json":
                import cekat_async._raw_json
            case "conversations":
                import cekat_async.conversations
            case "inboxes":
                import cekat_async.inboxes  # noqa: F401

    __getattr__, __dir__ = _late(__name__, _HOMES, _load)
