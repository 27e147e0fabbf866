"""Runs commands with the Dockerfile's settings in Linux namespaces, without a container runtime.

The root folder is a read-only view of this machine, and only ``/data`` is writable. There are no
temporary files: ``/tmp`` is missing, or read-only if the project is in it. The command runs as
process 1, with the image's user id and without capabilities.
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

# Arguments: an empty folder for the root, the folder for /data, the working folder, the number of
# read-only folders, their names, and the command. The script skips a folder that exists already
# because its parent is mounted.
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
    """Return the arguments of each instruction with this name in the Dockerfile's last stage."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text(encoding="utf-8"))
    last = text[text.rindex("\nFROM ") :]
    return re.findall(rf"^{name} (.*)$", last, re.MULTILINE)


class Container:
    """Runs commands like a container of the image.

    Args:
        folder: An empty folder for the container's files.
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
        # In the image, the program is in /opt/cekat. Here it is in this Python's environment.
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
        """Start the image's entry point, or another one, with these arguments."""
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
        """Run a command, and return its exit code, standard output and standard error."""
        with self.start(*command, **options) as process:
            out, err = process.communicate(timeout=300)
        return process.returncode, out.decode(), err.decode()

    def names(self) -> list[str]:
        """Return the sorted names of the files in the data folder."""
        return sorted(path.name for path in self.data.iterdir())

    def find_reason_against(self) -> str | None:
        """Return the reason why this machine cannot run such containers, or None if it can."""
        if shutil.which("unshare") is None:
            return "there is no unshare"
        code, _, err = self.run(entrypoint=["true"])
        return f"no namespaces here: {err.strip()}" if code else None


def find_first_process(process: subprocess.Popen[bytes]) -> int:
    """Return the host's process id for the container's process 1."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
