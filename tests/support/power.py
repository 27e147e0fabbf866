"""What is left on a disk when the power fails, at any moment of what a program does with files."""

import os

_CALLS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")


class Disk:
    """A folder that is watched, to tell what of it has reached the disk.

    The content of a file is what it was at its last ``fsync``: without one it is empty. The names
    in a folder are those at its last ``fsync``, and of what was renamed, made and removed since
    then all, nothing, or any one thing more or less: a file system may bring it to the disk in
    whatever order it likes.

    Use it in a ``with``. All that is in the folder then is on the disk.

    Attributes:
        states: What could be left at each moment: the content of each file by its name, ``None``
            for a folder.
        last: What could be left in the end.
    """

    def __init__(self, folder):
        self._folder = folder
        self._contents = {}
        self._names = {}  # of each folder, as they are on the disk
        self._changes = []  # since then: folder, name and inode of each, or None in its place
        self._seen = {}
        self._folders = set()
        self._kept = {}
        self.states = []
        self.last = []

    def __enter__(self):
        for path in self._paths():
            self._sync(path)
        self._seen = self._names_now()
        self._originals = {name: getattr(os, name) for name in _CALLS}
        for name, original in self._originals.items():
            setattr(os, name, self._watched(original))
        return self

    def __exit__(self, *_):
        for name, original in self._originals.items():
            setattr(os, name, original)
        self._look()
        for file in self._kept.values():
            os.close(file)

    def _watched(self, original):
        def call(*arguments, **options):
            self._look()
            if original is self._originals["fsync"]:
                self._sync(self._get_path(*arguments))
            return original(*arguments, **options)

        return call

    def _look(self):
        """Note what would be left now."""
        now = self._names_now()
        if change := _difference(self._seen, now):
            self._changes.append(change)
        self._seen = now
        some = [self._changes, [], *([one] for one in self._changes)]
        some += [[one for one in self._changes if one is not other] for other in self._changes]
        self.last = [self._left(changes) for changes in some]
        self.states += [state for state in self.last if state not in self.states]

    def _left(self, changes):
        """Return what would be left, if these changes had reached the disk."""
        names = {folder: dict(inodes) for folder, inodes in self._names.items()}
        for folder, name, inode in (one for change in changes for one in change):
            names.setdefault(folder, {})[name] = inode
        left = {}
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

    def _sync(self, path):
        inode = self._inode(path)
        if path.is_dir():
            self._names[inode] = self._names_in(path)
            rest = [[one for one in change if one[0] != inode] for change in self._changes]
            self._changes = [change for change in rest if change]
        else:
            self._contents[inode] = path.read_bytes()

    def _paths(self):
        return [self._folder, *self._folder.rglob("*")]

    def _get_path(self, file):
        return next(p for p in self._paths() if os.path.samestat(p.stat(), os.fstat(file)))

    def _names_now(self):
        return {self._inode(path): self._names_in(path) for path in self._paths() if path.is_dir()}

    def _names_in(self, folder):
        return {path.name: self._inode(path) for path in folder.iterdir()}

    def _inode(self, path):
        inode = path.stat().st_ino
        if path.is_dir():
            self._folders.add(inode)
        if inode not in self._kept:
            # Open, so that no other file gets its number.
            self._kept[inode] = os.open(path, os.O_RDONLY)
        return inode


def _difference(before, now):
    """Return which names in which folders are those of something else than before."""
    return [
        (folder, name, now.get(folder, {}).get(name))
        for folder in before.keys() | now.keys()
        for name in before.get(folder, {}).keys() | now.get(folder, {}).keys()
        if before.get(folder, {}).get(name) != now.get(folder, {}).get(name)
    ]


def laid_out(state, folder):
    """Make a folder that holds what would be left, and return it."""
    folder.mkdir()
    for name, content in state.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
    return folder
