"""Built packages: the metadata with and without a project address, and the files of the sdist."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
import yaml

import cekat_async

ROOT = Path(__file__).parent.parent
ADDRESS = "https://example.org/team/project"
README = """\
# A title

![A picture](docs/a.svg), [a page](pages/a.md#part), [two
lines](LICENSE), [a section](#more), [elsewhere](https://example.org/x), `[code](x.md)`:

[![A badge](docs/b.svg)](pages/b.md)

```python
row[0](column)
```
"""


def copy_project(folder, address, readme=README):
    """Copy the files that a build reads, but use this project address and this README."""
    for name in ("LICENSE", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    package = folder / "cekat_async"
    package.mkdir()
    for name in ("__init__.py", "_version.py"):
        shutil.copy(Path(cekat_async.__file__).with_name(name), package)
    settings = folder / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    assert len(re.findall(r"^address = ", text, re.MULTILINE)) == 1
    text = re.sub(r'^address = ".*"', f'address = "{address}"', text, flags=re.MULTILINE)
    settings.write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(readme, encoding="utf-8")


def build(kind, source, target):
    """Build an sdist or a wheel without using a network, and return its path."""
    subprocess.run(  # noqa: S603 - our own build
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", target],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = target.iterdir()
    return built


def read_metadata(wheel):
    """Return the metadata of a wheel. The body of the metadata is the README."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        return BytesParser().parsebytes(archive.read(name))


@pytest.fixture
def metadata_with(tmp_path):
    """Return a function that builds a wheel with a given address, and returns its metadata."""

    def metadata_with(address, **options):
        source = tmp_path / "source"
        source.mkdir()
        copy_project(source, address, **options)
        return read_metadata(build("wheel", source, tmp_path / "built"))

    return metadata_with


def test_an_address_makes_links_absolute(metadata_with):
    """With a project address, relative links of the README point to the version's tag."""
    metadata = metadata_with(ADDRESS)
    readme = metadata.get_payload(decode=True).decode()
    blob, raw = (f"{ADDRESS}/{kind}/v{metadata['Version']}" for kind in ("blob", "raw"))

    assert f"![A picture]({raw}/docs/a.svg), [a page]({blob}/pages/a.md#part), [two" in readme
    assert f"lines]({blob}/LICENSE), [a section](#more), [elsewhere](https:" in readme
    assert f"[![A badge]({raw}/docs/b.svg)]({blob}/pages/b.md)" in readme
    assert "`[code](x.md)`" in readme
    assert "row[0](column)" in readme


def test_without_an_address_links_become_text(metadata_with):
    """Without a project address, the README's relative links and pictures become plain text."""
    readme = metadata_with("").get_payload(decode=True).decode()

    assert "A picture, a page, two\nlines, [a section](#more), [elsewhere](https:" in readme
    assert "\nA badge\n" in readme
    assert "row[0](column)" in readme


def test_an_address_gives_the_links_of_the_project(metadata_with):
    """With a project address, the metadata has links to source, changelog and issues."""
    links = dict(line.split(", ") for line in metadata_with(f"{ADDRESS}/").get_all("Project-URL"))

    assert links["Source"] == ADDRESS
    assert {"Changelog", "Issues"} < set(links)
    assert all(link.startswith(ADDRESS) for link in links.values())


def test_without_an_address_there_are_no_links(metadata_with):
    """Without a project address, the metadata has no links, because they would be dead."""
    assert metadata_with("").get_all("Project-URL") is None


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_the_readme_has_no_relative_link_when_it_is_built(metadata_with, address):
    """In the metadata, the project's README has no relative links, in Markdown or in HTML."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = metadata_with(address, readme=text).get_payload(decode=True).decode()
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", readme, flags=re.MULTILINE | re.DOTALL)

    assert re.findall(r"\]\((?!\w+:|#)[^)]*\)|^\[[^\]]+\]: (?!\w+:)\S+", prose, re.MULTILINE) == []
    assert re.findall(r"(?:src|srcset|href)=[\"'](?!\w+:|#)[^\"']*", prose) == []


def test_the_sdist_has_all_files_of_the_project(tmp_path):
    """The sdist has every file of the repository, so that the tests can run from an sdist."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a clone of the repository")
    listed = subprocess.run(  # noqa: S603 - a fixed command
        [git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    with tarfile.open(build("sdist", ROOT, tmp_path / "built")) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    missing = {name for name in listed.split("\0") if name and (ROOT / name).exists()} - packed
    assert missing == set()


def test_classifiers_name_supported_pythons():
    """Each Python version in the classifiers satisfies ``requires-python``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if " :: Python :: 3." in c]

    assert named[0] == oldest
    assert named == sorted(named, key=lambda version: int(version.partition(".")[2]))


def test_pre_commit_has_the_linters_of_the_lint_session():
    """pre-commit and ``nox -s lint`` use the same versions of the linters."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    pinned = {
        requirement
        for repo in hooks["repos"]
        for hook in repo["hooks"]
        for requirement in hook["additional_dependencies"]
        if not requirement.startswith("pre-commit-hooks")
    }
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert pinned <= set(groups["dependency-groups"]["lint"])
    assert len(pinned) == 3
