"""Deduplication: removes the records that a walk has yielded before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cekat_async._paging.hash_set import HashSet, hash_name
from cekat_async.pages import only, record_names

if TYPE_CHECKING:
    from cekat_async._parallel.walk import ParallelWalk
    from cekat_async.pages import ConversationPage

__all__ = ["EachOnce"]


class EachOnce:
    """Removes records from the pages of a walk if the walk has yielded them before."""

    def __init__(self, walk: ParallelWalk) -> None:
        self._walk = walk
        self._seen = HashSet()

    def reduce(self, page: ConversationPage) -> ConversationPage | None:
        """Return the new part of a page, or ``None`` if all its records were yielded before.

        A sequential walk from the ``next_cursor`` of the new page finds every record that was not
        yet yielded.
        """
        is_new = [self._seen.add(hash_name(name)) for name in record_names(page)]
        if is_new and not any(is_new):
            return None
        return msgspec.structs.replace(only(page, is_new), next_cursor=self._walk.head_cursor)
