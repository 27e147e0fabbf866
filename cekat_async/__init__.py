"""The asyncio client of the Cekat Conversations API.

>>> async with CekatClient() as cekat:  # the key comes from CEKAT_API_KEY
...     async for conversation in cekat.conversations.list(stage_status="assigned"):
...         print(conversation.contact_name, conversation.stage_status)
"""

# ruff: noqa: PLC0415 - some names are imported on first use, see the end of the file

import logging
import typing

from cekat_async import errors
from cekat_async._version import __version__
from cekat_async.config import RateLimit, RetryPolicy, Timeout
from cekat_async.errors import *  # noqa: F403 - the list of errors is only in errors.__all__
from cekat_async.models import (
    Conversation,
    Inbox,
    Label,
    MalformedRecord,
    MessagePreview,
    PlatformType,
    StageStatus,
)
from cekat_async.models.conversation import decode_conversation
from cekat_async.models.raw_json import record_id
from cekat_async.models.response_details import ResponseDetails
from cekat_async.pages import ConversationPage, InboxPage, RawPage
from cekat_async.positions import Cursor, Position

if typing.TYPE_CHECKING:
    from cekat_async._ratelimit.limiter import Limiter
    from cekat_async._ratelimit.server.learned_rate import LearnedRate
    from cekat_async._ratelimit.shared_budget import BudgetAnswer, SharedBudget
    from cekat_async._ratelimit.snapshot import LimiterSnapshot, WindowSnapshot
    from cekat_async._request.hooks import (
        CallBegun,
        CallFailed,
        Hook,
        HookEvent,
        Hooks,
        PageFetched,
        PauseBegun,
        ReplyReceived,
        RequestFailed,
        RequestSent,
        RetryScheduled,
        WalkBegun,
        WalkEnded,
    )
    from cekat_async.client import CekatClient
    from cekat_async.resources.listing import Listing

__all__ = [
    "BudgetAnswer",
    "CallBegun",
    "CallFailed",
    "CekatClient",
    "Conversation",
    "ConversationPage",
    "Cursor",
    "Hook",
    "HookEvent",
    "Hooks",
    "Inbox",
    "InboxPage",
    "Label",
    "LearnedRate",
    "Limiter",
    "LimiterSnapshot",
    "Listing",
    "MalformedRecord",
    "MessagePreview",
    "PageFetched",
    "PauseBegun",
    "PlatformType",
    "Position",
    "RateLimit",
    "RawPage",
    "ReplyReceived",
    "RequestFailed",
    "RequestSent",
    "ResponseDetails",
    "RetryPolicy",
    "RetryScheduled",
    "SharedBudget",
    "StageStatus",
    "Timeout",
    "WalkBegun",
    "WalkEnded",
    "WindowSnapshot",
    "__version__",
    "decode_conversation",
    "errors",
    "record_id",
]
__all__ += errors.__all__

# Without a handler, Python would print the library's warnings to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if not typing.TYPE_CHECKING:  # pragma: no branch
    # asyncio and aiohttp take longer to import than everything else.
    def __getattr__(name: str) -> object:  # noqa: PLR0911 - one for each module
        if name == "CekatClient":
            from cekat_async import client

            return client.CekatClient
        if name == "Listing":
            from cekat_async.resources import listing

            return listing.Listing
        if name == "Limiter":
            from cekat_async._ratelimit import limiter

            return limiter.Limiter
        if name in {"LimiterSnapshot", "WindowSnapshot"}:
            from cekat_async._ratelimit import snapshot

            return getattr(snapshot, name)
        if name == "LearnedRate":
            from cekat_async._ratelimit.server import learned_rate

            return learned_rate.LearnedRate
        if name in {"BudgetAnswer", "SharedBudget"}:
            from cekat_async._ratelimit import shared_budget

            return getattr(shared_budget, name)
        if name in __all__:  # all others are events
            from cekat_async._request import hooks

            return getattr(hooks, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
