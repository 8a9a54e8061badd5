"""Where a training keeps what it knows: any folder or fsspec URL.

A file is replaced whole or not at all: by a rename on a disk, by an object store's own rule
elsewhere. States are tensors and plain values, read with ``weights_only``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fsspec.implementations.local import LocalFileSystem

from longwang_ray.data.opening import open_filesystem
from longwang_ray.data.source import SourceError
from longwang_ray.training.errors import TrainingError


class Checkpoints:
    """The files of one training.

    Args:
        url: A folder or an fsspec URL; made when something is written.

    Attributes:
        url: As it was given, without a slash at its end.
        root: The same for its filesystem.
        local: Whether it lies on a disk of this machine.

    Raises:
        TrainingError: if no filesystem knows such a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self._files, self.root = open_filesystem(self.url)
        except SourceError as error:
            raise TrainingError(f"output: {url}: {error}") from error
        self.local = isinstance(self._files, LocalFileSystem)

    def where(self, name: str) -> str:
        """A file's path or URL."""
        return f"{self.url}/{name}"

    def exists(self, name: str) -> bool:
        """Whether it is there."""
        return bool(self._files.exists(f"{self.root}/{name}"))

    def read(self, name: str) -> bytes | None:
        """A small file's content, ``None`` where there is none."""
        try:
            return bytes(self._files.cat_file(f"{self.root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a small file."""
        self._put(name, lambda file: file.write_bytes(content))

    def put(self, name: str, file: Path) -> None:
        """Put a copy of a file."""
        self._put(name, lambda part: shutil.copyfile(file, part))

    def names(self) -> list[str]:
        """What is there, without what lies in folders."""
        try:
            found = self._files.ls(self.root, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found)

    def read_state(self, stage: str) -> dict[str, Any] | None:
        """A network's checkpoint, on the CPU; ``None`` where there is none.

        Raises:
            TrainingError: if the file is no checkpoint.
        """
        name = f"{stage}.pt"
        if not self.exists(name):
            return None
        try:
            if self.local:
                return _load(f"{self.root}/{name}")
            with tempfile.TemporaryDirectory(prefix="longwang-") as folder:
                self._files.get_file(f"{self.root}/{name}", f"{folder}/{name}")
                return _load(f"{folder}/{name}")
        except Exception as error:  # torch raises what its readers raise: zip, pickle, runtime
            raise TrainingError(
                f"{self.where(name)}: is no checkpoint (torn, or more than tensors and plain "
                "values in it); remove it"
            ) from error

    def write_state(self, stage: str, state: dict[str, Any]) -> None:
        """Put a network's checkpoint, then say how far it is."""
        self._put(f"{stage}.pt", lambda file: torch.save(state, file))
        self.tell_steps(stage, int(state["step"]))

    def tell_steps(self, stage: str, steps: int) -> None:
        """Say how far a network's checkpoint is, so that nobody reads gigabytes to learn it."""
        self.write(f"{stage}.json", json.dumps({"step": steps}).encode())

    def steps_done(self, stage: str) -> int:
        """How many steps a network's checkpoint has, 0 where there is none.

        Raises:
            TrainingError: if the file that says so is damaged.
        """
        content = self.read(f"{stage}.json")
        if content is None:
            return 0
        try:
            return int(json.loads(content)["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.where(stage)}.json: is not what a training leaves ({error}); remove it"
            ) from error

    def _put(self, name: str, save: Callable[[Path], object]) -> None:
        if self.local:
            target = Path(self.root) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            save(part)
            os.replace(part, target)  # a kill leaves the last whole file
            return
        with tempfile.TemporaryDirectory(prefix="longwang-") as folder:
            file = Path(folder) / "content"
            save(file)
            self._files.put_file(str(file), f"{self.root}/{name}")


def _load(path: str) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True, map_location="cpu", mmap=True))
