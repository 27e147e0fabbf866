"""Names: impossible file names are refused, and all others can be printed."""

import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cekat_async import CekatError, ConfigurationError, TargetError
from cekat_async.export import export_conversations, sink_for
from cekat_async.export.checkpoint import Checkpoint
from cekat_async.redaction import readable

# These are drawn from a list, because hypothesis would read a union of characters as a range.
SURROGATES = st.sampled_from([*"\ud800\ud83d\udc80\udce9\udcff\ude00\udfff"])
ANY_TEXT = st.lists(SURROGATES | st.characters()).map("".join)
SUFFIXES = [".jsonl", ".jsonl.zst", ".csv", ".parquet", ".parquet/", ".sqlite", ".duckdb"]


@given(ANY_TEXT)
def test_any_text_becomes_text_that_can_be_written(text):
    """A name in a message can always be encoded as UTF-8. Valid text is unchanged."""
    said = readable(text)

    said.encode()
    assert readable(said) == said
    assert said == text or any("\ud800" <= character <= "\udfff" for character in text)


@given(st.binary())
def test_a_file_name_is_shown_as_utf_8(name):
    """A name is shown the same way in any locale."""
    utf_8, ascii_ = (name.decode(locale, "surrogateescape") for locale in ("utf-8", "ascii"))

    assert readable(utf_8) == readable(ascii_) == name.decode(errors="backslashreplace")


@given(ANY_TEXT)
def test_every_error_can_be_written(text):
    """Any error can be printed and logged, even after pickling."""
    error = TargetError(f"cannot write {text}: no")

    str(error).encode()
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == error.message  # noqa: S301
    assert isinstance(error, CekatError)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["a\0b", "a\ud83db"])
def test_names_that_no_file_can_have(tmp_path, suffix, name):
    """A name with a NUL or with unencodable characters is refused before any request."""
    with pytest.raises(ConfigurationError, match="cannot"):
        sink_for(f"{tmp_path}/{name}{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b", "a\ud83db"])
def test_names_that_no_checkpoint_can_have(tmp_path, name):
    """A checkpoint's name with a NUL or with unencodable characters is refused."""
    with pytest.raises(ConfigurationError, match=r"cannot|no file can"):
        Checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    "options", [{"account": "a\udce9"}, {"inbox_ids": ["a\udce9"]}, {"stage_status": "a\udce9"}]
)
async def test_names_that_no_request_can_carry(account, tmp_path, options):
    """An account, inbox or status that no request can contain is refused before any request."""
    async with account(20) as a:
        with pytest.raises(ConfigurationError, match="UTF-8"):
            await export_conversations(a.client, tmp_path / "x.jsonl", **options)

        assert a.sandbox.log.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="names as POSIX has them")
async def test_a_file_whose_name_is_not_utf_8(account, tmp_path):
    """A target whose name is not UTF-8 is written, and its name is shown readably."""
    target = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    async with account(20) as a:
        report = await export_conversations(a.client, target)
        again = await export_conversations(a.client, target, incremental=True)

    assert [os.fsencode(path.name)[:4] for path in tmp_path.iterdir()] == [b"caf\xe9"] * 2
    assert report.target == again.manifest.target == f"{tmp_path}/caf\\xe9.jsonl"
