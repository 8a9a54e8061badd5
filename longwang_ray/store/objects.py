"""Objects of a store: written once and whole, listed, read; on a disk, in a bucket, in memory.

    put_once : (key, bytes) → created | already there

An object appears whole or not at all, and whoever comes second never overwrites. Buckets do this
with a conditional request (``mode='create'``). On a disk it is: write a temporary file beside the
place, fsync, *link* it to its name (which fails if the name exists), unlink the temporary name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_PART = ".part"
#: A temporary file of another machine is left alone for so long: its writer may be alive.
_STALE_SECONDS = 3600.0


class StoreError(RuntimeError):
    """A store is not as it must be; the message says what, where and what to do."""


class Place:
    """A store's root, on any filesystem that fsspec knows.

    Args:
        url: Path or URL, e.g. ``runs/out.zarr``, ``gs://bucket/out.zarr``, ``memory://out.zarr``.
        storage_options: Passed to the filesystem; never written anywhere.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        protocol = url.split("://", 1)[0] if "://" in url else "file"
        if protocol in ("gs", "gcs"):  # measured: it costs 41 s an operation on emulators
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        self.url = url
        self.options = dict(storage_options or {})
        self.fs, root = fsspec.core.url_to_fs(url, **self.options)
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self._metadata_argument = {"gs": "metadata", "gcs": "metadata", "s3": "Metadata"}.get(
            protocol
        )

    def path(self, key: str) -> str:
        """Return the full path of a key."""
        return f"{self.root}/{key}"

    def put_once(self, key: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        """Write an object unless there is one; return whether it was written.

        Args:
            key: Place below the root.
            data: The whole object.
            metadata: Kept with the object where the filesystem can (buckets).
        """
        if self.is_local:
            return _link_once(Path(self.path(key)), data)
        name = self._metadata_argument
        extra = {name: dict(metadata)} if name and metadata else {}
        try:
            self.fs.pipe_file(self.path(key), data, mode="create", **extra)
        except FileExistsError:
            return False
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Write an object whatever was there, whole: for the driver's metadata and summaries."""
        if not self.is_local:
            self.fs.pipe_file(self.path(key), data)
            return
        target = Path(self.path(key))
        part = _write_part(target, data)
        os.replace(part, target)

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None if there is none."""
        try:
            return bytes(self.fs.cat_file(self.path(key)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def listing(self, prefix: str) -> Iterator[str]:
        """Yield the keys of all objects below a prefix (a folder), as they are now."""
        if self.is_local:
            yield from self._walk(prefix)
            return
        self.fs.invalidate_cache()
        for path in self.fs.find(self.path(prefix)):
            yield str(path)[len(self.root) + 1 :]

    def _walk(self, prefix: str) -> Iterator[str]:
        for folder, _, files in os.walk(self.path(prefix)):
            below = os.path.relpath(folder, self.root).replace(os.sep, "/")
            yield from (f"{below}/{name}" for name in files if not name.endswith(_PART))

    def sweep(self) -> int:
        """Remove temporary files that dead writers left behind; return how many."""
        if not self.is_local:
            return 0
        swept = 0
        for folder, _, files in os.walk(self.root):
            for name in files:
                if name.endswith(_PART) and _is_abandoned(Path(folder, name)):
                    Path(folder, name).unlink(missing_ok=True)
                    swept += 1
        return swept


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


def _link_once(target: Path, data: bytes) -> bool:
    if target.exists():
        return False
    part = _write_part(target, data)
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError as error:  # exFAT, some mounts: no links, so the gap is small but there is one
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP) or target.exists():
            raise
        os.rename(part, target)
    finally:
        part.unlink(missing_ok=True)
    return True


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
