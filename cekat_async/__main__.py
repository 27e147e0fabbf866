"""The entry point of the command line. The extra ``cli`` may not be installed."""

import signal
import sys
from importlib.util import find_spec

__all__ = ["main"]

_EXTRA = ("click", "rich")
# Members of ExitCode in cekat_async.cli, which cannot be imported without the extra.
_MISSING_EXTRA, _TERMINATED = 8, 143


def main() -> int:
    """Run the command line, or print how to install it, and return the exit code."""
    # Do not import the libraries here: this is slow, and most commands need only one of them at
    # first.
    for library in _EXTRA:
        if find_spec(library) is None:
            print(  # noqa: T201 - this is the command line
                f"cekat: the command line needs {library}: pip install 'cekat-async[cli]'",
                file=sys.stderr,
            )
            return _MISSING_EXTRA
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        from cekat_async.cli import run  # noqa: PLC0415 - after the check above

        return run()
    finally:
        # A program that calls this function may continue to run.
        signal.signal(signal.SIGTERM, previous)


def _terminate(*_: object) -> None:
    """Exit on SIGTERM. The first process of a container would ignore SIGTERM by default."""
    sys.exit(_TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
