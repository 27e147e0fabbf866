"""Where an export's records go, once all of them have come: one small interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cekat_async.export.manifest import Manifest

__all__ = ["Lookup", "Records", "Sink"]


class Records(Protocol):
    """The records of an export: each conversation once, as it came last.

    May be iterated as often as one likes, and brings batches of records in little memory. Each is
    the JSON of one record exactly as the API sent it, without line breaks. When the export is
    stopped, the iteration raises: let that pass, and clean up behind you.
    """

    def __iter__(self) -> Iterator[list[bytes]]:
        """Bring the records, batch by batch (about a page each)."""
        ...

    def __len__(self) -> int:
        """Return how many records there are."""
        ...


class Sink(Protocol):
    """What an export is written to, at once, when it has all records.

    Until then they are in the export's checkpoint, so that a sink has one thing to do, which may
    be done again: after a crash in the middle of :meth:`publish`, that is called once more by
    another process, with the same records.

    The methods are called in a thread of their own, one after the other, and may block. ``open``
    comes first and ``close`` last, whatever happens between. Each raises
    :class:`~cekat_async.TargetError` where the target does not play along.
    """

    target: str
    """Where the records are, once the export is whole, for a person and for the manifest.

    It holds no password.
    """

    checkpoint: Path | None
    """Where the checkpoint is best kept: beside the target. ``None`` if there is no such place."""

    def open(self) -> None:
        """Make sure that the target can be written, before the first request is spent.

        Until :meth:`close`, no other export should be able to open the same target.

        Raises:
            TargetBusyError: Another export has opened it.
        """
        ...

    def manifest(self) -> Manifest | None:
        """Return the manifest of the last export into the target, if there was one.

        Raises:
            ReplacementRefusedError: There is one that cannot be read, so that nothing is known of
                what the target holds. An export with ``replace`` goes on as without a manifest.
        """
        ...

    def verify(self, manifest: Manifest) -> None:
        """Make sure that the target is what that export left, before anything is added to it.

        Raises:
            TargetError: It was changed by somebody else.
        """
        ...

    def stored(self) -> Iterable[list[bytes]] | None:
        """Return all records that the target holds, which an incremental export adds to.

        ``None`` if :meth:`publish` leaves what is there in place, and replaces by id. A target
        that returns records is replaced by an export, and so is protected: see
        :class:`~cekat_async.ReplacementRefusedError`.
        """
        ...

    def publish(self, records: Records, manifest: Manifest) -> Manifest:
        """Write all records, and make them visible at once when the last one is durable.

        A reader sees what was there before, or all that is new, and nothing between.

        Returns:
            The manifest as it was stored, with the target's checksum where it has one.
        """
        ...

    def close(self) -> None:
        """Let go of everything, also after a failure. It raises nothing."""
        ...


@runtime_checkable
class Lookup(Protocol):
    """An optional method of a sink that can look up records by id.

    An export calls it when the API key has changed: an id that the target knows proves that the
    account is still the same. Without it an export reads what :meth:`Sink.stored` returns.
    """

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of some ids that the target holds a record for."""
        ...
