"""A model of what is on a disk after a power failure at any moment of a program."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeAlias

Names: TypeAlias = dict[int, dict[str, int | None]]
"""For each folder's inode, the inodes of the names in it. A removed name has None."""
Change: TypeAlias = list[tuple[int, str, int | None]]
"""For each changed name: the inode of its folder, the name, and its new inode."""
State: TypeAlias = dict[str, bytes | None]
"""The content of each file, by name. A folder has None."""

_CALLS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")


class Disk:
    """Watches a folder, and computes what a power failure would leave of it on the disk.

    On the disk, a file has the content of its last ``fsync``, or no content before the first
    one. A folder has the file names of its last ``fsync``. Later creations, renames and removals
    may reach the disk in any order. The model tries four cases: the disk has all of these
    changes, none of them, a single one, or all except one.

    Use it in a ``with`` statement. The folder's content at entry counts as written to the disk.

    Attributes:
        states: All states of the disk that were possible at any moment.
        last: The states of the disk that are possible at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._originals: dict[str, Callable[..., Any]] = {}
        self._contents: dict[int, bytes] = {}
        self._names: Names = {}  # The names that are on the disk.
        self._changes: list[Change] = []  # Later changes, which may not be on the disk.
        self._seen: Names = {}
        self._folders = set[int]()
        self._kept: dict[int, int] = {}
        self.states: list[State] = []
        self.last: list[State] = []

    def __enter__(self) -> Self:
        for path in self._paths():
            self._sync(path)
        self._seen = self._names_now()
        self._originals = {name: getattr(os, name) for name in _CALLS}
        for name, original in self._originals.items():
            setattr(os, name, self._watched(original))
        return self

    def __exit__(self, *_: object) -> None:
        for name, original in self._originals.items():
            setattr(os, name, original)
        self._look()
        for file in self._kept.values():
            os.close(file)

    def _watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._look()
            if original is self._originals["fsync"]:
                self._sync(self._get_path(*arguments))
            return original(*arguments, **options)

        return call

    def _look(self) -> None:
        """Record the states of the disk that are possible now."""
        now = self._names_now()
        if change := _difference(self._seen, now):
            self._changes.append(change)
        self._seen = now
        some: list[list[Change]] = [self._changes, [], *([one] for one in self._changes)]
        some += [[one for one in self._changes if one is not other] for other in self._changes]
        self.last = [self._left(changes) for changes in some]
        self.states += [state for state in self.last if state not in self.states]

    def _left(self, changes: Iterable[Change]) -> State:
        """Return the state of the disk after these changes have reached it."""
        names = {folder: dict(inodes) for folder, inodes in self._names.items()}
        for folder, name, inode in (one for change in changes for one in change):
            names.setdefault(folder, {})[name] = inode
        left: State = {}
        ahead = [("", self._inode(self._folder))]
        while ahead:
            prefix, folder = ahead.pop()
            for name, inode in names.get(folder, {}).items():
                if inode is None:
                    continue
                is_folder = inode in self._folders
                left[prefix + name] = None if is_folder else self._contents.get(inode, b"")
                ahead += [(f"{prefix}{name}/", inode)] * is_folder
        return left

    def _sync(self, path: Path) -> None:
        inode = self._inode(path)
        if path.is_dir():
            self._names[inode] = self._names_in(path)
            rest = [[one for one in change if one[0] != inode] for change in self._changes]
            self._changes = [change for change in rest if change]
        else:
            self._contents[inode] = path.read_bytes()

    def _paths(self) -> list[Path]:
        return [self._folder, *self._folder.rglob("*")]

    def _get_path(self, file: int) -> Path:
        return next(p for p in self._paths() if os.path.samestat(p.stat(), os.fstat(file)))

    def _names_now(self) -> Names:
        return {self._inode(path): self._names_in(path) for path in self._paths() if path.is_dir()}

    def _names_in(self, folder: Path) -> dict[str, int | None]:
        return {path.name: self._inode(path) for path in folder.iterdir()}

    def _inode(self, path: Path) -> int:
        inode = path.stat().st_ino
        if path.is_dir():
            self._folders.add(inode)
        if inode not in self._kept:
            # Keep the file open, so that no other file gets the same inode number.
            self._kept[inode] = os.open(path, os.O_RDONLY)
        return inode


def _difference(before: Names, now: Names) -> Change:
    """Return the names that changed, with their folders and their new inodes."""
    return [
        (folder, name, now.get(folder, {}).get(name))
        for folder in before.keys() | now.keys()
        for name in before.get(folder, {}).keys() | now.get(folder, {}).keys()
        if before.get(folder, {}).get(name) != now.get(folder, {}).get(name)
    ]


def laid_out(state: State, folder: Path) -> Path:
    """Create a folder with the content that ``state`` describes, and return the folder."""
    folder.mkdir()
    for name, content in state.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    return folder
