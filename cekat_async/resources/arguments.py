"""Arguments that several public functions share, and what is wrong with them."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from cekat_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["takes_page_size"]

P = ParamSpec("P")
T = TypeVar("T")


def takes_page_size(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function refuse ``limit=`` with an error that names ``page_size`` instead.

    ``list(limit=10)`` reads as "ten conversations", but would cost ten times the requests. Type
    checkers see the function as it is.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if "limit" in kwargs:
            raise ConfigurationError(
                f"{function.__name__}() takes page_size=…, the number of records per request, "
                "in place of limit"
            )
        return function(*args, **kwargs)

    return checked
