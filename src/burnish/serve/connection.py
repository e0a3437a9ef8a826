"""The HTTP protocol of a connection, with what uvicorn leaves unlimited.

uvicorn waits for ever for a request's headers, takes headers of any length (with httptools),
and for ever for a client that does not read its answer. Each of these would let one slow
client hold what it likes.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from burnish.serve.limits import BUSY_SECONDS, LINGER_SECONDS, Limits

WRITE_SECONDS = 10.0
"""How long a client may leave its answer unread once the socket is full."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, with time and size of headers and connections limited."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._refused = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers."""
        super().connection_made(transport)
        if len(self.connections) > 4 * self.limits.connections:
            transport.abort()  # Far too many even to be told so.
        else:
            self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to headers."""
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        if not self._in_head or self._refused or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.limits.head_bytes:
            self._refuse(431, "Request Header Fields Too Large", "the headers are too long")
        elif self._head_timer is None:
            self._arm_head_timer()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of the headers."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """End that wait."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.limits.head_bytes:
            raise ValueError("headers too long")  # The parser makes an answer of 400 of it.
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(400, "Bad Request", msg)

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """End that wait."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if len(self.connections) > self.limits.connections:
            app = _too_many_connections
        super()._start_asgi_task(cycle, app)

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._end_head)

    def _end_head(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            seconds = f"{self.limits.head_seconds:g}"
            self._refuse(408, "Request Timeout", f"no headers within {seconds} seconds")

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        """Answer where there is no request, or no whole one, and close."""
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            # The application waits for a body that does not come: to it, the client has left.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        body = json.dumps({"error": message}).encode()
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )
        # To close with unread data in the socket would reset the connection, and the client
        # might never see the answer: so what it still sends is dropped for a moment first.
        self.transport.write_eof()
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)


async def _too_many_connections(
    scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
) -> None:
    body = b'{"error":"too many connections; try again"}'
    await send(
        {
            "type": "http.response.start",
            "status": 503,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"retry-after", str(BUSY_SECONDS).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
