"""Files and stores, local or behind any fsspec URL, opened or refused by name.

A file is judged by its first bytes before any library sees it: an empty file, a web page saved in
its place, GRIB or a gzip each get an error of their own. A torn HDF5 is found by its library; a
torn classic NetCDF is not (it reads on in zeros), so its length is checked against its header.
"""

from __future__ import annotations

import glob
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fsspec
import xarray as xr

from longwang_ray.data.classic import expected_size
from longwang_ray.data.source import SourceError

__all__ = ["expand", "open_filesystem", "opened"]

_ZARR_MARKS = ("zarr.json", ".zmetadata", ".zgroup")
_AGAIN = "fetch it again and compare its size or checksum with the publisher's"


def expand(path: str, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """The files or stores that a path or glob means, sorted by name; never empty.

    Raises:
        SourceError: Nothing is there.
    """
    if _is_remote(path):
        if "*" not in path:  # a question mark is part of many a URL
            return [path]
        try:
            filesystem, inner = open_filesystem(path, storage_options)
            found = [filesystem.unstrip_protocol(name) for name in sorted(filesystem.glob(inner))]
        except (SourceError, OSError) as error:
            raise SourceError(f"{path}: {error}") from error
        where = ""
    else:
        path = _local(path)
        found = [path] if os.path.exists(path) else sorted(glob.glob(path))
        where = f"; the current folder is {os.getcwd()}"
    if not found:
        raise SourceError(f"{path}: no such file or store, nor any that matches{where}")
    return found


@contextmanager
def opened(path: str, storage_options: Mapping[str, Any] | None = None) -> Iterator[xr.Dataset]:
    """One NetCDF file or Zarr store: fill values masked, times as they stand, nothing read yet.

    Raises:
        SourceError: Not there, not such a file, or torn; also where a later read of it fails.
    """
    try:
        with ExitStack() as stack:
            try:
                dataset = stack.enter_context(_open(path, storage_options, stack))
            except (ValueError, KeyError, TypeError) as error:  # metadata that is no such thing
                if isinstance(error, SourceError):
                    raise
                raise _torn(error) from error
            yield dataset
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error.__cause__
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file or store") from error
    except PermissionError as error:
        raise SourceError(f"{path}: not allowed to read it ({error})") from error
    except (OSError, RuntimeError, EOFError) as error:  # what the libraries make of torn data
        raise SourceError(f"{path}: {_torn(error)}") from error


def _torn(error: Exception) -> SourceError:
    said = getattr(error, "strerror", None) or str(error)  # strerror leaves the path out
    reason = said.splitlines()[0] if said else type(error).__name__
    if any(isinstance(e, ConnectionError | TimeoutError) for e in (error, error.__cause__)):
        return SourceError(f"not reachable ({reason}): check the address and the network")
    if reason.startswith("Forbidden"):  # what gcsfs makes of 403
        return SourceError(f"not allowed to read it ({reason}): check storage_options")
    return SourceError(f"not readable, probably torn ({reason}): {_AGAIN}")


def _open(path: str, storage_options: Mapping[str, Any] | None, stack: ExitStack) -> xr.Dataset:
    with warnings.catch_warnings():
        # two fill values, a store that is not consolidated: the values are checked themselves
        warnings.simplefilter("ignore")
        if _is_zarr(path, storage_options):
            target = path if _is_remote(path) else _local(path)
            options = dict(storage_options or {}) if _is_remote(path) else None
            return xr.open_zarr(target, storage_options=options, chunks=None, decode_times=False)
        file = stack.enter_context(_local_copy(path, storage_options))
        _check_file(file)
        return xr.open_dataset(file, engine="netcdf4", decode_times=False)


def _is_remote(path: str) -> bool:
    return "://" in path and not path.startswith(("file://", "local://"))


def _local(path: str) -> str:
    return os.path.expanduser(path.split("://", 1)[-1])


def open_filesystem(
    path: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[Any, str]:
    """The fsspec filesystem that a path or URL means, and the path in it.

    Raises:
        SourceError: No filesystem knows such a URL, or its package is not installed.
    """
    if path.startswith(("gs://", "gcs://")):
        # gcsfs asks a second service about each bucket, which emulators and firewalls lack: 41 s
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        return fsspec.core.url_to_fs(path, **(storage_options or {}))
    except (ValueError, ImportError) as error:
        raise SourceError(f"fsspec cannot open such a URL ({error})") from error


def _is_zarr(path: str, storage_options: Mapping[str, Any] | None) -> bool:
    if not _is_remote(path):
        folder = Path(_local(path))
        if not folder.is_dir():
            return False
        if any((folder / mark).is_file() for mark in _ZARR_MARKS):
            return True
        names = sorted(entry.name for entry in folder.iterdir())[:5]
        raise SourceError(
            f"a folder, but no Zarr store (no {' or '.join(_ZARR_MARKS)}); it holds "
            f"{', '.join(names) or 'nothing'}: give a file, a glob like *.nc, or a Zarr store"
        )
    filesystem, inner = open_filesystem(path, storage_options)
    return any(filesystem.exists(f"{inner.rstrip('/')}/{mark}") for mark in _ZARR_MARKS)


@contextmanager
def _local_copy(path: str, storage_options: Mapping[str, Any] | None) -> Iterator[str]:
    """A local file's own path, or a temporary copy of a remote one: months are small."""
    if not _is_remote(path):
        yield _local(path)
        return
    filesystem, inner = open_filesystem(path, storage_options)
    with tempfile.TemporaryDirectory(prefix="longwang-") as folder:
        copy = os.path.join(folder, "source.nc")
        filesystem.get_file(inner, copy)
        yield copy


def _check_file(path: str) -> None:
    """Refuse by name what is no NetCDF file, before a library says it in its own words."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(512)
    if not size:
        raise SourceError(f"the file is empty (0 bytes): {_AGAIN}")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return
    if head.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05")):
        needed = expected_size(path)
        if size < needed:
            raise SourceError(
                f"the file is torn: {size} bytes, its header speaks of {needed}: {_AGAIN}"
            )
        return
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        what = f"a web page was saved in its place (begins with {head[:40]!r})"
        raise SourceError(f"not NetCDF: {what}: fetch it again, logged in where needed")
    known = {b"GRIB": "a GRIB file: convert it, for example `cdo -f nc4 copy IN OUT`",
             b"\x1f\x8b": "compressed by gzip: unpack it with gunzip",
             b"PK": "a zip archive: unpack it"}  # fmt: skip
    for magic, what in known.items():
        if head.startswith(magic):
            raise SourceError(f"not NetCDF but {what}")
    raise SourceError(f"not NetCDF: it begins with {head[:16]!r}; {_AGAIN}")
