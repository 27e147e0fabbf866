"""The entry point of the command line, which is an extra and may not be installed."""

import sys

__all__ = ["main"]

# As in cekat_async.cli.ExitCode, which cannot be imported without the extra.
_MISSING_EXTRA = 8


def main() -> int:
    """Run the command line, or say how to install it; return the exit code."""
    try:
        from cekat_async.cli import run  # noqa: PLC0415 - imported only where it is wanted
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in {"click", "rich"}:
            raise
        print(  # noqa: T201 - this is the command line
            f"cekat: the command line needs {missing}: pip install 'cekat-async[cli]'",
            file=sys.stderr,
        )
        return _MISSING_EXTRA
    return run()


if __name__ == "__main__":
    sys.exit(main())
