"""Amazon S3 and what speaks like it: what s3fs needs to be told, what its errors stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec

from longwang_ray.store.cloud import CONNECT_SECONDS, PAGE, READ_SECONDS, Bucket, Page, hush


class S3(Bucket):
    """Amazon S3 and what speaks like it, through s3fs."""

    credentials = (
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws/credentials, or the"
        " machine's role"
    )
    _most = 5 * 2**30

    @classmethod
    def options(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Timeouts, and one request a read."""
        hush("s3fs")
        config = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"max_attempts": 3, "mode": "standard"},
        }
        ours = {"config_kwargs": config, "use_listings_cache": False, "max_concurrency": 1}
        return {**ours, **given}

    def probe(self, root: str, seconds: float) -> None:
        """List one object."""
        bucket, _, prefix = root.partition("/")
        fsspec.asyn.sync(
            *(self.fs.loop, self.fs._call_s3, "list_objects_v2"),
            Bucket=bucket,
            Prefix=f"{prefix}/",
            MaxKeys=1,
            timeout=seconds,
        )

    def page(self, path: str, token: str | None) -> Page:
        """Return a page of names."""
        bucket, _, prefix = path.partition("/")
        more = {"ContinuationToken": token} if token else {}
        told = self.fs.call_s3(
            *("list_objects_v2",),
            Bucket=bucket,
            Prefix=f"{prefix.rstrip('/')}/",
            MaxKeys=PAGE,
            **more,
        )
        names = (f"{bucket}/{item['Key']}" for item in told.get("Contents", ()))
        return names, told.get("NextContinuationToken")

    def put_once(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> bool:
        """Write an object unless there is one; return whether it was written.

        Raises:
            ValueError: It is more than one request can hold.
        """
        if len(data) > self._most:
            raise ValueError(f"{path} has {len(data)} bytes; S3 takes 5 GiB in one request")
        return super().put_once(path, data, metadata)

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        bucket, _, key = path.partition("/")
        try:
            self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def move(self, path: str, new: str) -> None:
        """Copy on the server, then delete what was copied unless it has changed meanwhile."""
        (bucket, _, key), (other, _, name) = path.partition("/"), new.partition("/")
        tag = self.fs.call_s3("head_object", Bucket=bucket, Key=key)["ETag"]
        source = {"Bucket": bucket, "Key": key}
        self.fs.call_s3(
            *("copy_object",), Bucket=other, Key=name, CopySource=source, CopySourceIfMatch=tag
        )
        try:
            self.fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=tag)
        except Exception as error:
            if self._status(error) not in (404, 412):  # gone already, or there is a new one
                raise

    def _whole(self, data: bytes, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        about = {"Metadata": dict(metadata)} if metadata else {}
        return {"chunksize": len(data) + 1, **about}

    def _status(self, error: Exception) -> int | None:
        for each in (error, error.__cause__):
            response = getattr(each, "response", None)
            if isinstance(response, dict):
                status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                code = str(response.get("Error", {}).get("Code", ""))
                conflict = code in ("ConditionalRequestConflict", "OperationAborted")
                return 503 if conflict else status or None  # two puts at once: ask again
        return super()._status(error)

    def _passing(self) -> tuple[type[Exception], ...]:
        from aiohttp import ClientError
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        lines = (exceptions.HTTPClientError, exceptions.ConnectionError)
        halves = (exceptions.IncompleteReadError, ResponseParserError)
        return ClientError, *lines, *halves, *super()._passing()

    def _unknown(self) -> tuple[type[Exception], ...]:
        from botocore import exceptions

        return (
            *(exceptions.NoCredentialsError, exceptions.PartialCredentialsError),
            *(exceptions.ProfileNotFound, exceptions.CredentialRetrievalError),
        )
