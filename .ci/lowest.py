"""Print pip constraints that pin everything the project declares to its lowest version.

Run it with the Python of an environment that has ``packaging``. The argument is the path of
pyproject.toml. Markers are evaluated for this Python.
"""

import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement


def lowest(requirement: Requirement) -> str:
    """Return the version of the ``>=`` bound."""
    (version,) = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    return version


def constraints(project: dict) -> Iterator[str]:
    """Yield a line for each requirement of the project and its extras."""
    declared = chain(project["dependencies"], *project["optional-dependencies"].values())
    for requirement in map(Requirement, declared):
        is_needed = requirement.marker is None or requirement.marker.evaluate()
        if is_needed and requirement.name != project["name"]:
            yield f"{requirement.name}=={lowest(requirement)}"


def main() -> None:
    """Print each of the lines once."""
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    print("\n".join(sorted(set(constraints(project)))))


if __name__ == "__main__":
    main()
