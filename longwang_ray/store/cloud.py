"""Buckets: what each kind needs that a disk does not, and what its errors mean.

A put is one conditional request, whatever the object's size: an upload in parts would ask whether
there is one only at its end. Every request has a timeout, also those that Zarr makes with the same
options. Credentials and endpoints are found by the filesystem itself, in the environment and the
usual files; nothing of them is known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
"""A request that has not connected, or has not been answered for so long, has failed."""
PAGE = 1000
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_ABSENT, _FORBIDDEN = 404, (401, 403)
Page = tuple[Iterator[str], str | None]


class Bucket:
    """Objects of any filesystem that fsspec knows and that is not a disk, such as ``memory://``.

    Args:
        fs: The filesystem.
        protocol: By which name the user knows it.
    """

    credentials = "the filesystem's own settings"
    at_once = 16
    """Listings that pay beside each other: an answer holds a thousand names."""

    def __init__(self, fs: Any, protocol: str) -> None:  # noqa: ANN401 - fsspec has no types
        self.fs, self._protocol = fs, protocol

    @classmethod
    def options(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return how the filesystem is opened: what the user says, and else nothing secret."""
        return dict(given)

    def probe(self, root: str, seconds: float) -> None:
        """Ask whether objects can be listed, once; raise whatever is said to it."""

    def room(self, root: str) -> int | None:
        """Return the bytes that are free, if that can be known: not in a bucket."""
        return None

    def put_once(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        """Write an object unless there is one; return whether it was written."""
        try:
            self.fs.pipe_file(path, data, mode="create", **self._whole(data, metadata))
        except FileExistsError:
            return False
        except Exception as error:
            if self._status(error) != 412:
                raise
            return False
        return True

    def replace(self, path: str, data: bytes) -> None:
        """Write an object whatever was there."""
        self.fs.pipe_file(path, data, **self._whole(data, None))

    def read(self, path: str) -> bytes:
        """Return an object's bytes."""
        return bytes(self.fs.cat_file(path))

    def exists(self, path: str) -> bool:
        """Whether there is such an object; asked of the place, not of what is remembered."""
        self.fs.invalidate_cache()
        try:
            return str(self.fs.info(path)["type"]) == "file"
        except FileNotFoundError:
            return False

    def move(self, path: str, new: str) -> None:
        """Copy an object to a name that nothing has, then delete it under its old one."""
        self.fs.cp_file(path, new)
        self.fs.rm_file(path)

    def page(self, path: str, token: str | None) -> Page:
        """Return the paths of some of the objects below a folder, and how to ask for the next."""
        self.fs.invalidate_cache()
        return map(str, self.fs.find(path)), None

    def sweep(self, root: str) -> int:
        """Remove what dead writers left behind: nothing, for an object appears whole."""
        return 0

    def passes(self, error: Exception) -> bool:
        """Whether trying again may help."""
        return self._status(error) in _PASSING or isinstance(error, self._passing())

    def refusal(self, error: Exception) -> str | None:
        """Return what is wrong for good, and what to do; None if it is something else."""
        status = self._status(error)
        if status in _FORBIDDEN or isinstance(error, self._unknown()):
            return (
                "access is refused; it needs credentials that may list, read and create objects"
                f" there, from {self.credentials}"
            )
        if status == _ABSENT:
            return "there is no such bucket; create it, or correct its name"
        refused = status is not None and 400 <= status < 500
        return "the request is refused; correct what it says" if refused else None

    def _whole(self, data: bytes, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        """Return the arguments that make a put one request, with metadata."""
        return {}

    def _status(self, error: Exception) -> int | None:
        """Return the HTTP status that an error stands for."""
        if isinstance(error, FileNotFoundError):
            return _ABSENT
        return _FORBIDDEN[1] if isinstance(error, PermissionError) else None

    def _passing(self) -> tuple[type[Exception], ...]:
        return (ConnectionError, TimeoutError, asyncio.TimeoutError)

    def _unknown(self) -> tuple[type[Exception], ...]:
        """Return the errors of credentials that are not there or do not work."""
        return ()


def hush(name: str) -> None:
    """Keep a library from printing the errors that we tell in one line, unless it was asked to."""
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
