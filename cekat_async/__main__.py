"""The entry point of the command line, which is an extra and may not be installed."""

import sys
from importlib.util import find_spec

__all__ = ["main"]

_EXTRA = ("click", "rich")
# As in cekat_async.cli.ExitCode, which cannot be imported without the extra.
_MISSING_EXTRA = 8


def main() -> int:
    """Run the command line, or say how to install it; return the exit code."""
    # Looked for and not imported: not all that is run needs all of it.
    for library in _EXTRA:
        if find_spec(library) is None:
            print(  # noqa: T201 - this is the command line
                f"cekat: the command line needs {library}: pip install 'cekat-async[cli]'",
                file=sys.stderr,
            )
            return _MISSING_EXTRA
    from cekat_async.cli import run  # noqa: PLC0415 - imported only where it is wanted

    return run()


if __name__ == "__main__":
    sys.exit(main())
