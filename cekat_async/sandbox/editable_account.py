"""Methods that read and change the records of a sandbox while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Lock
    from typing import Any

    from cekat_async.sandbox.data.dataset import Dataset
    from cekat_async.sandbox.data.given import SupportsToDict


class EditableAccount:
    """The conversations and inboxes of a sandbox."""

    def __init__(self, dataset: Dataset, lock: Lock) -> None:
        self._dataset = dataset
        self._listing = dataset.listing
        # The server uses the same lock, so that no record changes while a reply is built.
        self._lock = lock

    @property
    def inbox_ids(self) -> list[str]:
        """The ids of all inboxes, in listing order."""
        return list(self._dataset.account.inbox_ids)

    def inbox_records(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the JSON of every inbox, in listing order.

        Examples:
            >>> len(list(sandbox.inbox_records()))
            8
        """
        for number, id_ in enumerate(self._dataset.account.inbox_ids):
            yield id_, self._dataset.inboxes.render(number)

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield the id and the current JSON of every conversation, byte for byte.

        The conversations are in listing order. Each is rendered when the loop reaches it, so do not
        change conversations during the loop.

        Examples:
            >>> len(list(sandbox.records()))
            250
        """
        for row in self._listing.rows():
            yield row[1], self._dataset.render(row)

    def record(self, id_: str) -> bytes:
        """Return the current JSON of one conversation.

        Args:
            id_: The id of the conversation.

        Raises:
            KeyError: There is no such conversation, or it was deleted.

        Examples:
            >>> id_ = sandbox.add(contact_name="Siti")
            >>> decode_conversation(sandbox.record(id_)).contact_name
            'Siti'
        """
        with self._lock:
            return self._dataset.record(self._get_number(id_))

    def count(self, inbox_id: str | None = None, stage_status: str | None = None) -> int:
        """Return how many conversations match now: none for an unknown inbox or status.

        Args:
            inbox_id: Count only conversations in this inbox. Default: all inboxes.
            stage_status: Count only conversations with this status. Default: any status.

        Examples:
            >>> sandbox.count()
            250
        """
        with self._lock:
            if inbox_id is None:
                return self._listing.count(None, stage_status)
            inbox = self._dataset.account.inbox_numbers.get(inbox_id)
            return 0 if inbox is None else self._listing.count(inbox, stage_status)

    def add(
        self,
        conversation: Mapping[str, Any] | SupportsToDict | None = None,
        /,
        **fields: Any,
    ) -> str:
        """Add a conversation, and return its id.

        The listing is sorted by last activity: the time of the last message or of creation,
        whichever is later. If you give neither time, the conversation is the most recently active
        one. An unknown ``inbox_id`` also adds an inbox, whose name is ``inbox_name``.

        Args:
            conversation: A whole conversation in the API's form: a mapping, or a record with
                ``to_dict()``. The server sends it unchanged, except that it adds an id if there is
                none. If you pass no conversation, the sandbox generates all fields that are not
                given, and the status is ``pending``.
            **fields: The fields of the conversation, by their names in the API. Any name and any
                JSON value are allowed.

        Raises:
            ValueError: There is already a conversation with this ``id``, ``id`` is not text, the
                account has no inbox, or a value is not JSON.

        Examples:
            >>> id_ = sandbox.add(contact_name="Siti", stage_status="assigned")
            >>> (await cekat.conversations.list().take(1))[0].contact_name
            'Siti'
        """
        with self._lock:
            return self._dataset.add(conversation, fields)

    def update(self, id_: str, /, **fields: Any) -> None:
        """Replace fields of a conversation.

        A new ``last_message`` moves the conversation to the time of that message. If the message
        has no ``created_at``, the conversation becomes the most recently active one. Other fields
        do not change its position. Use ``touch`` to move it to the front.

        Args:
            id_: The id of the conversation.
            **fields: The new values, by their names in the API. Other fields do not change.

        Raises:
            KeyError: There is no such conversation.
            ValueError: ``id`` is among the fields, or a value is not JSON.

        Examples:
            >>> id_ = sandbox.add(contact_name="Siti")
            >>> sandbox.update(id_, notes="VIP")
        """
        with self._lock:
            self._dataset.update(self._get_number(id_), fields)

    def assign(self, id_: str, agent: str | None) -> None:
        """Assign a conversation to an agent. Its status becomes ``assigned``.

        Its position in the listing does not change.

        Args:
            id_: The id of the conversation.
            agent: The name of the agent. An agent's id depends only on the name. With ``None``, no
                agent handles the conversation, and its status becomes ``pending``.

        Raises:
            KeyError: There is no such conversation.

        Examples:
            >>> id_ = sandbox.add()
            >>> sandbox.assign(id_, "Dewi")
            >>> decode_conversation(sandbox.record(id_)).handled_by_name
            'Dewi'
        """
        with self._lock:
            self._dataset.assign(self._get_number(id_), agent)

    def touch(self, id_: str) -> None:
        """Add a message to a conversation, so that it becomes the most recently active one.

        Args:
            id_: The id of the conversation.

        Raises:
            KeyError: There is no such conversation.

        Examples:
            >>> last, _ = list(sandbox.records())[-1]
            >>> sandbox.touch(last)
            >>> (await cekat.conversations.list().take(1))[0].id == last
            True
        """
        with self._lock:
            self._listing.touch(self._get_number(id_))

    def create(self) -> str:
        """Create the newest conversation, and return its id.

        Raises:
            ValueError: The account has no inbox.

        Examples:
            >>> id_ = sandbox.create()
            >>> sandbox.count()
            251
        """
        with self._lock:
            return self._listing.get_sort_key(self._listing.create())[1]

    def resolve(self, id_: str) -> None:
        """Resolve a conversation. Its position in the listing does not change.

        Args:
            id_: The id of the conversation.

        Raises:
            KeyError: There is no such conversation.

        Examples:
            >>> id_ = sandbox.add()
            >>> sandbox.resolve(id_)
        """
        with self._lock:
            self._listing.resolve(self._get_number(id_))

    def delete(self, id_: str) -> None:
        """Remove a conversation.

        Args:
            id_: The id of the conversation.

        Raises:
            KeyError: There is no such conversation.

        Examples:
            >>> sandbox.delete(sandbox.add())
            >>> sandbox.count()
            250
        """
        with self._lock:
            self._listing.delete(self._get_number(id_))

    def _get_number(self, id_: str) -> int:
        number = self._listing.find(id_)
        if number is None:
            raise KeyError(f"the sandbox has no conversation {id_!r}")
        return number
