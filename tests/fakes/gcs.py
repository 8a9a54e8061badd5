"""A Google Cloud Storage on 127.0.0.1, for clients that speak its JSON API (gcsfs), with faults.

    with FakeGcs() as gcs:
        gcs.put("bucket", "name", b"content")
        fsspec.filesystem("gs", endpoint_url=gcs.url, token="anon").cat("bucket/name")

It keeps objects in memory and honours what writers rely on: ranges, ``ifGenerationMatch``,
multipart and resumable uploads, prefixes and pages of a listing. Each `Fault` in `faults` meets
the requests that it matches: it delays, refuses, or cuts the line, before or after the request has
had its effect.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import google_crc32c
from aiohttp import web

OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/([^/]+)")
REWRITE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)")
LISTING = re.compile(r"/storage/v1/b/([^/]+)/o/?")
BUCKET = re.compile(r"/storage/v1/b(?:/([^/]+))?/?")
UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
PART_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class Fault:
    """What goes wrong, and with which requests.

    Attributes:
        match: Regular expression sought in ``METHOD URL``.
        status: Answer with this code instead.
        drop: Cut the line instead of answering.
        delay: Seconds to wait first.
        after: Whether the request has its effect before the answer is lost.
        times: How many requests it meets; None: all.
        chance: With which probability it meets one.
    """

    match: str = ""
    status: int | None = None
    drop: bool = False
    delay: float = 0.0
    after: bool = False
    times: int | None = None
    chance: float = 1.0


class Stored(NamedTuple):
    """One object."""

    content: bytes
    generation: int
    metadata: dict[str, str]


class Request(NamedTuple):
    """One request that came in, and when."""

    at: float
    method: str
    url: str


@dataclass
class Upload:
    """A resumable upload that is not finished."""

    bucket: str
    name: str
    match: str | None
    metadata: dict[str, str] | None
    content: bytearray = field(default_factory=bytearray)


class FakeGcs:
    """The server, in a thread of its own; use it in a ``with``.

    Attributes:
        buckets: Objects by name, by bucket.
        faults: What goes wrong; the first that matches a request meets it.
        requests: What came in, oldest first.
    """

    def __init__(self, seed: int = 0) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.port = 0
        self._generation = 1_700_000_000_000_000
        self._uploads: dict[str, Upload] = {}
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fake-gcs", daemon=True)
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """What clients take as ``endpoint_url`` or ``STORAGE_EMULATOR_HOST``."""
        return f"http://127.0.0.1:{self.port}"

    def put(
        self,
        bucket: str,
        name: str,
        content: bytes | bytearray,
        metadata: dict[str, str] | None = None,
    ) -> Stored:
        """Store an object, without a request; makes the bucket."""
        self._generation += 1
        stored = Stored(bytes(content), self._generation, metadata or {})
        self.buckets.setdefault(bucket, {})[name] = stored
        return stored

    def put_folder(self, bucket: str, prefix: str, folder: Path) -> None:
        """Store all files of a folder."""
        for file in folder.rglob("*"):
            if file.is_file():
                name = f"{prefix.strip('/')}/{file.relative_to(folder).as_posix()}"
                self.put(bucket, name, file.read_bytes())

    def count(self, match: str) -> int:
        """How many requests there have been whose ``METHOD URL`` matches."""
        return sum(bool(re.search(match, f"{r.method} {r.url}")) for r in self.requests)

    def __enter__(self) -> FakeGcs:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake GCS did not start within 10 seconds")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=2**32)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        url = str(request.rel_url)
        self.requests.append(Request(time.time(), request.method, url))
        fault = self._fault(f"{request.method} {url}")
        if fault:
            await asyncio.sleep(fault.delay)
            if not fault.after and (spoiled := _spoiled(fault, request)):
                return spoiled
        answer = await self._answer(request)
        return (fault and fault.after and _spoiled(fault, request)) or answer

    def _fault(self, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times == 0 or not re.search(fault.match, line):
                continue
            if self._random.random() >= fault.chance:
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        routes: list[tuple[re.Pattern[str], Callable[..., Any]]] = [
            (UPLOAD, self._upload),
            (REWRITE, self._rewrite),
            (OBJECT, self._object),
            (LISTING, self._list),
            (BUCKET, self._bucket),
        ]
        for pattern, handle in routes:
            if found := pattern.fullmatch(path):
                return await handle(request, *(unquote(g) if g else g for g in found.groups()))
        return _error(501, f"not implemented: {request.method} {path}")

    async def _upload(self, request: web.Request, bucket: str) -> web.Response:
        if bucket not in self.buckets:
            return _error(404, f"bucket {bucket}")
        query = request.query
        body, match = await request.read(), query.get("ifGenerationMatch")
        if "upload_id" in query:
            return self._resume(query["upload_id"], request, body)
        if query.get("uploadType") == "resumable":
            told = json.loads(body or b"{}")
            number = str(len(self._uploads) + 1)
            name = told.get("name") or query["name"]
            self._uploads[number] = Upload(bucket, name, match, told.get("metadata"))
            where = f"{self.url}{request.path}?uploadType=resumable&upload_id={number}"
            return web.Response(headers={"Location": where})
        if query.get("uploadType") == "multipart":
            told, body = _parts(request.headers["Content-Type"], body)
            return self._write(bucket, told["name"], body, match, told.get("metadata"))
        return self._write(bucket, query["name"], body, match)

    def _resume(self, number: str, request: web.Request, body: bytes) -> web.Response:
        upload = self._uploads[number]
        found = PART_RANGE.fullmatch(request.headers.get("Content-Range", ""))
        begin = int(found[1]) if found and found[1] else len(upload.content)
        upload.content[begin:] = body
        if found and (found[3] == "*" or len(upload.content) < int(found[3])):
            last = len(upload.content) - 1
            return web.Response(status=308, headers={"Range": f"bytes=0-{last}"} if body else {})
        return self._write(
            upload.bucket, upload.name, upload.content, upload.match, upload.metadata
        )

    def _write(
        self,
        bucket: str,
        name: str,
        content: bytes | bytearray,
        match: str | None,
        metadata: dict[str, str] | None = None,
    ) -> web.Response:
        current = self.buckets[bucket].get(name)
        if match is not None and int(match) != (current.generation if current else 0):
            return _error(412, "conditionNotMet")
        return web.json_response(
            _resource(bucket, name, self.put(bucket, name, content, metadata))
        )

    async def _rewrite(
        self, request: web.Request, bucket: str, name: str, into: str, new: str
    ) -> web.Response:
        stored = self.buckets.get(bucket, {}).get(name)
        if stored is None or into not in self.buckets:
            return _error(404, f"{bucket}/{name}")
        match = request.query.get("ifGenerationMatch")
        written = self._write(into, new, stored.content, match, stored.metadata)
        if written.status != 200:
            return written
        return web.json_response({"done": True, "resource": json.loads(written.text or "{}")})

    async def _object(self, request: web.Request, bucket: str, name: str) -> web.Response:
        stored = self.buckets.get(bucket, {}).get(name)
        if stored is None:
            return _error(404, f"{bucket}/{name}")
        if request.method == "DELETE":
            del self.buckets[bucket][name]
            return web.Response(status=204)
        if request.query.get("alt") == "media" or request.path.startswith("/download"):
            return _content(request, stored)
        return web.json_response(_resource(bucket, name, stored))

    async def _list(self, request: web.Request, bucket: str) -> web.Response:
        if bucket not in self.buckets:
            return _error(404, f"bucket {bucket}")
        query, objects = request.query, self.buckets[bucket]
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after, most = query.get("pageToken", ""), int(query.get("maxResults", 1000))
        names: list[str] = []
        folders: set[str] = set()
        for name in sorted(n for n in objects if n.startswith(prefix) and n > after):
            head, *rest = name[len(prefix) :].split(delimiter, 1) if delimiter else [name]
            if rest:
                folders.add(f"{prefix}{head}{delimiter}")
            else:
                names.append(name)
        page = {"nextPageToken": names[most - 1]} if len(names) > most else {}
        items = [_resource(bucket, name, objects[name]) for name in names[:most]]
        return web.json_response({"items": items, "prefixes": sorted(folders), **page})

    async def _bucket(self, request: web.Request, bucket: str | None) -> web.Response:
        if request.method == "POST":
            bucket = (await request.json())["name"]
            self.buckets.setdefault(str(bucket), {})
        if bucket is None:
            return web.json_response({"items": [{"name": name} for name in self.buckets]})
        if bucket not in self.buckets:
            return _error(404, f"bucket {bucket}")
        return web.json_response({"name": bucket, "location": "US", "locationType": "region"})


def _spoiled(fault: Fault, request: web.Request) -> web.Response | None:
    if fault.drop:
        if request.transport:
            request.transport.abort()
        return web.Response()
    return _error(fault.status, "injected") if fault.status else None


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status)


def _resource(bucket: str, name: str, stored: Stored) -> dict[str, Any]:
    """What the API says about an object."""
    checksum = google_crc32c.Checksum(stored.content).digest()
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(len(stored.content)),
        "generation": str(stored.generation),
        "etag": str(stored.generation),
        "crc32c": base64.b64encode(checksum).decode(),
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "timeCreated": "2026-01-01T00:00:00.000Z",
        "updated": "2026-01-01T00:00:00.000Z",
        "metadata": stored.metadata,
    }


def _content(request: web.Request, stored: Stored) -> web.Response:
    """An object's bytes, or a range of them."""
    checksum = base64.b64encode(google_crc32c.Checksum(stored.content).digest()).decode()
    headers = {"X-Goog-Hash": f"crc32c={checksum}", "X-Goog-Generation": str(stored.generation)}
    found, size = RANGE.fullmatch(request.headers.get("Range", "")), len(stored.content)
    if not found:
        return web.Response(body=stored.content, headers=headers)
    begin, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    if begin >= size:
        return _error(416, "range not satisfiable")
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    return web.Response(status=206, body=stored.content[begin:end], headers=headers)


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """What a multipart upload says of its object, and the object."""
    boundary = b"--" + re.search(r"boundary=[\"']?([^\"';]+)", content_type)[1].encode()  # type: ignore[index]
    _, told, content = body.split(boundary, 2)
    told = re.split(rb"\r?\n\r?\n", told, maxsplit=1)[1]
    content = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[1]
    content = content[: content.rfind(b"\n" + boundary)].removesuffix(b"\r")
    return json.loads(told), content
