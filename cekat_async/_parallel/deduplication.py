"""Deduplication: a filter that removes the records that a walk has yielded before."""

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
    """Reduces the pages of a walk to the records that it has not yielded before."""

    def __init__(self, walk: ParallelWalk) -> None:
        self._walk = walk
        self._seen = HashSet()

    def reduce(self, page: ConversationPage) -> ConversationPage | None:
        """Return the new part of a page; ``None`` if it has records, and none of them is new.

        Its ``next_cursor`` is where a sequential walk would find all that has not been yielded.
        """
        is_new = [self._seen.add(hash_name(name)) for name in record_names(page)]
        if is_new and not any(is_new):
            return None
        return msgspec.structs.replace(only(page, is_new), next_cursor=self._walk.head_cursor)
