"""The records that the API sends, as frozen structs. Start with ``conversation.py``.

The field names are the API's own. Only the ``id`` of a record is required. Every other field may be
missing or null, and is then ``None`` (or empty, if it is a collection).

``extra`` keeps what does not fit the other fields, under its own name and with its original value,
in alphabetical order:

- fields that this version does not know,
- known fields whose value has another type than documented. Of these, a number or a boolean in a
  text field becomes text (``628123`` as a phone number is ``"628123"``), and a list loses only the
  elements that cannot be read. Anything else becomes ``None``, or empty.

A number that no float can hold (``1e999``) is kept as text.

Timestamps are aware :class:`~datetime.datetime` objects. **One without a zone is read as UTC.**
The API does not say what it means, but its own sample implies it (docs/api.md#timestamps). There,
the zone-less cursor timestamp ``09:51:19`` belongs to a conversation whose last message is of
``09:24:23+00:00``. In the zone of Jakarta, the cursor would be more than six hours before that
message.
"""

from cekat_async.models.conversation import Conversation, Label, MessagePreview, StageStatus
from cekat_async.models.fields import PlatformType
from cekat_async.models.inbox import Inbox
from cekat_async.models.malformed import MalformedRecord

__all__ = [
    "Conversation",
    "Inbox",
    "Label",
    "MalformedRecord",
    "MessagePreview",
    "PlatformType",
    "StageStatus",
]
