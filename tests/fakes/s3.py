"""Amazon S3 on 127.0.0.1, by moto's server, with the faults of :mod:`tests.fakes.gcs`.

with FakeS3() as s3:
    s3.faults.append(Fault("PUT /lake/", status=503, times=1))
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.fakes.gcs import Fault

CODES = {401: "InvalidAccessKeyId", 403: "AccessDenied", 429: "SlowDown", 503: "SlowDown"}


class FakeS3:
    """The server, in a thread of its own; use it in a ``with``.

    Attributes:
        faults: What goes wrong, by ``METHOD PATH?QUERY``; the first that matches meets it.
        requests: What came in, oldest first.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._handle, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """What clients take as ``AWS_ENDPOINT_URL``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def count(self, match: str) -> int:
        """How many requests there have been that match."""
        return sum(bool(re.search(match, line)) for line in self.requests)

    def __enter__(self) -> FakeS3:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        self.requests.append(line)
        fault = self._fault(line)
        if fault is None:
            return self._moto(environ, start)
        time.sleep(fault.delay)
        if fault.after or not (fault.drop or fault.status):
            answer = self._moto(environ, start if not fault.drop else _unheard)
            if not fault.drop:
                return answer
            b"".join(answer)
        if fault.drop:
            connection: Any = environ["werkzeug.socket"]
            connection.shutdown(socket.SHUT_RDWR)
            return []
        code = CODES[fault.status or 503]
        start(f"{fault.status} {code}", [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()]

    def _fault(self, line: str) -> Fault | None:
        for fault in self.faults:
            if fault.times != 0 and re.search(fault.match, line):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


def _unheard(*_: object) -> Callable[[bytes], object]:
    return lambda data: None
