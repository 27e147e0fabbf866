"""The records that the API sends, as frozen structs. Start with ``conversation.py``.

The fields have the API's own names. Only the ``id`` of a record is required. Every other field may
be missing or null, and is then ``None`` (or empty, if it is a collection).

``extra`` keeps the original values of all fields that do not fit, in alphabetical order:

- fields that this version of the package does not know,
- known fields whose value has another type than documented. A number or a boolean in a text field
  becomes text (``628123`` as a phone number becomes ``"628123"``). A list loses only the elements
  that cannot be read. Anything else becomes ``None``, or empty.

A number that is too large for a float (``1e999``) is kept as text.

Timestamps are aware :class:`~datetime.datetime` objects. **A timestamp without a zone is read as
UTC.** The API does not document this, but its own sample shows it (docs/api.md#timestamps). In the
sample, a conversation was created at ``05:47:16+00:00``, its last message is from
``09:24:23+00:00``, and the cursor's timestamp without a zone is ``09:51:19``. If this timestamp
were in Jakarta time, it would be earlier than the other two.
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
