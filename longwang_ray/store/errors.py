"""What can be wrong with a store: what is there, our right to it, or the way to it."""

from __future__ import annotations


class StoreError(RuntimeError):
    """A store is not as it must be; the message says what, where and what to do."""


class StoreRefused(StoreError):
    """The place refuses, and trying again cannot help: no bucket, no right, no room."""


class StoreUnreachable(StoreError):
    """The place has not answered for long; what is written stays, the same command goes on."""
