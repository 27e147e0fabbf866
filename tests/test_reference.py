"""The reference pages of the documentation list exactly what the code has."""

import ast
import re
from inspect import getdoc, getsource, signature
from itertools import zip_longest
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

import cekat_async
from cekat_async import errors, sandbox
from cekat_async._api.status import get_error_class
from cekat_async._request.retry import is_retryable
from cekat_async.cli import settings
from cekat_async.cli.app import app
from cekat_async.cli.commands.export_metrics import ExportCounts, ExportMetrics
from cekat_async.cli.exit_codes import ExitCode, get_exit_code
from cekat_async.cli.reporter import Reporter
from cekat_async.export.manifest import Filters, Manifest, Partition
from cekat_async.export.sinks.base import CHECKPOINT
from cekat_async.export.sinks.databases.duckdb import DuckdbSink
from cekat_async.export.sinks.databases.postgres import PostgresSink
from cekat_async.export.sinks.databases.sqlite import SqliteSink
from cekat_async.export.sinks.files.manifest_file import ManifestFile
from cekat_async.export.sinks.files.parquet_folder import ParquetFolderSink
from cekat_async.export.sinks.lock import LOCK
from cekat_async.frames.arrow import ArrowBuilder
from cekat_async.frames.arrow_arrays import BufferArrays
from cekat_async.frames.columns import COLUMNS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# The package may be installed from a wheel.
PACKAGE = Path(cekat_async.__file__).parent


def read_page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def get_anchors(text: str) -> set[str]:
    """Get the anchors of the headings of a page, in the form that the site gives them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


def get_code_files() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])


def test_code_refers_to_pages_that_exist():
    """Each page or section of the documentation to which the code refers exists."""
    named = {
        (page, anchor)
        for path in get_code_files()
        for page, anchor in re.findall(
            r"\bdocs/([\w/-]+\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8")
        )
    }

    assert ("api.md", "limits") in named
    assert {
        (page, anchor)
        for page, anchor in named
        if not (DOCS / page).exists() or (anchor and anchor not in get_anchors(read_page(page)))
    } == set()


def read_rows(page: str, section: str | None = None) -> list[list[str]]:
    """Read the cells of the tables in a section, without headings.

    Without a section, read the part before the first one.
    """
    begin = r"\A#" if section is None else rf"^#+ {section}\n"
    found = re.search(rf"{begin}(.*?)(?=^#+ |\Z)", read_page(page), re.MULTILINE | re.DOTALL)
    assert found, section
    text = found[1]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    headings = {number - 1 for number, line in enumerate(lines) if set(line) <= set("|-")}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for number, line in enumerate(lines)
        if number not in headings and number - 1 not in headings
    ]


def get_names(cell: str) -> list[str]:
    """Get the names that a cell shows as code."""
    return re.findall(r"`([^`]+)`", cell)


def test_errors_are_complete():
    """The table lists each error class once, after its base class."""
    above = [errors.CekatError]
    listed = []
    for cell, *_ in read_rows("reference/errors.md", "All classes"):
        depth, (name,) = cell.count("↳"), get_names(cell)
        kind = getattr(errors, name)
        if listed:
            above[depth + 1 :] = [kind]
            assert kind.__bases__[0] is above[depth], name
        listed.append(name)

    assert sorted(listed) == sorted(errors.__all__)


STATUSES = {
    errors.BadRequestError: 400,
    errors.AuthenticationError: 401,
    errors.PermissionDeniedError: 403,
    errors.NotFoundError: 404,
    errors.RateLimitError: 429,
    errors.ServerError: 503,
    errors.APIStatusError: 418,
}


@pytest.mark.parametrize("row", read_rows("reference/errors.md", "All classes")[1:], ids="".join)
def test_errors_are_retried_as_documented(row):
    """The table says which errors are retried. It also has the exit code of each error."""
    cell, _when, retried, code, _advice = row
    kind = getattr(errors, get_names(cell)[0])
    error = kind("", status=STATUSES[kind]) if kind in STATUSES else kind("")

    assert is_retryable(error) == retried.startswith("yes")
    assert get_exit_code(error) == int(re.findall(r"\d+", code)[0])


@pytest.mark.parametrize("row", read_rows("reference/errors.md", "By HTTP status"), ids="".join)
def test_statuses_have_the_documented_class(row):
    """The table has the error class of each status."""
    statuses = [int(status) for status in re.findall(r"\d+", row[0])] or [302, 408, 418]

    assert {get_error_class(status).__name__ for status in statuses} == set(get_names(row[1]))


def test_attributes_of_errors_are_complete():
    """The table lists each attribute that an error class documents, and that class."""
    described = {
        (kind, name)
        for kind in errors.__all__
        for name in re.findall(
            r"^    (\w+): ",
            getdoc(getattr(errors, kind)).partition("Attributes:")[2],
            re.MULTILINE,
        )
    }
    listed = {
        (kind, name)
        for names, kinds, _ in read_rows("reference/errors.md", "Attributes")
        for name in get_names(names)
        for kind in get_names(kinds) or ["CekatError"]
    }

    assert described <= listed
    assert all(is_attribute(getattr(errors, kind), name) for kind, name in listed)


def is_attribute(kind: type, name: str) -> bool:
    return hasattr(kind, name) or f"self.{name} =" in getsource(kind)


def test_exit_codes_are_complete():
    """The table lists each exit code with its name."""
    listed = {(int(row[0]), *get_names(row[1])) for row in read_rows("reference/exit-codes.md")}

    assert listed == {(code.value, code.name) for code in ExitCode}


TYPES = {
    settings._TEXT: "text",
    settings._PATH: "text",
    settings._NUMBER: "whole number",
    settings._SWITCH: "true or false",
    settings._RATE: "text or whole number",
    settings._SHARE: "number",
    settings._TEXTS: "text or list of texts",
}


def test_settings_are_complete():
    """The table lists each setting with its variable, its type and its commands."""
    parameters = settings._find_settable(app)
    expected = {
        name: (
            parameters[name].envvar if name in parameters else None,
            TYPES[kind],
            "export" if name in get_export_settings() else "all but sandbox",
        )
        for name, kind in settings._get_kinds(parameters).items()
    }
    # The two ways to pass an API key are no ordinary options.
    expected["api_key_file"] = ("CEKAT_API_KEY_FILE", "text", "all but sandbox")
    listed = {
        name: (variable, kind, commands.replace("`", ""))
        for names, variables, kind, commands, _ in read_rows(
            "reference/settings.md", "All settings"
        )
        for name, variable in zip_longest(get_names(names), get_names(variables))
    }

    assert listed == expected


def get_export_settings() -> set[str]:
    """Get the settings that only ``cekat export`` has."""
    others = {
        parameter.name
        for name, command in app.commands.items()
        if name != "export"
        for parameter in command.params
        if parameter.envvar
    }
    mine = {parameter.name for parameter in app.commands["export"].params if parameter.envvar}
    return mine - others


def test_settings_name_each_variable():
    """The page names each environment variable that sets an option."""
    page = read_page("reference/settings.md")

    assert {
        parameter.envvar
        for command in app.commands.values()
        for parameter in command.params
        if parameter.envvar and f"`{parameter.envvar}`" not in page
    } == set()


def test_the_settings_file_of_the_page_is_valid(tmp_path):
    """The settings file on the page is valid, and so is each of its profiles."""
    (text,) = re.findall(
        r"^```toml\n(.*?)^```", read_page("reference/settings.md"), re.MULTILINE | re.DOTALL
    )
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    parameters = settings._find_settable(app)

    for profile in ("acme", "globex"):
        found = settings._read_settings(str(path), profile, parameters)
        assert found.has_own_key
        assert found.values["rate_limit"] == "150/60"


def test_columns_are_complete():
    """The table lists each column of a table, in order, with its kind."""
    listed = [
        (get_names(name)[0], kind)
        for name, kind, *_ in read_rows("reference/table-columns.md", "Columns")
    ]

    assert dict(listed) == dict(PostgresSink.kinds)
    assert [name for name, _ in listed] == list(PostgresSink.kinds)


def test_types_of_columns_are_those_of_the_databases():
    """For each kind of column, the table has the type in each database and in Arrow."""
    rows = {row[0]: row[2:] for row in read_rows("reference/table-columns.md", "Types")}
    arrow = {
        column.kind: str(type_)
        for column, type_ in zip(COLUMNS, ArrowBuilder(BufferArrays("")).schema.types, strict=True)
        if column.name != "labels"
    }

    assert rows.keys() == PostgresSink.types.keys()
    for number, types in enumerate((arrow, SqliteSink.types, DuckdbSink.types, PostgresSink.types)):
        for kind, type_ in types.items():
            assert get_names(rows[kind][number])[0] == type_, kind


@pytest.mark.parametrize(
    "section, kind",
    [("Fields of the manifest", Manifest), ("Filters", Filters), ("Partitions", Partition)],
)
def test_fields_of_the_manifest_are_complete(section, kind):
    """The tables list each field of a manifest, with its name in JSON."""
    rows = read_rows("reference/manifest.md", section)

    assert sorted(name for names, _ in rows for name in get_names(names)) == sorted(
        field.encode_name for field in msgspec.structs.fields(kind)
    )


def test_files_of_an_export_are_complete(tmp_path):
    """The table lists the files that an export can leave next to its target."""
    listed = {
        name.removeprefix("TARGET")
        for row in read_rows("reference/manifest.md", "Files next to a target")
        for name in get_names(row[0])
    }
    sink = ParquetFolderSink(tmp_path / "x.parquet")
    manifest = ManifestFile(sink.path)

    assert listed - {f"{CHECKPOINT}-journal"} == {CHECKPOINT, LOCK} | {
        str(path).removeprefix(str(sink.path))
        for path in (sink.new, sink._old, manifest.path, manifest.new)
    }


def test_events_of_the_log_are_complete():
    """The table lists each kind of event that ``--log-format json`` can write."""
    sources = [path.read_text(encoding="utf-8") for path in (PACKAGE / "cli").rglob("*.py")]
    written = {name for source in sources for name in re.findall(r'event="(\w+)"', source)}
    # The two kinds that the reporter itself chooses: for a log record, and by default.
    expected = written | {"log", "message"}

    assert {
        name
        for row in read_rows("reference/manifest.md", "JSON events")
        for name in get_names(row[0])
    } == expected


NAME = re.compile(r"(?:cekat|http|url|server|error)\.[a-z_.]+")


def test_names_of_telemetry_are_complete():
    """The page lists exactly the attributes and the metrics that the package has."""
    folder = PACKAGE / "telemetry"
    literals = {
        node.value
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = {name for name in literals if NAME.fullmatch(name)}

    assert "cekat.quota.usage" in names
    page = read_page("reference/telemetry.md")
    assert {name for name in get_names(page) if NAME.fullmatch(name)} == names


def test_metrics_of_exports_are_complete(tmp_path):
    """The table lists each metric of ``--metrics-file`` with its label."""
    metrics = ExportMetrics(Reporter(), tmp_path / "x.prom", ExportCounts(), {})
    numbers = {f"cekat_export_{name}" for name, *_ in metrics._list_numbers(is_running=False)}
    labelled = {
        f"{gauge.name}{{{gauge.label}}}"
        for gauge in metrics._list_gauges(is_running=False)
        if gauge.label
    }

    rows = read_rows("reference/telemetry.md", "Metrics of export jobs")
    assert {name for names, _ in rows for name in get_names(names)} == numbers | labelled


@pytest.mark.parametrize(
    "section, kind",
    [("Quotas", sandbox.Quota), ("Dialects", sandbox.Dialect), ("Live accounts", sandbox.Live)],
)
def test_options_of_the_sandbox_are_complete(section, kind):
    """The tables list each option of the sandbox with its default and its values."""
    listed = {}
    for names, *cells in read_rows("reference/sandbox.md", section):
        defaults = cells[0].replace("`", "").split(", ") if len(cells) > 1 else [None]
        listed |= dict(zip_longest(get_names(names), defaults))
        for name in get_names(names):
            assert get_choices(kind, name) <= set(get_names(" ".join(cells))), name

    fields = {field.name: str(field.default) for field in msgspec.structs.fields(kind)}
    assert listed.keys() == fields.keys()
    assert {
        name: value for name, value in listed.items() if value not in {None, fields[name]}
    } == {}


def get_choices(kind: type, name: str) -> set[str]:
    """Get the values that an option allows. A number or a switch has none."""
    hint = get_type_hints(kind)[name]
    literals = [hint, *get_args(hint)]
    return {value for one in literals if get_origin(one) is Literal for value in get_args(one)}


def test_faults_of_the_sandbox_are_complete():
    """The tables list each fault, and each option of random faults."""
    names = [
        re.sub(r"^Fault\.|\(.*", "", name)
        for row in read_rows("reference/sandbox.md", "Faults")
        for name in get_names(row[0])
    ]
    faults = [name for name, one in vars(sandbox.Fault).items() if isinstance(one, classmethod)]

    assert names[: len(faults)] == faults
    assert sorted(names[len(faults) :]) == sorted(sandbox.Faults.__struct_fields__)


def test_arguments_of_the_sandbox_are_complete():
    """The table lists each argument of a sandbox.

    If the default is a number, the table has it.
    """
    parameters = signature(sandbox.Sandbox).parameters
    rows = read_rows("reference/sandbox.md", "Data")

    assert [name for names, *_ in rows for name in get_names(names)] == list(parameters)
    for names, default, _ in rows:
        for name, value in zip(get_names(names), default.split(", "), strict=True):
            if value.isdigit():
                assert parameters[name].default == int(value)


def test_the_glossary_is_in_order():
    """The terms of the glossary are in alphabetical order, and each term is explained once."""
    terms = re.findall(r"^## (.+)$", read_page("glossary.md"), re.MULTILINE)

    assert terms == sorted(set(terms), key=str.lower)
    assert len(terms) > 40


def read_texts() -> str:
    """Read every text in the code of the package.

    Each text is one line, with … for the parts that differ.
    """
    texts = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(part, "value", None) for part in node.values]
                texts.append("".join(part if isinstance(part, str) else "…" for part in parts))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(" ".join(text.split()) for text in texts)


# The code or the operating system puts these values into messages on the page.
VALUES = (
    "CEKAT_API_KEY_FILE", "CEKAT_API_KEY", "raw_exact", "client", "belongs to", "use one of",
    "are kept,", "the same command again", "connection refused", "No space left on device",
)  # fmt: skip


def split_message(line: str) -> list[str]:
    """Split a message of the page at each value, option, fact or advice."""
    values = "|".join([r"--[a-z-]+(?: FILE)?", *VALUES])
    pieces = re.split(rf"…|{values}|: |; | \(|[\[\]']", line.removeprefix("cekat: "))
    return [text for piece in pieces if len(text := piece.strip(" .,)")) > 1]


def test_messages_of_troubleshooting_are_those_of_the_code():
    """Each piece of a message on the page is still in a message of the package."""
    page, texts = read_page("how-to/troubleshooting.md"), read_texts()
    blocks = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]

    assert len(lines) > 50
    assert [
        line for line in lines if any(piece not in texts for piece in split_message(line))
    ] == []
