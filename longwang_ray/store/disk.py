"""A disk: objects are files that appear whole or not at all, and are never overwritten.

    put once : write a temporary file beside the place, fsync, *link* it to its name (which fails
               if the name exists), unlink the temporary name

fsspec's own ``mode='create'`` looks first and writes then, and a rename overwrites.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_PART = ".part"
#: A temporary file of another machine is left alone for so long: its writer may be alive.
_STALE_SECONDS = 3600.0
_REFUSALS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota is used up; make room",
    errno.EROFS: "the disk is read-only; choose another path",
    errno.EACCES: "this user may not write there; change its permissions or choose another path",
    errno.EPERM: "this user may not write there; change its permissions or choose another path",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EISDIR: "there is a folder where a file must be; choose another path",
    errno.ENOENT: "the folder cannot be made; choose another path",
    errno.ENAMETOOLONG: "the path is too long; choose another one",
}
#: What network disks say when their server is away for a while.
_PASSING = (
    *(errno.EIO, errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.ENETDOWN),
    *(errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH),
)


class Disk:
    """Files below a folder."""

    at_once = 2
    """Listings that pay beside each other: names come from memory, as fast as they are read."""

    def probe(self, root: str, seconds: float) -> None:
        """Write and remove a small file in the folder, or where it will be made.

        Raises:
            OSError: It cannot be done.
        """
        folder = _existing(Path(root))
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file", str(folder))
        _write_part(folder / "probe", b"").unlink()

    def room(self, root: str) -> int | None:
        """Return the bytes that are free."""
        return shutil.disk_usage(_existing(Path(root))).free

    def put_once(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        """Write a file unless there is one; return whether it was written. Keeps no metadata."""
        target = Path(path)
        if target.exists():
            return False
        part = _write_part(target, data)
        try:
            os.link(part, target)
        except FileExistsError:
            return False
        except OSError as error:  # exFAT, some mounts: no links, so the gap is small but there is
            no_links = error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP)
            if not no_links or target.exists():
                raise
            os.rename(part, target)
        finally:
            part.unlink(missing_ok=True)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write a file whatever was there, whole."""
        target = Path(path)
        os.replace(_write_part(target, data), target)

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        try:
            return Path(path).read_bytes()
        except (NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(errno.ENOENT, "no such file", path) from error

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(path)

    def move(self, path: str, new: str) -> None:
        """Give a file another name, which nothing must have; in one step."""
        Path(new).parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, "is there already", new)
        os.rename(path, new)

    def page(self, path: str, token: str | None) -> tuple[Iterator[str], str | None]:
        """Return the paths of all files below a folder; one page holds them all, lazily."""
        return _walk(path), None

    def there(self, wanted: Iterable[str]) -> Iterator[str]:
        """Yield which of some files exist; each is asked for: folders take ten times as long."""
        return filter(os.path.isfile, wanted)

    def sweep(self, root: str) -> int:
        """Remove temporary files that dead writers left behind; return how many."""
        swept = 0
        for path in map(Path, _walk(root, parts=True)):
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
                swept += 1
        return swept

    def passes(self, error: Exception) -> bool:
        """Whether trying again may help."""
        return isinstance(error, OSError) and error.errno in _PASSING

    def refusal(self, error: Exception) -> str | None:
        """Return what is wrong for good, and what to do; None if it is something else."""
        return _REFUSALS.get(error.errno or 0) if isinstance(error, OSError) else None


def _existing(path: Path) -> Path:
    """Return the nearest part of a path that exists."""
    path = path.absolute()
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))


def _walk(folder: str, parts: bool = False) -> Iterator[str]:
    """Yield all files below a folder, without asking each what it is; or the temporary ones."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, parts)
            elif entry.name.endswith(_PART) == parts:
                yield entry.path


def _part_of(target: Path) -> Path:
    """Name a temporary file after its machine and process, so that others know whose it is."""
    owner = f"{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}"
    return target.with_name(f".{target.name}~{owner}{_PART}")


def _write_part(target: Path, data: bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target)
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _is_abandoned(part: Path) -> bool:
    """Whether the writer of a temporary file is surely gone."""
    try:
        _, host, process, _ = part.name.rsplit("~", 3)
        if host == socket.gethostname():
            return not _is_alive(int(process))
        return time.time() - part.stat().st_mtime > _STALE_SECONDS
    except (ValueError, FileNotFoundError):  # not one of ours, or just gone
        return False


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return True
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
