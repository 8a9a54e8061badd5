"""Objects of a store: written once and whole, listed, read; on a disk, in a bucket, in memory.

    put_once : (key, bytes) → created | already there

An object appears whole or not at all, and whoever comes second never overwrites. A fault that
passes (a busy server, a line cut, no answer) is waited out: asked again with growing pauses, up to
a patience. One that does not (no bucket, no right, no room) is told at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from longwang_ray.store.cloud import Bucket
from longwang_ray.store.disk import Disk
from longwang_ray.store.errors import StoreError as StoreError
from longwang_ray.store.errors import StoreRefused, StoreUnreachable
from longwang_ray.store.gcs import Gcs
from longwang_ray.store.s3 import S3

log = logging.getLogger(__name__)
KINDS: Mapping[str, type[Bucket]] = {"gs": Gcs, "gcs": Gcs, "s3": S3, "s3a": S3}
T = TypeVar("T")
PATIENCE = 600.0
"""Seconds for which a place that does not answer is asked again."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
PROBE_SECONDS = 10.0
"""Before a run begins, a place must answer within so long."""


class Place:
    """A store's root, on any filesystem that fsspec knows.

    Args:
        url: Path or URL, e.g. ``runs/out.zarr``, ``gs://bucket/out.zarr``, ``memory://out.zarr``.
        storage_options: Passed to the filesystem; never written anywhere.
        patience: Seconds for which a place that does not answer is asked again.

    Raises:
        StoreError: There is no such filesystem, or a package is missing that knows it.
        StoreRefused: There are no credentials.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.url, self.patience = url, patience
        protocol = url.split("://", 1)[0] if "://" in url else "file"
        kind = KINDS.get(protocol, Bucket)
        self.options = kind.options(storage_options or {})
        try:
            self.fs, root = fsspec.core.url_to_fs(url, **self.options)
        except ImportError as error:
            raise StoreError(f"{url}: {_missing(protocol, error)}") from error
        except ValueError as error:
            raise StoreError(
                f"{url}: {_first_line(error)}; use a local path, gs://… or s3://…"
            ) from error
        except Exception as error:
            raise self._refused(kind(None, protocol).refusal(error), error) from error
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self._files = Disk() if self.is_local else kind(self.fs, protocol)

    def path(self, key: str) -> str:
        """Return the full path of a key."""
        return f"{self.root}/{key}"

    def put_once(self, key: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        """Write an object unless there is one; return whether it was written.

        Args:
            key: Place below the root.
            data: The whole object.
            metadata: Kept with the object where the filesystem can (buckets).

        Raises:
            StoreRefused: It cannot be written, now or later.
            StoreUnreachable: The place did not answer for long.
        """
        return self._try(key, lambda: self._files.put_once(self.path(key), data, metadata))

    def replace(self, key: str, data: bytes) -> None:
        """Write an object whatever was there, whole: for the driver's metadata and summaries."""
        self._try(key, lambda: self._files.replace(self.path(key), data))

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes, or None if there is none."""

        def read() -> bytes | None:
            try:
                return self._files.read(self.path(key))
            except FileNotFoundError:
                return None

        return self._try(key, read)

    def move(self, key: str, new: str) -> bool:
        """Give an object another name, which none has; return whether it has it now.

        It has not if there was no such object. That the new name exists tells of a move whose
        answer was lost.
        """

        def move() -> bool:
            try:
                self._files.move(self.path(key), self.path(new))
            except FileNotFoundError:
                return self._files.exists(self.path(new))
            return True

        return self._try(key, move)

    def listing(self, prefix: str) -> Iterator[str]:
        """Yield, lazily, the keys of all objects below a prefix (a folder), as they are now."""
        path, token, more = self.path(prefix), None, True
        while more:
            names, token = self._try(prefix, lambda: self._files.page(path, token))  # noqa: B023
            for name in names:
                yield name[len(self.root) + 1 :]
            more = token is not None

    def those_there(self, folder: str, wanted: Iterable[str]) -> Iterator[str]:
        """Yield, lazily, which of some keys in a folder have objects, as they are now.

        A bucket tells of the whole folder, and so of others too; that is faster than to ask.
        """
        if not isinstance(self._files, Disk):
            return self.listing(folder)
        there = self._files.there(map(self.path, wanted))
        return (path[len(self.root) + 1 :] for path in there)

    @property
    def at_once(self) -> int:
        """Listings that pay beside each other."""
        return self._files.at_once

    def exists(self, key: str) -> bool:
        """Whether there is such an object, now."""
        return self._try(key, lambda: self._files.exists(self.path(key)))

    def sweep(self) -> int:
        """Remove temporary files that dead writers left behind; return how many."""
        return self._files.sweep(self.root)

    def require_ready(self) -> None:
        """Find out, before a run begins, whether the place is there and may be used.

        Raises:
            StoreRefused: It is not, or may not.
            StoreUnreachable: It does not answer within ten seconds.
        """
        probe = self._files.probe
        self._try("", lambda: probe(self.root, PROBE_SECONDS), min(self.patience, PROBE_SECONDS))

    def require_room(self, size: int) -> None:
        """Refuse a disk on which so many bytes have no room; a bucket always has.

        Raises:
            StoreRefused: There is less.
        """
        free = self._files.room(self.root)
        if free is not None and free < size:
            raise StoreRefused(
                f"{self.url}: the plan will write {size / 1e9:,.1f} GB and the disk has"
                f" {free / 1e9:,.1f} GB free; make room, plan less, or choose another path"
            )

    def _try(self, key: str, call: Callable[[], T], patience: float | None = None) -> T:
        """Call until it works; give up where it cannot, or after the patience."""
        began, pause, troubled = time.monotonic(), FIRST_PAUSE, False
        patience = self.patience if patience is None else patience
        while True:
            try:
                result = call()
            except Exception as error:
                waited = time.monotonic() - began
                if not self._files.passes(error):
                    what = self._files.refusal(error)
                    if what is None:
                        raise
                    raise self._refused(what, error) from error
                if waited + pause > patience:
                    raise self._unreachable(key, waited, error) from error
                if not troubled:
                    log.warning(
                        "%s: %s; asking again for up to %.0f s",
                        *(self._name(key), _first_line(error), patience),
                    )
                    troubled = True
            else:
                if troubled:
                    log.warning("%s: reached after %.0f s", self._name(key), _since(began))
                return result
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _name(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}" if key else self.url

    def _refused(self, what: str | None, error: Exception) -> StoreRefused:
        what = what or "it cannot be opened"
        return StoreRefused(f"{self.url}: {what} ({_first_line(error)})")

    def _unreachable(self, key: str, waited: float, error: Exception) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self._name(key)}: not reachable since {waited:.0f} s ({_first_line(error)}); what"
            " is written stays, and the same command goes on"
        )


def require_room(url: str, size: int, storage_options: Mapping[str, Any] | None = None) -> None:
    """Refuse a disk on which so many bytes have no room; a bucket always has.

    Args:
        url: The store, which need not exist yet.
        size: Bytes that are still to be written.
        storage_options: For the filesystem.

    Raises:
        StoreRefused: There is less.
    """
    Place(url, storage_options).require_room(size)


def _missing(protocol: str, error: ImportError) -> str:
    if protocol in ("s3", "s3a"):
        return "writing to S3 needs s3fs; pip install 'longwang-ray[s3]'"
    return _first_line(error)


def _since(began: float) -> float:
    return time.monotonic() - began


def _first_line(error: BaseException) -> str:
    """Return what an error says in one line; its name where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines)[:300]
    return said or type(error).__name__
