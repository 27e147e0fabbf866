"""A file of metrics in the text format of Prometheus, for node_exporter's textfile collector.

This module implements the format itself, so that a job needs no other library. The tests parse the
result with Prometheus's own parser.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

from cekat_async import ConfigurationError
from cekat_async.export.sinks.file_system import add_suffix, require_file_place, resolve_link
from cekat_async.redaction import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Gauge", "MetricsFile", "require_metrics_place"]

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Gauge(NamedTuple):
    """One metric and its values.

    Attributes:
        name: The name of the metric.
        text: The description of the metric.
        values: The values of the metric, by the value of ``label``. Without a label, the only key
            is ``""``.
        label: The name of the label that distinguishes the values. Empty for no label.
    """

    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""


class MetricsFile:
    """A file of metrics, which is replaced as a whole.

    Args:
        path: The file.
        labels: The labels that all values in the file have.
    """

    def __init__(self, path: Path, labels: Mapping[str, str]) -> None:
        self._path = resolve_link(path)
        self._labels = labels

    def read(self, name: str) -> float | None:
        """Return the value of a metric in the file, or ``None`` if the file does not have it."""
        begin = f"{name}{self._render_labels()} "
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            return next(
                (float(line[len(begin) :]) for line in lines if line.startswith(begin)), None
            )
        except (OSError, ValueError):
            return None

    def render(self, gauges: Iterable[Gauge]) -> str:
        """Return metrics as text for the file."""
        return "".join(line + "\n" for gauge in gauges for line in self._render(gauge))

    def write(self, text: str) -> None:
        """Replace the content of the file.

        Raises:
            OSError: The file cannot be written. Its content is unchanged.
        """
        # node_exporter reads only names that end in .prom.
        # The name is random, because other users may have rights in this folder, and other
        # processes may write the same file.
        temporary = add_suffix(self._path, f".{secrets.token_hex(8)}.tmp")
        try:
            # Mode "x" creates a new file and never follows a symbolic link. The umask decides who
            # may read the file, because the exporter may be another user.
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _render(self, gauge: Gauge) -> Iterable[str]:
        yield f"# HELP {gauge.name} {gauge.text}"
        yield f"# TYPE {gauge.name} gauge"
        for key, value in gauge.values.items():
            more = {gauge.label: key} if gauge.label else {}
            yield f"{gauge.name}{self._render_labels(more)} {value}"

    def _render_labels(self, more: Mapping[str, str] | None = None) -> str:
        labels = {**self._labels, **(more or {})}
        pairs = (
            f'{name}="{readable(value).translate(_ESCAPES)}"' for name, value in labels.items()
        )
        return "{" + ",".join(pairs) + "}"


def require_metrics_place(path: Path) -> None:
    """Raise ConfigurationError unless a file of metrics can be written at a path."""
    try:
        real = resolve_link(path)
        require_file_place(real, str(path))
        if not os.access(real.parent, os.W_OK):
            raise PermissionError(None, f"the folder {real.parent} cannot be written")
    except OSError as error:
        raise ConfigurationError(f"--metrics-file {path}: {error.strerror}") from None
