"""Containers without a container runtime: what the Dockerfile sets, in namespaces of Linux.

The root is a read-only view of this machine. It has no folder for temporary files: ``/tmp`` is
missing, or read-only if the project is in it. Only ``/data`` is writable. The command is process 1,
without any capability, under the image's user id.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"

# Arguments: an empty folder, the folder to show as /data, the working folder, the number of folders
# to show read-only and their names, the command. A folder in one that is shown is shown already.
_ENTER = """
set -e
root=$1 data=$2 work=$3 count=$4
shift 4
mount -t tmpfs none "$root"
while [ "$count" -gt 0 ]; do
    if [ -L "$1" ]; then
        cp -P "$1" "$root$1"
    elif [ -d "$1" ] && ! [ -d "$root$1/" ]; then
        mkdir -p "$root$1"
        mount --rbind "$1" "$root$1"
        mount -o remount,bind,ro "$root$1"
    fi
    count=$((count - 1))
    shift
done
mkdir "$root/data" "$root/proc" "$root/dev"
mount --rbind "$data" "$root/data"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . .
umount -l .
cd "$work"
exec setpriv --inh-caps=-all --ambient-caps=-all --no-new-privs -- "$@"
"""
_NEW = ("--mount", "--pid", "--fork", "--kill-child")
_SYSTEM = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64")


def read_instructions(name: str) -> list[str]:
    """Return the values of an instruction in the last stage of the Dockerfile."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    last = text[text.rindex("\nFROM ") :]
    return re.findall(rf"^{name} (.*)$", last, re.MULTILINE)


class Container:
    """Runs commands as the image would.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self._root = folder / "root"
        self._root.mkdir()
        self.user, self.group = read_instructions("USER")[0].split(":")
        self._environment = dict(
            setting.split("=", 1) for line in read_instructions("ENV") for setting in line.split()
        )
        # The environment of these tests has the program that the image has in /opt/cekat.
        self._environment["PATH"] = f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._work = read_instructions("WORKDIR")[0]
        self._entrypoint: list[str] = json.loads(read_instructions("ENTRYPOINT")[0])

    def start(
        self,
        *command: str,
        entrypoint: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        work: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command of ``cekat``, or another entry point."""
        shown = [*_SYSTEM, sys.base_prefix, str(ROOT), sys.prefix]
        environment = self._environment | {"LANG": "C.UTF-8"} | dict(env or {})
        user = ["--user", f"--map-user={self.user}", f"--map-group={self.group}", "--keep-caps"]
        folders = [str(self._root), str(self.data), work or self._work, str(len(shown)), *shown]
        whole = [*(entrypoint or self._entrypoint), *command]
        return subprocess.Popen(  # noqa: S603 - our own program
            ["unshare", *_NEW, *user, "/bin/sh", "-c", _ENTER, "sh", *folders, *whole],  # noqa: S607
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def run(self, *command: str, **options: Any) -> tuple[int, str, str]:
        """Run a command to its end; return its exit code, its output, and its messages."""
        with self.start(*command, **options) as process:
            out, err = process.communicate(timeout=300)
        return process.returncode, out.decode(), err.decode()

    def names(self) -> list[str]:
        """Return the names in the data folder, in alphabetical order."""
        return sorted(path.name for path in self.data.iterdir())

    def find_reason_against(self) -> str | None:
        """Return why this machine has no such containers; ``None`` if it has."""
        if shutil.which("unshare") is None:
            return "there is no unshare"
        code, _, err = self.run(entrypoint=["true"])
        return f"no namespaces here: {err.strip()}" if code else None


def find_first_process(process: subprocess.Popen[bytes]) -> int:
    """Return the id, outside of the container, of its process 1."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
