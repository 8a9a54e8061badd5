"""Google Cloud Storage: what gcsfs needs to be told, and what its errors stand for."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import fsspec

from longwang_ray.store.cloud import CONNECT_SECONDS, PAGE, READ_SECONDS, Bucket, Page, hush


class Gcs(Bucket):
    """Google Cloud Storage, through gcsfs."""

    credentials = (
        "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's"
        " service account"
    )

    @classmethod
    def options(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Timeouts that gcsfs retries (it has none by itself), and whose credentials it takes."""
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # 41 s on emulators
        import aiohttp

        hush("gcsfs")
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
        )
        token = {} if "token" in given else {"token": _google_token()}
        return {"requests_timeout": timeout, "use_listings_cache": False, **token, **given}

    def probe(self, root: str, seconds: float) -> None:
        """List one object, with one request: gcsfs asks 34 s long where a token is invalid."""
        bucket, _, prefix = root.partition("/")
        request = inspect.unwrap(type(self.fs)._request)
        fsspec.asyn.sync(
            *(self.fs.loop, request, self.fs, "GET", "b/{}/o", bucket),
            prefix=f"{prefix}/",
            maxResults=1,
            timeout=seconds,
        )

    def page(self, path: str, token: str | None) -> Page:
        """Return a page of names, and nothing else of the objects."""
        bucket, _, prefix = path.partition("/")
        told = self.fs.call(
            *("GET", "b/{}/o", bucket),
            prefix=f"{prefix.rstrip('/')}/",
            maxResults=PAGE,
            pageToken=token,
            fields="items/name,nextPageToken",
            json_out=True,
        )
        names = (f"{bucket}/{item['name']}" for item in told.get("items", ()))
        return names, told.get("nextPageToken")

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        bucket, _, key = path.partition("/")
        try:
            self.fs.call("GET", "b/{}/o/{}", bucket, key, fields="name")
        except FileNotFoundError:
            return False
        return True

    def move(self, path: str, new: str) -> None:
        """Copy on the server, then delete what was copied unless it has changed meanwhile."""
        (bucket, _, key), (other, _, name) = path.partition("/"), new.partition("/")
        there = self.fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)["generation"]
        asked: dict[str, Any] = {"sourceGeneration": there, "ifGenerationMatch": "0"}
        done = False
        while not done:
            try:
                told = self.fs.call(
                    *("POST", "b/{}/o/{}/rewriteTo/b/{}/o/{}", bucket, key, other, name),
                    json_out=True,
                    **asked,
                )
            except FileExistsError:  # only we know the name: the answer to our own copy was lost
                break
            done, asked["rewriteToken"] = told["done"], told.get("rewriteToken")
        try:
            self.fs.call("DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=there)
        except (FileNotFoundError, FileExistsError):  # gone already, or there is a new one
            pass

    def passes(self, error: Exception) -> bool:
        """Whether trying again may help."""
        return super().passes(error) or getattr(error, "retryable", None) is True

    def _whole(self, data: bytes, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        about = {"metadata": dict(metadata)} if metadata else {}
        return {"chunksize": len(data) + 1, **about}

    def _status(self, error: Exception) -> int | None:
        for said, status in (("Forbidden", 403), ("Bad Request", 400)):
            if type(error) in (OSError, ValueError) and str(error).startswith(said):
                return status
        code = getattr(error, "code", None)
        return int(str(code)) if str(code).isdigit() else super()._status(error)

    def _passing(self) -> tuple[type[Exception], ...]:
        from aiohttp import ClientError
        from gcsfs.retry import ChecksumError
        from google.auth.exceptions import TransportError
        from requests import RequestException

        known = (ClientError, ChecksumError, TransportError, RequestException)
        return *known, *super()._passing()

    def _unknown(self) -> tuple[type[Exception], ...]:
        from google.auth.exceptions import DefaultCredentialsError, RefreshError

        return DefaultCredentialsError, RefreshError


def _google_token() -> str:
    """Whose credentials: the environment's, or nobody's for an emulator and public data."""
    if "GOOGLE_APPLICATION_CREDENTIALS" in os.environ:
        return "google_default"
    if os.environ.get("STORAGE_EMULATOR_HOST", "default") not in ("", "default"):
        return "anon"
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        google.auth.default()
    except GoogleAuthError:
        return "anon"
    return "google_default"
